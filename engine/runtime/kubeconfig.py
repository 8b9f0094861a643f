"""From kubeconfig files to one context, ready to connect with. No network, and no Kubernetes library.

Rules:
    * As kubectl: `KUBECONFIG` is a list, the first file wins for each name and for current-context, missing files of the
      list are left out; without it `~/.kube/config`, and inside a pod its service account.
    * Relative paths are relative to the file that holds them.
    * Nothing that runs programs or weakens TLS unless it was asked for by name: `exec` only from an allow-list of absolute
      paths, no `auth-provider`, no `insecure-skip-tls-verify` (SEC-21, SEC-23).
    * The server is https, or on the loopback interface, and never a link-local address (SEC-22); `engine.runtime.addresses`
      says what else holds for a kubeconfig that was read from a cluster.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from engine.runtime.addresses import DECLARED, Addresses
from engine.runtime.kubeconfig_checks import KubeconfigError, check_server, check_tls, check_user
from schemas.actions import Json
from schemas.config import ClusterConfig

__all__ = [
    "Context",
    "KubeconfigError",
    "in_cluster",
    "kubeconfig_files",
    "load_default",
    "load_file",
    "parse",
    "resolve",
    "resolve_cluster",
]

MAX_BYTES = 4 * 1024 * 1024
"""A kubeconfig of a thousand clusters with embedded certificates has about 4 MB; a larger file is a mistake."""
MAX_DEPTH = 64
"""Levels of nesting; a kubeconfig has about ten."""
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PATHS = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
}
_DATA = {
    "cluster": ("certificate-authority-data",),
    "user": ("client-certificate-data", "client-key-data"),
}


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """One resolved context: its cluster and user as kubeconfig spells them, every path absolute. Prints no credentials."""

    name: str
    cluster: Json
    """`server`, `certificate-authority`, ..."""
    user: Json
    """`token`, `client-certificate`, `exec`, ...; empty for anonymous."""
    source: str = ""
    """The file it comes from, for messages."""

    @property
    def server(self) -> str:
        """URL of the API server, without a slash at the end."""
        return str(self.cluster["server"]).rstrip("/")

    def __repr__(self) -> str:
        return f"Context({self.name!r}, server={self.server!r}, source={self.source!r})"


def resolve_cluster(config: ClusterConfig, directory: Path, environ: Mapping[str, str] | None = None) -> Context:
    """Return the context that a declared cluster names.

    Args:
        config: the declaration.
        directory: that its relative paths start from: the configuration file's.
        environ: environment; the process's own if None.

    Raises:
        KubeconfigError: when it names none that can be used.

    """
    environ = os.environ if environ is None else environ
    (path, *_) = kubeconfig_files(config, directory, environ)
    document = load_file(path) if config.kubeconfig else load_default(environ)
    return resolve(document, config.context, exec_allow=config.exec_allow)


def kubeconfig_files(config: ClusterConfig, directory: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return the files that a declared cluster's context is read from, whether they exist or not."""
    return [directory / Path(config.kubeconfig).expanduser()] if config.kubeconfig else default_files(environ)


def default_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the files that kubectl would read here, whether they exist or not."""
    listed = [Path(item).expanduser() for item in environ.get("KUBECONFIG", "").split(os.pathsep) if item]
    return listed or [Path(environ.get("HOME", "~")).expanduser() / ".kube" / "config"]


def load_file(path: Path) -> Json:
    """Return one kubeconfig file's content, its relative paths made absolute.

    Raises:
        KubeconfigError: when it is missing, unreadable, empty or no kubeconfig.

    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        message = f"{path} does not exist; name another file in `kubeconfig`, or set KUBECONFIG"
        raise KubeconfigError(message) from error
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise KubeconfigError(message) from error
    return parse(raw, source=str(path.absolute()), directory=path.absolute().parent)


def load_default(environ: Mapping[str, str]) -> Json:
    """Return what kubectl would use here: KUBECONFIG's files, else `~/.kube/config`, else the pod's service account.

    Raises:
        KubeconfigError: when there is nothing of that kind.

    """
    files = default_files(environ)
    found = [path for path in files if path.exists()]
    found = [path for path in found if path.stat().st_size] or found[:1]  # kubectl passes over empty ones as well
    if found:
        return _merge([load_file(path) for path in found])
    if not environ.get("KUBECONFIG") and environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environ)
    looked = ", ".join(map(str, files))
    message = f"no kubeconfig found ({looked}); set `kubeconfig` for the cluster, or KUBECONFIG"
    raise KubeconfigError(message)


