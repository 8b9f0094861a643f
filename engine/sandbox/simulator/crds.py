"""Custom resource definitions: their names accepted, their types served, their instances deleted before they go.

In: changes of definitions in the store. Out: types in the registry, conditions in their status. What
apiextensions-apiserver does in its naming, establishing, finalizing and serving parts is done here in one reconcile per
definition. Conversion is "None": versions differ in their apiVersion and schema. Validation of definitions is in
`builtin`, of resources in `crd_schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from engine.sandbox.simulator.api import ClusterApi
from engine.sandbox.simulator.builtin import object_meta
from engine.sandbox.simulator.deletion import CLEANUP_FINALIZER, with_condition
from engine.sandbox.simulator.errors import forbidden
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.options import DeleteOptions, User, WriteOptions
from engine.sandbox.simulator.resource_types import PrinterColumn, ResourceType, ScalePaths, Subresource, TypeKey
from engine.sandbox.simulator.schema import structural
from engine.sandbox.simulator.store import Change, Json
from engine.sandbox.simulator.strategies import CRD
from engine.sandbox.simulator.write_rules import with_metadata

API_SERVER = User("system:apiserver", groups=("system:masters", "system:authenticated"))
_STATUS_WRITE = WriteOptions(subresource="status", field_manager="kube-apiserver", user=API_SERVER)

RECHECK_SECONDS = 5.0
"""How often a definition on its way out looks whether its instances are gone, beside being told."""

_CHANGED = ("get", "patch", "update")


class CustomResources:
    """Serves the custom resources of one cluster.

    Args:
        api: of the cluster.
        later: asks for a reconcile of a definition.

    """

    def __init__(self, api: ClusterApi, later: Callable[[str], None]) -> None:
        self._api = api
        self._state = api.state
        self._later = later
        self._served: dict[str, tuple[TypeKey, Json]] = {}
        self._instances: dict[TypeKey, str] = {}
        self._state.check_create = self._refuse_if_terminating

    def observe(self, key: TypeKey, change: Change) -> None:
        """Note a write: a definition has changed, or the last instance of one may be gone."""
        if key == CRD:
            self._later(change.current.name)
        elif change.type == "DELETED" and key in self._instances:
            self._later(self._instances[key])

    def reconcile(self, name: str) -> float | None:
        """Bring a definition's status and what is served up to date."""
        found = self._state.store.get(CRD, name)
        if found is None:
            self._forget(name)
            return None
        definition = found.object
        if definition["metadata"].get("deletionTimestamp"):
            return self._finish(name, definition)
        accepted = self._accepted(definition)
        if accepted != definition:
            self._write_status(accepted)
            self._look_at_group(definition["spec"]["group"], name)
            return None
        if _is(definition, "Established"):
            self._serve(name, definition)
        elif _is(definition, "NamesAccepted"):
            condition = {
                "type": "Established",
                "status": "True",
                "reason": "InitialNamesAccepted",
                "message": "the initial names have been accepted",
            }
            self._write_status(with_condition(definition, condition, self._state.now()))
        return None

    def restart(self) -> None:
        """Start from what is stored, as after a restore."""
        for name in list(self._served):
            self._unserve(name)
        for one in self._state.store.collection(CRD):
            if _is(one.object, "Established"):
                self._serve(one.name, one.object)
            self._later(one.name)

    # Names

    def _accepted(self, definition: Json) -> Json:
        """Return the definition with the names that it can have and the conditions that say so."""
        wanted, status = definition["spec"]["names"], definition.get("status") or {}
        mine = status.get("acceptedNames") or {}
        if wanted == mine:
            return definition
        resources, kinds = self._taken(definition["spec"]["group"])
        names, problem = dict(mine), ("", "")
        for field, used, reason in (
            ("plural", resources, "PluralConflict"),
            ("singular", resources, "SingularConflict"),
            ("shortNames", resources, "ShortNamesConflict"),
            ("kind", kinds, "KindConflict"),
            ("listKind", kinds, "ListKindConflict"),
        ):
            clashes = _clashes(wanted.get(field), mine.get(field), used)
            if clashes:
                problem = reason, ", ".join(f"{quoted(one)} is already in use" for one in clashes)
            elif field in wanted:
                names[field] = wanted[field]
            else:
                names.pop(field, None)
        if "categories" in wanted:
            names["categories"] = wanted["categories"]
        accepted = {
            "type": "NamesAccepted",
            "status": "False" if problem[0] else "True",
            "reason": problem[0] or "NoConflicts",
            "message": problem[1] or "no conflicts found",
        }
        result = {**definition, "status": {**status, "acceptedNames": names}}
        result = with_condition(result, accepted, self._state.now())
        if not _is(definition, "Established"):
            installing = not problem[0]
            established = {
                "type": "Established",
                "status": "False",
                "reason": "Installing" if installing else "NotAccepted",
                "message": "the initial names have been accepted" if installing else "not all names are accepted",
            }
            result = with_condition(result, established, self._state.now())
        return definition if _same_names(result, definition) else result

    def _taken(self, group: str) -> tuple[set[str], set[str]]:
        """Return the names of resources and kinds that definitions of a group have."""
        resources: set[str] = set()
        kinds: set[str] = set()
        for one in self._state.store.collection(CRD):
            if one.object["spec"]["group"] == group:
                names = (one.object.get("status") or {}).get("acceptedNames") or {}
                resources |= {names.get("plural", ""), names.get("singular", ""), *(names.get("shortNames") or ())}
                kinds |= {names.get("kind", ""), names.get("listKind", "")}
        return resources, kinds

    def _look_at_group(self, group: str, but: str) -> None:
        for one in self._state.store.collection(CRD):
            if one.object["spec"]["group"] == group and one.name != but:
                self._later(one.name)

    # Serving

    def _serve(self, name: str, definition: Json) -> None:
        key = (definition["spec"]["group"], definition["spec"]["names"]["plural"])
        known = self._served.get(name)
        if known is not None and known[1] == definition["spec"]:
            return
        types = self._state.types
        for one in types.versions(key):
            types.remove(one.group, one.version, one.resource)
        versions = resource_types(definition)
        self._state.storage_types[key] = next(one for one in versions if one.version == one.storage_version)
        self._api.rules.forget(key)
        served = {one["name"] for one in definition["spec"]["versions"] if one.get("served")}
        for rtype in versions:
            if rtype.version in served:
                types.add(rtype)
        self._state.store.collection(key)
        if known is not None:
            self._state.store.end_watches(key)  # as the real server does, which makes a new watch cache
        self._served[name] = key, definition["spec"]
        self._instances[key] = name

    def _forget(self, name: str) -> None:
        """Drop a definition that is gone, and what is left of its instances."""
        key = self._unserve(name)
        if key is not None:
            self._state.store.drop(key)
            self._look_at_group(key[0], name)

    def _unserve(self, name: str) -> TypeKey | None:
        if name not in self._served:
            return None
        key, _ = self._served.pop(name)
        for one in self._state.types.versions(key):
            self._state.types.remove(one.group, one.version, one.resource)
        self._api.rules.forget(key)
        self._state.storage_types.pop(key, None)
        self._instances.pop(key, None)
        return key

    # The end

    def _finish(self, name: str, definition: Json) -> float | None:
        """Delete the instances of a definition, and let it go when there are none."""
        if CLEANUP_FINALIZER not in (definition["metadata"].get("finalizers") or ()):
            return None
        if not _is(definition, "Established"):
            self._let_go(definition, "NeverEstablished", "resource was never established")
            return None
        key = (definition["spec"]["group"], definition["spec"]["names"]["plural"])
        self._serve(name, definition)
        progress = _terminating("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
        definition = self._write_status(with_condition(definition, progress, self._state.now()))
        versions = self._state.types.versions(key)
        if versions:
            for namespace in {one.namespace for one in self._state.store.collection(key)}:
                self._api.delete_collection(versions[0], namespace, DeleteOptions(user=API_SERVER))
        if self._state.store.collection(key).objects:
            return RECHECK_SECONDS
        self._let_go(definition, "InstanceDeletionCompleted", "removed all instances")
        return None

    def _let_go(self, definition: Json, reason: str, message: str) -> None:
        result = with_condition(definition, _terminating("False", reason, message), self._state.now())
        finalizers = [one for one in result["metadata"]["finalizers"] if one != CLEANUP_FINALIZER]
        self._write_status(with_metadata(result, finalizers=finalizers or None))

    def _write_status(self, definition: Json) -> Json:
        rtype = self._api.rtype(*CRD)
        return self._api.replace(rtype, "", definition["metadata"]["name"], definition, _STATUS_WRITE).object

    def _refuse_if_terminating(self, rtype: ResourceType, name: str) -> None:
        owner = self._instances.get(rtype.key)
        found = self._state.store.get(CRD, owner) if owner else None
        if found is not None and found.object["metadata"].get("deletionTimestamp"):
            raise forbidden(rtype, name, "create not allowed while custom resource definition is terminating")


def resource_types(definition: Json) -> list[ResourceType]:
    """Return the type of each version of a definition, served or not."""
    spec = definition["spec"]
    storage = next(one["name"] for one in spec["versions"] if one.get("storage"))
    return [_resource_type(spec, version, storage) for version in spec["versions"]]


def _resource_type(spec: Json, version: Json, storage: str) -> ResourceType:
    names = spec["names"]
    subresources = version.get("subresources") or {}
    source = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    scale = subresources.get("scale")
    shown = [
        *(
            [Subresource("status", spec["group"], version["name"], names["kind"], _CHANGED)]
            if "status" in subresources
            else ()
        ),
        *([Subresource("scale", "autoscaling", "v1", "Scale", _CHANGED)] if scale else ()),
    ]
    return ResourceType(
        group=spec["group"],
        version=version["name"],
        resource=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        kind=names["kind"],
        list_kind=names.get("listKind") or f"{names['kind']}List",
        namespaced=spec["scope"] == "Namespaced",
        load_schema=partial(structural, source, object_meta()),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        has_status="status" in subresources,
        scale=_scale_paths(scale) if scale else None,
        subresources=tuple(shown),
        columns=tuple(_column(one) for one in version.get("additionalPrinterColumns") or ()),
        custom=True,
        storage_version=storage,
        unconditional_update=False,
        openapi_schema=source,
        selectable_fields=tuple(one["jsonPath"].removeprefix(".") for one in version.get("selectableFields") or ()),
        warning=_deprecation(spec, version),
    )


def _scale_paths(scale: Json) -> ScalePaths:
    return ScalePaths(
        spec_replicas=scale["specReplicasPath"],
        status_replicas=scale["statusReplicasPath"],
        label_selector=scale.get("labelSelectorPath", ""),
    )


def _column(raw: Json) -> PrinterColumn:
    return PrinterColumn(
        name=raw["name"],
        type=raw["type"],
        json_path=raw["jsonPath"],
        format=raw.get("format", ""),
        description=raw.get("description", ""),
        priority=raw.get("priority", 0),
    )


def _deprecation(spec: Json, version: Json) -> str:
    if not version.get("deprecated"):
        return ""
    default = f"{spec['group']}/{version['name']} {spec['names']['kind']} is deprecated"
    return str(version.get("deprecationWarning") or default)


def _is(definition: Json, condition: str) -> bool:
    conditions: Iterable[Json] = (definition.get("status") or {}).get("conditions") or ()
    return any(one["type"] == condition and one["status"] == "True" for one in conditions)


def _clashes(wanted: str | list[str] | None, mine: str | list[str] | None, used: set[str]) -> list[str]:
    """Return the names wanted that are neither mine already nor free."""
    if wanted == mine or not wanted:
        return []
    names = [wanted] if isinstance(wanted, str) else wanted
    return [one for one in names if one in used and one not in (mine or ())]


def _same_names(one: Json, other: Json) -> bool:
    """Return whether two states of a definition differ in nothing but the times of conditions."""
    return _timeless(one) == _timeless(other)


def _timeless(definition: Json) -> Json:
    status = definition.get("status") or {}
    conditions = [
        {name: value for name, value in one.items() if name != "lastTransitionTime"}
        for one in status.get("conditions") or ()
    ]
    return {**status, "conditions": conditions}


def _terminating(status: str, reason: str, message: str) -> Json:
    return {"type": "Terminating", "status": status, "reason": reason, "message": message}
