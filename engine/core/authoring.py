"""What people write reconcilers with. `crosscurrent` re-exports all of it; built-in reconcilers use nothing else.

A reconciler is a pure function `reconcile(view, request) -> Decision`: it states what it wants each time, and the engine
leaves out what is so already. It never awaits, and has no client, clock or random number; `view.now` is the time.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b

import msgspec

from engine.core.ownership import (
    DEPENDENTS_FINALIZER,
    OWNER_LABEL,
    OWNERS_ANNOTATION,
    PROPAGATION_ANNOTATION,
    OwnerReference,
    owned,
    without,
)
from engine.core.plan import intent
from engine.core.related import At, Related
from engine.core.view import Cluster, Known, KubeObject, View
from schemas.actions import (
    AddFinalizer,
    Apply,
    Decision,
    Delete,
    Json,
    Patch,
    PatchStatus,
    Propagation,
    RecordEvent,
    RemoveFinalizer,
    Request,
)
from schemas.names import ClusterName, ObjectRef, Resource

Reconcile = Callable[[View, Request], Decision]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class Reconciler(msgspec.Struct, frozen=True):
    """A reconcile function with what the engine must know of it. Call it like the function itself."""

    name: str
    watches: tuple[Resource, ...]
    """Types of the objects that requests name."""
    owns: tuple[Resource, ...]
    """Types of the dependents that it writes; their changes wake their owner's key."""
    function: Reconcile
    code: str
    """Digest of what decides its answers: when it changes, everything is evaluated again."""
    reads: tuple[Related, ...] = ()
    """What it reads besides; changes of that wake the keys that read it."""
    copies_secrets: bool = False
    """Whether Secrets' values are in the view, sealed, so that it can copy them."""
    owned_by: dict[Resource, tuple[Resource, ...]] = {}
    """Which of the types in `owns` each watched type has dependents of; all of them where it says nothing."""

    def __call__(self, view: View, request: Request) -> Decision:
        """Answer one request."""
        return self.function(view, request)

    @property
    def types(self) -> tuple[Resource, ...]:
        """Every type that it looks at."""
        return tuple(dict.fromkeys((*self.watches, *self.owns, *(one.resource for one in self.reads))))

    def owns_for(self, watched: Resource) -> tuple[Resource, ...]:
        """Return the types of the dependents of objects of a watched type."""
        return self.owned_by.get(watched, self.owns)

    def types_for(self, group: str, plural: str) -> tuple[Resource, ...]:
        """Return the types that it looks at for objects of one: what of them is known is read for each request."""
        own = [one for one in self.watches if (one.group, one.plural) == (group, plural)]
        owned = [kind for one in own for kind in self.owns_for(one)] if own else self.owns
        return tuple(dict.fromkeys((*own, *owned, *(one.resource for one in self.reads))))

    def concerned_by(self, group: str, plural: str) -> tuple[Resource, ...]:
        """Return the watched types whose objects look at a type."""
        if any((one.resource.group, one.resource.plural) == (group, plural) for one in self.reads):
            return self.watches
        return tuple(
            one
            for one in self.watches
            if (group, plural) in {(kind.group, kind.plural) for kind in (one, *self.owns_for(one))}
        )

    @property
    def manager(self) -> str:
        """Its field manager in server-side apply."""
        return f"crosscurrent/{self.name}"


