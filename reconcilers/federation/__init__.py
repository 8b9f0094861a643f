"""Federated objects: one object in one cluster becomes a copy in each selected cluster (docs/federation.md).

kubefed's types and meanings, on the engine's own ownership: copies name their federated object as their owner, are kept as
they should be by server-side apply, and go by the engine's deletes. Everything here is a pure function of the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import msgspec

from engine.core.authoring import Reconciler, Removal, hold, note, part, reconciler, release
from engine.core.ownership import DEPENDENTS_FINALIZER
from engine.core.view import KubeObject, View
from reconcilers.federation.copies import Copy, copy_in
from reconcilers.federation.fleet import KUBEFED_CLUSTERS, Selected, members, select
from reconcilers.federation.forms import NAMESPACES, SECRETS, VERSIONS, Federated, owned, read, removal, targets
from reconcilers.federation.scheduling import PREFERENCES, Scheduled, preference_of, rescheduled, scheduled
from reconcilers.federation.selection import Malformed
from reconcilers.federation.standing import held_up, invalid, readiness, status_of, warnings
from schemas.actions import Action, Decision, RemoveFinalizer, Request
from schemas.config import Config
from schemas.federation import FederationConfig
from schemas.federation_forms import GENERIC_GROUP
from schemas.names import Resource

KUBEFED_FINALIZER = "kubefed.io/sync-controller"
"""On objects that kubefed has looked after; nobody else would ever take it away."""
LOOK_AGAIN_SECONDS = 30.0
"""Somebody else's object that is in the way wakes nobody when it goes."""


def configured(config: Config) -> Reconciler:
    """Return the reconciler for a configuration file.

    Raises:
        ValueError: when its types are not understood.

    """
    return federation(config.federation)


def federation(config: FederationConfig) -> Reconciler:
    """Return the reconciler for some settings."""
    federated = f"federated{NAMESPACES.plural}"
    spaces = {f"{group}/{version}/{federated}": "namespace" for group, version in VERSIONS.items()}

    @reconciler(
        "federation",
        watches=list(owned(config)),
        owns=owned(config),
        reads={**spaces, str(NAMESPACES): "namespaces", str(KUBEFED_CLUSTERS): "cluster", str(PREFERENCES): "name"},
        version=_version(config),
        copies_secrets=SECRETS.group_resource in {target.group_resource for target in targets(config)},
    )
    def reconcile(view: View, request: Request) -> Decision:
        return federate(view, request, config)

    return reconcile


def federate(view: View, request: Request, config: FederationConfig) -> Decision:
    """Keep the copies of one federated object as it says."""
    parent = view.get(request.object)
    if parent is None:
        return Decision.wait()
    try:
        if parent.deleting:
            return let_go(view, parent, config)
        form, how = read(parent, config), removal(parent)
        known = members(view, parent)
        if known is None:
            selected = Selected(
                status=None, reason="NotRead", message="what decides the placement has not been read yet"
            )
            return Decision.do(status_of(view, parent, selected, (), ()))
        selected = select(view, parent, form, known, config)
        preference, plan = preference_of(view, parent), None
        if preference is not None and selected.status is not None and selected.reason != "NamespaceNotFederated":
            selected = rescheduled(selected, preference, form, known)
            plan = scheduled(view, parent, preference, form, selected.clusters)
    except Malformed as problem:
        return Decision.do(invalid(view, parent, str(problem)))
    if selected.status is None:
        return Decision.do(status_of(view, parent, selected, (), ()))
    copies = [copy_in(view, parent, form, name, known[name], plan) for name in selected.clusters]
    return _keep(view, parent, form, selected, copies, how, plan)


def _keep(
    view: View,
    parent: KubeObject,
    form: Federated,
    selected: Selected,
    copies: Sequence[Copy],
    how: Removal,
    plan: Scheduled | None,
) -> Decision:
    """Apply the copies, then take away what is where it should not be any more."""
    kept = {copy.ref for copy in copies}
    leaving = [child for child in view.dependents(parent) if child.ref not in kept]
    applies = [copy.apply for copy in copies if copy.apply is not None]
    actions: list[Action] = [hold(parent)] if applies else []
    actions += applies
    how = msgspec.structs.replace(how, orphan=False)  # that is for when the object itself goes, as in kubefed
    actions += [part(copy.recreate, parent, how) for copy in copies if copy.recreate is not None]
    if leaving and _may_leave(view, form, copies):
        actions += [part(child, parent, how) for child in leaving]
        told = ", ".join(f"{child.cluster}" for child in leaving)
        actions.append(note(parent, "Normal", "Deselected", f"removed from {told}"))
    if adopted := [copy.cluster for copy in copies if copy.adopts]:
        actions.append(note(parent, "Normal", "Adopted", f"taken over in {', '.join(adopted)}"))
    actions += warnings(view, parent, copies)
    actions.append(status_of(view, parent, selected, copies, leaving, plan.told() if plan is not None else ""))
    waits = [plan.again_after] if plan is not None and plan.again_after is not None else []
    if any(copy.standing[1] in ("AlreadyExists", "Claimed", "ManagedLabelFalse") for copy in copies):
        waits.append(LOOK_AGAIN_SECONDS)
    return Decision.do(*actions, again_after=min(waits, default=None))


def _may_leave(view: View, form: Federated, copies: Sequence[Copy]) -> bool:
    """Return whether what was deselected may go: the new copies are there first, as far as their clusters let them.

    A cluster that does not answer, or refuses, holds up none but itself, as long as there is a copy anywhere.
    """
    if not copies:
        return True
    there = [copy for copy in copies if copy.standing[0] is True]
    if form.options.remove_when_ready:
        there = [copy for copy in there if readiness(view, copy)[0] is True]
        return len(there) == len([copy for copy in copies if view.clusters[copy.cluster].answering]) and bool(there)
    return bool(there) and not any(copy.pending for copy in copies)


def let_go(view: View, parent: KubeObject, config: FederationConfig) -> Decision:
    """Delete the copies of a deleted object, or orphan them if that is asked for, and let it go when they are gone.

    Raises:
        Malformed: when it cannot be understood how: then nothing is deleted.

    """
    how = removal(parent)
    types = [str(target) for target in _types_of(parent, config)]
    if DEPENDENTS_FINALIZER in parent.finalizers:
        return release(view, parent, types, how, tell=lambda *problem: held_up(view, parent, *problem))
    if KUBEFED_FINALIZER not in parent.finalizers:
        return Decision.wait()
    return Decision.do(
        RemoveFinalizer(
            ref=parent.ref,
            api_version=parent.api_version,
            kind=parent.kind,
            uid=parent.uid,
            finalizer=KUBEFED_FINALIZER,
            dependents=tuple(types),
        )
    )


def _types_of(parent: KubeObject, config: FederationConfig) -> list[Resource]:
    """Return the types in which copies may be: a generic object may have been about another one before."""
    plural = parent.ref.resource.removeprefix("federated")
    return [one for one in targets(config) if parent.ref.group == GENERIC_GROUP or one.plural == plural]


def _version(config: FederationConfig) -> str:
    """Return a digest of the settings and of this package, which decide the answers together."""
    digest = blake2b(msgspec.json.encode(config), digest_size=6)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
