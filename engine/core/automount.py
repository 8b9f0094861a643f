"""The automount webhook's decision: a pod that names imports gets their Secrets mounted. Pure.

Names are multicluster-service-account's: the annotation lists imports of the pod's namespace, each is mounted at the path it
documents. Ours besides: init containers too, KUBECONFIG set, and doing it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from engine.core.importing import IMPORT_LABEL
from schemas.actions import Json

MOUNT_ROOT = "/var/run/secrets/admiralty.io/serviceaccountimports"
KUBECONFIG = "KUBECONFIG"
CONTAINERS = ("initContainers", "containers")
"""Ephemeral containers are added later, and cannot have what others lack."""
MAX_IMPORTS = 32
"""Of one pod; more is a mistake, and KUBECONFIG would grow too long for some shells."""
_SEPARATOR = ":"


class BadAnnotation(ValueError):
    """Raised when the annotation cannot be meant; the message is for the pod's author."""


def imports_of(pod: Json) -> list[str]:
    """Return the imports that a pod names, in order, each once; spaces do not count.

    Raises:
        BadAnnotation: when there are too many.

    """
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    text = annotations.get(IMPORT_LABEL) or ""
    names = list(dict.fromkeys(name for part in str(text).split(",") if (name := part.strip())))
    if len(names) > MAX_IMPORTS:
        message = f"{IMPORT_LABEL} names {len(names)} imports; at most {MAX_IMPORTS} can be mounted"
        raise BadAnnotation(message)
    return names


def mounted(pod: Json, secrets: Mapping[str, str]) -> Json:
    """Return the pod with imports mounted. Applied to its own answer it changes nothing.

    Args:
        pod: as it is about to be created.
        secrets: name of the Secret of each import, in the order in which kubeconfigs are to be read.

    """
    if not secrets:
        return pod
    spec = pod.get("spec") or {}
    names = {volume_name(name) for name in secrets}
    volumes = [one for one in spec.get("volumes") or [] if one.get("name") not in names]
    volumes += [{"name": volume_name(name), "secret": {"secretName": secret}} for name, secret in secrets.items()]
    changed = {**spec, "volumes": volumes}
    for section in CONTAINERS:
        if spec.get(section):
            changed[section] = [_with_mounts(one, secrets) for one in spec[section]]
    return {**pod, "spec": changed}


def patch_of(before: Json, after: Json) -> list[Json]:
    """Return the JSON patch from a pod to the same pod with imports mounted; empty if nothing changed."""
    old, new = before.get("spec") or {}, after.get("spec") or {}
    return [
        {"op": "add", "path": f"/spec/{section}", "value": new[section]}  # replaces it where it is there
        for section in ("volumes", *CONTAINERS)
        if section in new and new[section] != old.get(section)
    ]


def volume_name(name: str) -> str:
    """Return the name of an import's volume: names of imports may be too long for one, or hold dots."""
    return f"sai-{blake2b(name.encode(), digest_size=8).hexdigest()}"


def mount_path(name: str) -> str:
    """Return where an import is mounted."""
    return f"{MOUNT_ROOT}/{name}"


def _with_mounts(container: Json, imports: Iterable[str]) -> Json:
    names = list(imports)
    paths = {mount_path(name) for name in names}
    mounts = [one for one in container.get("volumeMounts") or [] if one.get("mountPath") not in paths]
    mounts += [{"name": volume_name(name), "mountPath": mount_path(name), "readOnly": True} for name in names]
    return {**container, "volumeMounts": mounts, "env": _with_kubeconfig(container.get("env") or [], names)}


def _with_kubeconfig(env: list[Json], names: list[str]) -> list[Json]:
    """Return the environment with the imports' kubeconfigs behind what the author has set, as kubectl merges them."""
    ours = [f"{mount_path(name)}/kubeconfig" for name in names]
    for index, one in enumerate(env):
        if one.get("name") != KUBECONFIG:
            continue
        if "valueFrom" in one:
            return env  # known only when the container starts: the author's own is kept
        listed = [part for part in str(one.get("value") or "").split(_SEPARATOR) if part]
        value = _SEPARATOR.join(dict.fromkeys([*listed, *ours]))
        return [*env[:index], {"name": KUBECONFIG, "value": value}, *env[index + 1 :]]
    return [*env, {"name": KUBECONFIG, "value": _SEPARATOR.join(ours)}]