def reconciler(
    name: str,
    *,
    watches: str | Sequence[str],
    owns: Sequence[str] | Mapping[str, Sequence[str]] = (),
    reads: Mapping[str, str] | None = None,
    version: str = "",
    copies_secrets: bool = False,
) -> Callable[[Reconcile], Reconciler]:
    """Make a reconciler of a function.

    Args:
        name: unique, DNS label of at most 42 characters; part of subjects and of the field manager.
        watches: type of the objects to reconcile, as `apps/v1/deployments` or `v1/configmaps`, or several.
        owns: types of the dependents that it writes in any cluster; where it watches several types that own different ones,
            a mapping from each of those to its own.
        reads: types that it reads besides, and where (`At`): `{"v1/namespaces": "namespaces"}`. They are in the view, and
            their changes wake the keys that read them.
        copies_secrets: whether it copies values of Secrets (`Apply.secret_from`): then they are recorded sealed, not hashed.
        version: whatever decides its answers besides the module that defines it: its settings, other modules' code.

    Raises:
        ValueError: when a name or type is malformed.

    """
    if not _NAME.fullmatch(name):
        message = f"{name!r} cannot name a reconciler: lower-case letters, digits and dashes, at most 42"
        raise ValueError(message)

    def decorate(function: Reconcile) -> Reconciler:
        watched = tuple(Resource.parse(text) for text in ([watches] if isinstance(watches, str) else watches))
        by_type = owns if isinstance(owns, Mapping) else {}
        owned_by = {Resource.parse(one): tuple(map(Resource.parse, kinds)) for one, kinds in by_type.items()}
        flat = [one for kinds in owned_by.values() for one in kinds] if by_type else map(Resource.parse, owns)
        related = tuple(Related(Resource.parse(text), At(where)) for text, where in (reads or {}).items())
        return Reconciler(
            name=name,
            watches=watched,
            owns=tuple(dict.fromkeys(flat)),
            function=function,
            code=_code_of(function, version),
            reads=related,
            copies_secrets=copies_secrets,
            owned_by=owned_by,
        )

    return decorate


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """How dependents go."""

    orphan: bool = False
    """They stay, and only the reference to their owner goes."""
    propagation: Propagation = Propagation.BACKGROUND
    """What becomes of what they own in their own cluster."""
    grace_seconds: int | None = None
    """Given to the server; None: the type's default."""


def dependent(view: View, owner: KubeObject, cluster: Cluster | ClusterName, resource: str, body: Json) -> Apply:
    """Return the apply of an object in any cluster that `owner` owns.

    Args:
        view: of the request.
        owner: the owner, usually the requested object.
        cluster: where the dependent goes.
        resource: its type, as `apps/v1/deployments`.
        body: with `metadata.name`, and `metadata.namespace` if it is namespaced; apiVersion and kind included.

    """
    kind = Resource.parse(resource)
    metadata = body["metadata"]
    place = cluster.name if isinstance(cluster, Cluster) else cluster
    ref = ObjectRef(place, kind.group, kind.plural, metadata.get("namespace", ""), metadata["name"])
    return Apply(ref=ref, api_version=kind.api_version, kind=body["kind"], body=owned(body, reference(view, owner)))


def reference(view: View, owner: KubeObject) -> OwnerReference:
    """Return the cross-cluster reference to `owner`, as its controller, blocking its deletion."""
    home = view.clusters[owner.cluster]
    return OwnerReference(
        cluster_id=home.identity,
        cluster=owner.cluster,
        api_version=owner.api_version,
        kind=owner.kind,
        resource=owner.ref.resource,
        namespace=owner.namespace,
        name=owner.name,
        uid=owner.uid,
        controller=True,
        block_owner_deletion=True,
    )


def hold(owner: KubeObject) -> AddFinalizer:
    """Return the finalizer that keeps `owner` until its dependents in other clusters are gone; before the first of them."""
    return AddFinalizer(
        ref=owner.ref, api_version=owner.api_version, kind=owner.kind, uid=owner.uid, finalizer=DEPENDENTS_FINALIZER
    )


def prune(
    view: View, owner: KubeObject, wanted: Iterable[Apply], removal: Removal | None = None
) -> list[Delete | Patch]:
    """Return what rids `owner` of dependents that are not among `wanted`; performed after those are applied."""
    keep = {apply.ref for apply in wanted}
    return [part(child, owner, removal) for child in view.dependents(owner) if child.ref not in keep]


