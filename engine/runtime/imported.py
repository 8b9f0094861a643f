"""Finds the clusters that a program was given: mounted imports, then kubeconfig contexts, then the pod's own cluster.

For any program, not only reconcilers; `crosscurrent kubeconfig` writes the same as one plain kubeconfig for every other
language. Nothing is sent. Tokens and authorities of mounted imports are named by file, so that whoever reads them again has
the rotated ones.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

from engine.runtime.kubeconfig import KubeconfigError, in_cluster, load_default, load_file, resolve
from schemas.actions import Json

MOUNTS = Path("/var/run/secrets/admiralty.io/serviceaccountimports")
"""Where the webhook mounts imports: a directory for each, named as the import."""
MOUNTED_FILES = ("kubeconfig", "config")
"""Looked for in each: ours, which names token and authority by file; else the seed's."""
IN_CLUSTER = "in-cluster"
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Origin(StrEnum):
    """Where a configuration was found, in the order of precedence."""

    MOUNTED = "mounted"
    CONTEXT = "context"
    IN_CLUSTER = IN_CLUSTER


class ClusterAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one cluster. Prints no credentials."""

    name: str
    """Of the import or the context."""
    namespace: str
    """To work in by default: the imported account's, the context's, the pod's."""
    kubeconfig: Json
    """A kubeconfig of this one context, paths absolute: `kubernetes_asyncio.config.new_client_from_config_dict` takes it."""
    origin: Origin

    def __repr__(self) -> str:
        return f"ClusterAccess({self.name!r}, {self.origin.value})"


class NoClusterAccess(Exception):
    """Raised when no configuration is found, or more than one could be meant; the message says what there is."""


def find_cluster_access(
    name: str = "", *, environ: Mapping[str, str] | None = None, mounts: Path = MOUNTS
) -> ClusterAccess:
    """Return the configuration of one cluster.

    Args:
        name: of an import or a context; empty: the only import that is mounted, else the current context, else the pod's.
        environ: environment; the process's own if None.
        mounts: directory of the mounted imports.

    Raises:
        NoClusterAccess: when there is none, it cannot be used, or several are mounted and none is named.

    """
    environ = os.environ if environ is None else environ
    mounted = _mounted_names(mounts)
    if not name and len(mounted) > 1:
        message = f"several imports are mounted: name one of {', '.join(mounted)}"
        raise NoClusterAccess(message)
    wanted = name or (mounted[0] if mounted else "")
    try:
        if wanted in mounted:
            return _mounted(mounts, wanted)
        return _from_kubeconfig(name, environ)
    except (KubeconfigError, OSError) as error:
        there = f"; mounted are {', '.join(mounted)}" if mounted else ""
        message = f"no configuration{f' called {name!r}' if name else ''} is usable: {error}{there}"
        raise NoClusterAccess(message) from error


def all_cluster_access(
    *, environ: Mapping[str, str] | None = None, mounts: Path = MOUNTS
) -> tuple[dict[str, ClusterAccess], dict[str, str]]:
    """Return (every configuration by name, why others cannot be used); one that is broken does not hide the others.

    Of two with one name the mounted one wins. The pod's own cluster is there, as `in-cluster`, if there is no kubeconfig.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, ClusterAccess] = {}
    broken: dict[str, str] = {}
    for name in _mounted_names(mounts):
        try:
            found[name] = _mounted(mounts, name)
        except (KubeconfigError, OSError) as error:
            broken[name] = str(error)
    try:
        document = load_default(environ)
    except KubeconfigError as error:
        if environ.get("KUBECONFIG"):
            broken["KUBECONFIG"] = str(error)
        return found, broken
    for entry in document["contexts"]:
        name = entry["name"]
        if name in found or name in broken:
            continue
        try:
            found[name] = _one(document, name)
        except KubeconfigError as error:
            broken[name] = str(error)
    return found, broken


def merged_kubeconfig(found: Mapping[str, ClusterAccess], current: str = "") -> Json:
    """Return one kubeconfig with a context for each configuration, named as it is; cluster and user likewise.

    Args:
        found: what `all_cluster_access` returned.
        current: the current context; empty: the first.

    """
    names = list(found)
    parts: dict[str, list[Json]] = {"clusters": [], "users": [], "contexts": []}
    for name, access in found.items():
        for section, kind in (("clusters", "cluster"), ("users", "user")):
            parts[section] += [{"name": name, kind: entry[kind]} for entry in access.kubeconfig[section]]
        context = {"cluster": name, "user": name, "namespace": access.namespace}
        parts["contexts"].append({"name": name, "context": context})
    return {"apiVersion": "v1", "kind": "Config", **parts, "current-context": current or next(iter(names), "")}


def _mounted_names(mounts: Path) -> list[str]:
    if not mounts.is_dir():
        return []
    return sorted(
        path.name
        for path in mounts.iterdir()
        if path.is_dir() and any((path / file).exists() for file in MOUNTED_FILES)
    )


def _mounted(mounts: Path, name: str) -> ClusterAccess:
    directory = mounts / name
    document = load_file(next(directory / one for one in MOUNTED_FILES if (directory / one).exists()))
    resolve(document)  # whoever may write the Secret does not run programs here, nor lead us astray (SEC-21 to SEC-23)
    access = _one(document, "")
    return msgspec.structs.replace(access, name=name, origin=Origin.MOUNTED)


def _from_kubeconfig(name: str, environ: Mapping[str, str]) -> ClusterAccess:
    if name == IN_CLUSTER and environ.get("KUBERNETES_SERVICE_HOST"):
        return _one(in_cluster(environ), IN_CLUSTER)
    return _one(load_default(environ), name)


def _one(document: Json, name: str) -> ClusterAccess:
    """Return one context of a loaded kubeconfig; empty: the current one."""
    name = name or str(document.get("current-context") or "")
    contexts = {entry["name"]: entry["context"] for entry in document["contexts"]}
    if name not in contexts:
        message = f"{document['source']} has no context {name!r}; it has {', '.join(sorted(contexts)) or 'none'}"
        raise KubeconfigError(message)
    context = contexts[name]
    parts: dict[str, list[Json]] = {}
    for section, kind in (("clusters", "cluster"), ("users", "user")):
        parts[section] = [entry for entry in document[section] if entry["name"] == context.get(kind)]
        if not parts[section]:
            message = f"context {name!r} of {document['source']} names a {kind} that is not in it"
            raise KubeconfigError(message)
    own = name == IN_CLUSTER and document["current-context"] == IN_CLUSTER
    namespace = _own_namespace() if own else str(context.get("namespace") or "default")
    return ClusterAccess(
        name=name,
        namespace=namespace,
        kubeconfig={
            "apiVersion": "v1",
            "kind": "Config",
            **parts,
            "contexts": [{"name": name, "context": context}],
            "current-context": name,
        },
        origin=Origin.IN_CLUSTER if own else Origin.CONTEXT,
    )


def _own_namespace() -> str:
    try:
        return _NAMESPACE.read_text().strip() or "default"
    except OSError:
        return "default"
