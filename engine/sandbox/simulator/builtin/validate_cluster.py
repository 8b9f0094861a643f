"""Validation of what a cluster itself is made of: Namespaces, Nodes, Events.

In: an object as decoded and defaulted, and in an update the one before. Out: causes in the order of the real server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.sandbox.simulator.builtin.addresses import cidr, is_version
from engine.sandbox.simulator.builtin.checks import (
    choice,
    go_struct,
    named,
    qualified_name,
    resource_quantity,
)
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import duplicate, forbidden, invalid, required
from engine.sandbox.simulator.names import label_key_problems, label_value_problems

Json = dict[str, Any]

_FINALIZERS = {"kubernetes", "orphan", "foregroundDeletion"}
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


# Namespaces


def namespace_causes(new: Json, _: Json | None) -> list[Cause]:
    """Return what is wrong with a Namespace."""
    names = (new.get("spec") or {}).get("finalizers") or ()
    return [cause for name in names for cause in _finalizer_causes(name, "spec.finalizers")]


def namespace_finalize_causes(new: Json, _: Json) -> list[Cause]:
    """Return what is wrong with a Namespace whose finalizers are set."""
    names = (new.get("spec") or {}).get("finalizers") or ()
    return [cause for index, name in enumerate(names) for cause in _finalizer_causes(name, f"spec.finalizers[{index}]")]


def namespace_status_causes(new: Json, _: Json) -> list[Cause]:
    """Return what is wrong with a Namespace's status."""
    phase = (new.get("status") or {}).get("phase", "")
    wanted, state = ("Terminating", "not empty") if new["metadata"].get("deletionTimestamp") else ("Active", "empty")
    if phase == wanted:
        return []
    return [invalid("status.Phase", phase, f"may only be '{wanted}' if `deletionTimestamp` is {state}")]


def _finalizer_causes(name: str, path: str) -> list[Cause]:
    causes = named(name, path, label_key_problems)
    if "/" not in name and name not in _FINALIZERS:
        why = "name is neither a standard finalizer name nor is it fully qualified"
        causes.append(invalid(path, name, why))
    return causes


# Nodes


def node_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a Node."""
    spec = new.get("spec") or {}
    causes = _taint_causes(spec.get("taints") or (), "metadata.taints") + _node_resource_causes(new)
    blocks = spec.get("podCIDRs") or ()
    for index, one in enumerate(blocks):
        causes += cidr(one, f"spec.podCIDRs[{index}]")
    if len(blocks) > 1 and (len(blocks) > 2 or len({is_version(one.partition("/")[0], 6) for one in blocks}) < 2):
        causes.append(invalid("spec.podCIDRs", blocks, "may specify no more than one CIDR for each IP family"))
    return causes if old is None else causes + node_change_causes(new, old)


def node_change_causes(new: Json, old: Json) -> list[Cause]:
    """Return what is wrong with an update of a Node or of its status."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    causes = _node_resource_causes(new)
    addresses = (new.get("status") or {}).get("addresses") or []
    for index, one in enumerate(addresses):
        if one in addresses[:index]:
            causes.append(duplicate(f"status.addresses[{index}]", go_struct(one, type="", address="")))
    if before.get("podCIDRs") and before["podCIDRs"] != spec.get("podCIDRs"):
        why = 'node updates may not change podCIDR except from "" to valid'
        causes.append(forbidden("spec.podCIDRs", why))
    if before.get("providerID") and before["providerID"] != spec.get("providerID"):
        why = 'node updates may not change providerID except from "" to valid'
        causes.append(forbidden("spec.providerID", why))
    causes += _taint_causes(spec.get("taints") or (), "metadata.taints")
    if spec.get("externalID", "") != before.get("externalID", ""):
        causes.append(forbidden("spec.externalID", "may not be updated"))
    return causes


def _node_resource_causes(node: Json) -> list[Cause]:
    return [
        cause
        for kind in ("capacity", "allocatable")
        for name, value in ((node.get("status") or {}).get(kind) or {}).items()
        for cause in resource_quantity(name, value, f"status.{kind}.{name}")
    ]


def _taint_causes(taints: Sequence[Json], path: str) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        here, effect = f"{path}[{index}]", taint.get("effect", "")
        causes += qualified_name(taint.get("key", ""), f"{here}.key")
        if problems := label_value_problems(taint.get("value", "")):
            causes.append(invalid(f"{here}.value", taint["value"], ";".join(problems)))
        causes += choice(effect, _EFFECTS, f"{here}.effect")
        identity = (taint.get("key", ""), effect)
        if identity in seen:
            cause = duplicate(here, go_struct(taint, key="", value="", effect="", timeAdded=None))
            why = f"{cause.message}: taints must be unique by key and effect pair"
            causes.append(Cause(cause.reason, why, cause.field))
        seen.add(identity)
    return causes


# Events


def event_causes(new: Json, _: Json | None) -> list[Cause]:
    """Return what is wrong with an Event of the core group."""
    where = (new.get("involvedObject") or {}).get("namespace", "")
    namespace = new["metadata"].get("namespace", "")
    mismatch = invalid("involvedObject.namespace", where, "does not match event.namespace")
    if not new.get("eventTime"):
        fits = namespace == where if where else namespace in {"", "default"}
        return [] if fits else [mismatch]
    causes = []
    if not where and namespace not in {"default", "kube-system"}:
        causes.append(mismatch)
    reporter = new.get("reportingComponent", "")
    if not reporter:
        causes.append(required("reportingComponent"))
    causes += qualified_name(reporter, "reportingComponent")
    for name, most in (("reportingInstance", 128), ("action", 128), ("reason", 128)):
        value = new.get(name, "")
        if not value:
            causes.append(required(name))
        if len(value) > most:
            causes.append(invalid(name, "", f"can have at most {most} characters"))
    if len(new.get("message", "")) > 1024:
        causes.append(invalid("message", "", "can have at most 1024 characters"))
    return causes