def release(
    view: View,
    owner: KubeObject,
    owns: Sequence[str],
    removal: Removal | None = None,
    *,
    silent: bool = False,
    tell: Callable[[str, str], PatchStatus] | None = None,
) -> Decision:
    """Return what an owner needs that is deleted, or is to have no dependents: they go, or are orphaned; then its finalizer.

    The finalizer goes only when no dependent is seen any more; the engine then asks every cluster once more, live, and
    keeps the owner while one of them cannot answer (DESIGN §8). What holds it up is told in its status; `silent`, where the
    status is not ours to write, by a Kubernetes Event. `tell` makes the status of a reason and a message, where it has a form
    of its own.
    """
    if DEPENDENTS_FINALIZER not in owner.finalizers:
        return Decision.wait()
    problem = _held_up(view, owner)
    told: tuple[PatchStatus | RecordEvent, ...] = ()
    if problem:
        if silent:
            told = (note(owner, "Warning", *problem),)
        else:
            told = (tell(*problem) if tell is not None else report(view, owner, problem=problem),)
    orphan = view.propagation is Propagation.ORPHAN
    if orphan and (owner.metadata.get("annotations") or {}).get(PROPAGATION_ANNOTATION) != Propagation.ORPHAN:
        # Kubernetes takes its own mark away at once, and the log forgets in a week.
        return Decision.do(_propagating(owner, Propagation.ORPHAN), *told)
    removal = msgspec.structs.replace(removal or Removal(), orphan=orphan or (removal or Removal()).orphan)
    if children := view.dependents(owner):
        return Decision.do(*(part(child, owner, removal) for child in children), *told)
    let_go = RemoveFinalizer(
        ref=owner.ref,
        api_version=owner.api_version,
        kind=owner.kind,
        uid=owner.uid,
        finalizer=DEPENDENTS_FINALIZER,
        dependents=tuple(owns),
    )
    return Decision.do(let_go, *told)


def note(owner: KubeObject, kind: str, reason: str, message: str) -> RecordEvent:
    """Return a Kubernetes Event on `owner`, sent once for each thing that it says; `kind` is Normal or Warning.

    A reconciler that says several things at once gives each another reason: only the last of one reason is remembered.
    """
    return RecordEvent(
        ref=owner.ref,
        api_version=owner.api_version,
        kind=owner.kind,
        uid=owner.uid,
        type=kind,
        reason=reason,
        message=message,
    )


def report(
    view: View,
    owner: KubeObject,
    wanted: Sequence[Apply] = (),
    *,
    problem: tuple[str, str] | None = None,
    observe: Callable[[KubeObject], Json] | None = None,
) -> PatchStatus:
    """Return the status of `owner`: a Ready condition, and for each wanted dependent its cluster's state and conditions.

    Args:
        view: of the request.
        owner: whose status it is.
        wanted: its dependents, one per cluster.
        problem: (reason, message) if `owner` itself is wrong.
        observe: further fields of a cluster's entry, from the live dependent.

    """
    before = view.status(owner)
    entries = {entry.get("name"): entry for entry in before.get("clusters") or []}
    clusters = [_cluster_status(view, apply, entries.get(apply.ref.cluster, {}), observe) for apply in wanted]
    waiting = [entry["name"] for entry in clusters if entry["conditions"][0]["status"] != "True"]
    if problem is None and waiting:
        problem = ("ClustersNotReady", f"not applied in {', '.join(waiting)}")
    reason, message = problem or ("Applied", f"applied in {len(clusters)} clusters")
    ready = condition(before, "Ready", problem is None, reason, message, now=view.now)
    status: Json = {"observedGeneration": owner.generation, "conditions": [ready], "clusters": clusters}
    return PatchStatus(ref=owner.ref, api_version=owner.api_version, kind=owner.kind, uid=owner.uid, status=status)


def condition(before: Json, kind: str, status: bool | None, reason: str, message: str, *, now: float) -> Json:
    """Return a Kubernetes condition; its lastTransitionTime is kept from `before` if the status is the same.

    Args:
        before: an object with a list `conditions`.
        kind: type of the condition.
        status: None for Unknown.
        reason: CamelCase.
        message: for people.
        now: `view.now`.

    """
    value = {True: "True", False: "False", None: "Unknown"}[status]
    since = ""
    for old in before.get("conditions") or []:
        if old.get("type") == kind and old.get("status") == value:
            since = old.get("lastTransitionTime", "")
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or timestamp(now),
    }