def in_cluster(environ: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> Json:
    """Return a kubeconfig for the service account of the pod that this process runs in."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    cluster = {"server": server, "certificate-authority": str(directory / "ca.crt")}
    return {
        "source": str(directory),
        "clusters": [{"name": "in-cluster", "cluster": cluster}],
        "users": [{"name": "in-cluster", "user": {"tokenFile": str(directory / "token")}}],
        "contexts": [{"name": "in-cluster", "context": {"cluster": "in-cluster", "user": "in-cluster"}}],
        "current-context": "in-cluster",
    }


def parse(raw: bytes, *, source: str, directory: Path | None) -> Json:
    """Return a kubeconfig's content.

    Args:
        raw: YAML or JSON.
        source: what to call it in messages.
        directory: that relative paths start from; None refuses every path, for content that others may write (SEC-21).

    Raises:
        KubeconfigError: when it is empty or no kubeconfig.

    """
    if len(raw) > MAX_BYTES:
        message = f"{source} has {len(raw)} bytes, more than the {MAX_BYTES} that a kubeconfig may have"
        raise KubeconfigError(message)
    if not raw.strip():
        message = f"{source} is empty; it should hold a kubeconfig with clusters, users and contexts"
        raise KubeconfigError(message)
    document = _yaml(raw, source)
    if not isinstance(document, dict):
        message = f"{source} is not a kubeconfig: it holds a {type(document).__name__}, not keys and values"
        raise KubeconfigError(message)
    for section, kind in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
        document[section] = [
            _entry(entry, section, kind, source, directory) for entry in _list(document, section, source)
        ]
    return {**document, "source": source}


def resolve(
    document: Json,
    context: str = "",
    *,
    exec_allow: Collection[str] = (),
    allow_insecure: bool = False,
    addresses: Addresses = DECLARED,
) -> Context:
    """Return one context of a loaded kubeconfig.

    Args:
        document: what `parse`, `load_file` or `load_default` returned.
        context: its name; empty for current-context.
        exec_allow: absolute paths of `exec` plugins that may be run.
        allow_insecure: permit `insecure-skip-tls-verify`.
        addresses: where it may lead.

    Raises:
        KubeconfigError: when there is no such context, or it may not be used.

    """
    source = str(document.get("source", "kubeconfig"))
    contexts = {entry["name"]: entry["context"] for entry in document.get("contexts", ())}
    available = f"it has {', '.join(sorted(contexts))}" if contexts else "it has no contexts"
    name = context or str(document.get("current-context") or "")
    if not name:
        message = f"{source} has no current-context; name one in `context` ({available})"
        raise KubeconfigError(message)
    if name not in contexts:
        message = f"{source} has no context {name!r}; {available}"
        raise KubeconfigError(message)
    cluster = _named(document, "clusters", "cluster", contexts[name].get("cluster"), name, source)
    user_name = contexts[name].get("user")
    user = _named(document, "users", "user", user_name, name, source) if user_name else {}
    where = f"context {name!r} of {source}"
    check_server(cluster, where, addresses)
    check_tls(cluster, where, allow_insecure=allow_insecure)
    check_user(user, where, exec_allow)
    return Context(name=name, cluster=cluster, user=user, source=source)


def _yaml(raw: bytes, source: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times faster, if it was built
    try:
        _check_tokens(raw, source, loader)
        return yaml.load(raw, Loader=loader)  # noqa: S506 - both are safe loaders
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        message = f"{source} is not YAML{where}: {getattr(error, 'problem', None) or 'cannot be parsed'}"
        raise KubeconfigError(message) from error


def _check_tokens(raw: bytes, source: str, loader: Any) -> None:
    """Refuse what a parser should not even see: aliases blow up without limit, and deep nesting crashes the C parser."""
    depth = 0
    for token in yaml.scan(raw, Loader=loader):
        kind = type(token).__name__
        depth += kind.endswith("StartToken") - (kind.endswith("EndToken"))
        if kind == "AliasToken" or depth > MAX_DEPTH:
            what = f"is nested deeper than {MAX_DEPTH}" if depth > MAX_DEPTH else "uses YAML aliases (`*name`)"
            message = f"{source} {what}, as no kubeconfig needs to; write it plainly"
            raise KubeconfigError(message)


def _merge(documents: list[Json]) -> Json:
    """Return several kubeconfigs as one: for every name, and for current-context, the first file wins."""
    merged: Json = {"source": ", ".join(str(document["source"]) for document in documents)}
    for section in ("clusters", "users", "contexts"):
        first: dict[str, Json] = {}
        for document in documents:
            for entry in document[section]:
                first.setdefault(entry["name"], entry)
        merged[section] = list(first.values())
    current = (str(document.get("current-context") or "") for document in documents)
    return {**merged, "current-context": next(filter(None, current), "")}


def _list(document: Json, section: str, source: str) -> list[Any]:
    entries = document.get(section) or []
    if not isinstance(entries, list):
        message = f"{source}: `{section}` is not a list"
        raise KubeconfigError(message)
    return entries


def _entry(entry: Any, section: str, kind: str, source: str, directory: Path | None) -> Json:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        message = f"{source}: an entry of `{section}` has no name"
        raise KubeconfigError(message)
    body = entry.get(kind) or {}
    where = f"{source}: {kind} {entry['name']!r}"
    if not isinstance(body, dict):
        message = f"{where} holds no keys and values"
        raise KubeconfigError(message)
    body = dict(body)
    for key in _PATHS.get(kind, ()):
        if not body.get(key):
            body.pop(key, None)
            continue
        if directory is None:
            message = f"{where} names a file in `{key}`, which is not allowed here; embed the data instead"
            raise KubeconfigError(message)
        body[key] = str(directory / str(body[key]))
    for key in _DATA.get(kind, ()):
        if body.get(key):
            _check_base64(body[key], f"{where}: `{key}`")
    return {"name": entry["name"], kind: body}


def _check_base64(value: Any, where: str) -> None:
    try:
        base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"{where} is not base64"
        raise KubeconfigError(message) from error


def _named(document: Json, section: str, kind: str, name: Any, context: str, source: str) -> Json:
    entries: dict[str, Json] = {entry["name"]: entry[kind] for entry in document.get(section, ())}
    if not isinstance(name, str) or name not in entries:
        message = (
            f"context {context!r} of {source} names the {kind} {name!r}, which is not in it; add it to `{section}`"
        )
        raise KubeconfigError(message)
    return entries[name]