def timestamp(seconds: float) -> str:
    """Return RFC 3339 UTC in whole seconds, the form of Kubernetes' times."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def name_problem(name: object) -> str:
    """Return what is wrong with the name of an object (DNS-1123 subdomain), empty if nothing is."""
    if not isinstance(name, str) or not name:
        return "it must not be empty"
    if len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        return f"{name!r} is not a DNS-1123 subdomain: lower-case letters, digits, '-' and '.', at most 253"
    return ""


def _cluster_status(view: View, apply: Apply, before: Json, observe: Callable[[KubeObject], Json] | None) -> Json:
    cluster = view.clusters[apply.ref.cluster]
    live = view.get(apply.ref)
    status, reason, message = applied(view, apply)
    entry: Json = {"name": cluster.name, "state": cluster.state.value}
    if live is not None and observe is not None:
        entry |= observe(live)
    return entry | {"conditions": [condition(before, "Applied", status, reason, message, now=view.now)]}


def applied(view: View, apply: Apply) -> tuple[bool | None, str, str]:
    """Return whether a dependent is as it should be, with reason and message; None where that cannot be known."""
    cluster = view.clusters[apply.ref.cluster]
    if not cluster.answering:
        return None, cluster.reason or "Unreachable", cluster.message or f"{cluster.name} does not answer"
    failure = view.failure(apply.ref)
    if failure is not None:
        return False, _camel(failure.reason), failure.message or "the write failed"
    target = view.targets.get((apply.ref, "apply"))
    if target is not None and target.desired == intent(apply):
        return True, "Applied", ""
    if view.serves(cluster.name, Resource(apply.ref.group, "", apply.ref.resource)) is False:
        return False, "NotServed", f"{cluster.name} does not serve {apply.ref.resource} of {apply.api_version}"
    if view.known(apply.ref) is Known.UNKNOWN:
        return None, "NotSynced", f"{apply.ref.resource} in {cluster.name} are not known yet"
    return False, "Pending", "not applied yet"


def _camel(reason: str) -> str:
    return reason[:1].upper() + reason[1:] if reason else "Failed"


def _held_up(view: View, owner: KubeObject) -> tuple[str, str] | None:
    """Return (reason, message) of what keeps a deleted owner: clusters that do not answer, deletes that were refused."""
    for child in view.dependents(owner):
        cluster = view.clusters[child.cluster]
        if not cluster.answering:
            return (
                "WaitingForCluster",
                f"{child.ref} is still there and {cluster.name} does not answer: {cluster.message}",
            )
        if failure := view.failure(child.ref, "delete"):
            return "DeleteFailed", f"{child.ref}: {failure.message}"
    if failure := view.failure(owner.ref, "finalizer"):
        return "WaitingForDependents", failure.message
    return None


def _propagating(owner: KubeObject, propagation: Propagation) -> Patch:
    patch = {"metadata": {"annotations": {PROPAGATION_ANNOTATION: propagation.value}}}
    return Patch(ref=owner.ref, api_version=owner.api_version, kind=owner.kind, uid=owner.uid, patch=patch)


def part(child: KubeObject, owner: KubeObject, removal: Removal | None = None) -> Delete | Patch:
    """Return what parts a dependent from its owner: its deletion, or only of the reference if it has other owners (G9)."""
    removal = removal or Removal()
    if removal.orphan:
        mine = tuple(one for one in child.owners if one.uid == owner.uid)
        patch = {"metadata": without(child.metadata, mine)}
        return Patch(ref=child.ref, api_version=child.api_version, kind=child.kind, uid=child.uid, patch=patch)
    others = tuple(other for other in child.owners if other.uid != owner.uid)
    if not others:
        return Delete(
            ref=child.ref,
            api_version=child.api_version,
            kind=child.kind,
            uid=child.uid,
            owner=owner.uid,
            propagation=removal.propagation,
            grace_seconds=removal.grace_seconds,
        )
    metadata = {
        "annotations": {OWNERS_ANNOTATION: msgspec.json.encode(others).decode()},
        "labels": {OWNER_LABEL: others[0].uid},
    }
    return Patch(
        ref=child.ref, api_version=child.api_version, kind=child.kind, uid=child.uid, patch={"metadata": metadata}
    )


def _code_of(function: Reconcile, version: str) -> str:
    module = inspect.getmodule(function)
    try:
        source = inspect.getsource(module) if module else inspect.getsource(function)
    except (OSError, TypeError):
        source = function.__code__.co_code.hex()  # typed at a prompt: there is no source to read
    return blake2b(f"{source}{version}".encode(), digest_size=6).hexdigest()
