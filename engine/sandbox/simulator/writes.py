"""Writes: what happens between a decoded request and the store, in the order in which the real server does it.

In: a type, a name, a body or a patch, options. Out: an `Answer`, and the object in the store. A write is a generator of
admission requests (`Steps`): where no webhook is concerned it yields nothing. Between two steps other writes may come, so
a write that finds its object changed starts again from the new state, as etcd's transactions make the real server do.

What a type's values must look like is in `type_rules`, what a request may not set in `strategies`, the small rules of
names and versions in `write_rules`, ownership of fields in `managed_fields`, deletion in `deletion`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from engine.sandbox.simulator import write_rules
from engine.sandbox.simulator.admission import builtin_admission
from engine.sandbox.simulator.errors import ApiError, conflict, not_found
from engine.sandbox.simulator.options import AdmissionRequest, AdmissionVerdict, Answer, WriteOptions
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.services import SERVICES, ServiceAllocator
from engine.sandbox.simulator.state import ClusterState
from engine.sandbox.simulator.store import Json, Revision, object_key
from engine.sandbox.simulator.strategies import CLAIMS, JOBS, NAMESPACES, prepared_for_create, prepared_for_update
from engine.sandbox.simulator.type_rules import TypeRules, TypeRulesCache

Steps = Generator[AdmissionRequest, AdmissionVerdict, Answer]

Operation = Literal["CREATE", "UPDATE"]

APPLY_PATCH = "application/apply-patch+yaml"

_STORAGE_BYTES: Final = 1536 * 1024
"""Most that etcd takes in a request. Here an object counts as JSON; there most are a little smaller, as protobuf."""

_NAME_ATTEMPTS = 8
"""How often a generated name is tried: with it, a million names of one prefix collide once in a thousand cases."""

_encode = msgspec.json.Encoder().encode

Transform = Callable[[Revision | None, list[str]], Json]
"""Makes the object wanted from the stored one (None: there is none), and may add warnings."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write under way.

    Attributes:
        rules: of the type.
        namespace: as in the URL; empty: cluster-scoped.
        name: as in the URL or the body; may be empty while it is generated.
        options: as the client gave them.
        warnings: collected for the answer.
        applies: this is a server-side apply.

    """

    rules: TypeRules
    namespace: str
    name: str
    options: WriteOptions
    warnings: list[str] = field(default_factory=list)
    applies: bool = False

    @property
    def rtype(self) -> ResourceType:
        """What is written."""
        return self.rules.rtype

    def answer(self, obj: Json, code: int, revision: Revision | None = None) -> Answer:
        """Return an answer with the warnings so far."""
        return Answer(obj, code, tuple(self.warnings), revision)


class Writes:
    """Creates and updates objects of one cluster; all public methods are generators.

    Args:
        state: of the cluster.
        rules: what types do with values.

    """

    def __init__(self, state: ClusterState, rules: TypeRulesCache) -> None:
        self._state = state
        self._rules = rules
        self._services = ServiceAllocator(state)

    def create(self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions) -> Steps:
        """Create an object; see `SimulatedCluster.create`."""
        rules = self._rules.of(rtype)
        warnings: list[str] = []
        with _telling(warnings):
            obj = write_rules.without_system_fields(rules.decoded(body, options, warnings))
            obj = write_rules.in_namespace(rtype, namespace, obj)
            obj = write_rules.without_duplicate_owners(obj, warnings)
            obj = rules.tracked(None, obj, options)
            name = name or obj["metadata"].get("name", "")
            return (yield from self._create(Write(rules, namespace, name, options, warnings), obj))

    def replace(self, rtype: ResourceType, namespace: str, name: str, body: Json, options: WriteOptions) -> Steps:
        """Replace an object, its status or a namespace's finalizers; see `SimulatedCluster.replace`."""
        rules = self._rules.of(rtype)
        warnings: list[str] = []
        with _telling(warnings):
            live = self._live(rules, namespace, name)
            sent = rules.decoded(body, options, warnings, known=live.object if live else None)
            sent = write_rules.in_namespace(rtype, namespace, sent)
            write_rules.check_name(sent, name)
            sent = write_rules.without_duplicate_owners(sent, warnings)

            def transform(live: Revision | None, _: list[str]) -> Json:
                before = live.object if live is not None else None
                uid = sent["metadata"].get("uid")
                if uid and uid != (before["metadata"]["uid"] if before else ""):
                    raise write_rules.uid_mismatch(rtype, namespace, name, uid, live=before, dry_run=options.dry_run)
                return rules.tracked(before, sent, options)

            write = Write(rules, namespace, name, options, warnings)
            return (yield from self._update(write, transform, creates=rtype.create_on_update))

    def patch(
        self, rtype: ResourceType, namespace: str, name: str, body: Any, options: WriteOptions, *, patch_type: str
    ) -> Steps:
        """Patch or apply; see `SimulatedCluster.patch`."""
        rules = self._rules.of(rtype)

        def transform(live: Revision | None, warnings: list[str]) -> Json:
            before = live.object if live is not None else None
            if patch_type == APPLY_PATCH:
                obj = self._applied(rules, before, body, options, warnings)
            elif before is None:
                raise not_found(rtype, name)
            else:
                patched = rules.patched(before, body, patch_type, options, warnings)
                obj = rules.tracked(before, patched, options)
            if before is None and (uid := obj["metadata"].get("uid")):
                why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                raise conflict(rtype, name, why)
            obj = write_rules.in_namespace(rtype, namespace, obj)
            write_rules.check_name(obj, name)
            return obj

        creates = patch_type == APPLY_PATCH or rtype.create_on_update
        write = Write(rules, namespace, name, options, applies=patch_type == APPLY_PATCH)
        with _telling(write.warnings):
            return (yield from self._update(write, transform, creates=creates))

    def change(
        self,
        rtype: ResourceType,
        namespace: str,
        name: str,
        options: WriteOptions,
        transform: Callable[[Revision, list[str]], Json],
    ) -> Steps:
        """Update an object that is there by a function of it."""

        def update(live: Revision | None, warnings: list[str]) -> Json:
            if live is None:
                raise not_found(rtype, name)
            return transform(live, warnings)

        write = Write(self._rules.of(rtype), namespace, name, options)
        with _telling(write.warnings):
            return (yield from self._update(write, update, creates=False))

    def _applied(
        self, rules: TypeRules, before: Json | None, config: Json, options: WriteOptions, warnings: list[str]
    ) -> Json:
        obj = rules.field_manager(options.subresource).applied(
            before, config, manager=options.manager, force=options.force, now=self._state.now()
        )
        rules.check_applied(options, warnings)
        if before is not None and write_rules.differs_in_managers_only(obj, before):
            return obj  # without the defaults that this version has and the stored object lacks
        return rules.completed(obj, known=before, said_by=config)

    # What all creates have in common

    def _create(self, write: Write, obj: Json) -> Steps:
        self._state.check_create(write.rtype, write.name)
        obj = yield from self._mutated(write, "CREATE", obj, None)
        obj = write_rules.without_duplicate_owners(obj, write.warnings, write_rules.AFTER_ADMISSION)
        metadata = obj["metadata"]
        attempts = _NAME_ATTEMPTS if metadata.get("generateName") and not metadata.get("name") else 1
        while True:
            attempts -= 1
            try:
                return (yield from self._store_new(write, obj))
            except ApiError as error:
                if not attempts or error.reason != "AlreadyExists":
                    raise

    def _store_new(self, write: Write, obj: Json) -> Steps:
        rules, rtype, now = write.rules, write.rtype, self._state.now()
        prefix, name = obj["metadata"].get("generateName", ""), obj["metadata"].get("name", "")
        if prefix and not name:
            name = self._state.generated_name(prefix)
        obj = write_rules.with_metadata(obj, name=name or None, uid=self._state.new_uid(), creationTimestamp=now)
        if rtype.key == SERVICES and not write.options.subresource:
            obj = self._services.created(obj, dry_run=write.options.dry_run)
        obj = prepared_for_create(rtype, obj, now)
        rules.check_new(obj, write.warnings)
        yield from self._validated(write, "CREATE", name, obj, None)
        key = object_key(obj["metadata"].get("namespace", ""), name)
        given = obj["metadata"].get("resourceVersion", "")
        if given.isdigit() and int(given) and not write.options.dry_run:
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        taken = self._state.store.get(rtype.key, key)
        if taken is not None:
            raise write_rules.name_taken(rtype, taken.object, generated=bool(prefix))
        to_store = rules.to_storage(obj)
        if write.options.dry_run:
            return write.answer(rules.from_storage(to_store), 201)
        settles = rtype.key != CLAIMS and _settles(write, obj, to_store)
        stored = self._stored(write, key, to_store, settled=settles)
        return write.answer(stored.object, 201, stored)

    # What all updates have in common

    def _update(self, write: Write, transform: Transform, *, creates: bool) -> Steps:
        known_warnings = len(write.warnings)
        while True:
            del write.warnings[known_warnings:]
            live = self._live(write.rules, write.namespace, write.name)
            if live is None:
                # Services are made even by a write of their status.
                by_status = write.rtype.create_on_update and write.options.subresource == "status"
                if not creates or (write.options.subresource and not by_status):
                    raise not_found(write.rtype, write.name)
                obj = transform(None, write.warnings)
                if not write.options.dry_run:
                    obj = write_rules.with_metadata(obj, resourceVersion=None)
                return (yield from self._create(write, obj))
            answer = yield from self._update_once(write, live, transform)
            if answer is not None:
                return answer

    def _update_once(
        self, write: Write, live: Revision, transform: Transform
    ) -> Generator[AdmissionRequest, AdmissionVerdict, Answer | None]:
        """Update an object as it is now; return None if it changed meanwhile."""
        rules, rtype, old = write.rules, write.rtype, live.object
        new = yield from self._mutated(write, "UPDATE", transform(live, write.warnings), old)
        new = write_rules.without_duplicate_owners(new, write.warnings, write_rules.AFTER_ADMISSION)
        new = write_rules.with_checked_version(rtype, new, old)
        if rtype.key == SERVICES and not write.options.subresource:
            new = self._services.updated(new, old, dry_run=write.options.dry_run)
        new = prepared_for_update(rtype, new, old, write.options.subresource)
        new = write_rules.with_old_fields(new, old)
        rules.check_update(new, old, write.options.subresource, write.warnings)
        new = write_rules.with_old_times(rtype, new, old)
        yield from self._validated(write, "UPDATE", write.name, new, old)
        store = self._state.store
        current = store.get(rtype.key, live.key)
        if current is None or current.rv != live.rv:
            return None
        if write_rules.ends_deletion(rtype, new, old):
            if not write.options.dry_run:
                store.remove(rtype.key, live.key)
            return write.answer(new, 200)
        to_store = rules.to_storage(new)
        settles = _settles(write, new, to_store)
        if write_rules.unchanged(to_store, current.object) and current.settled == settles:
            return write.answer(old, 200, live)
        if write.options.dry_run:
            return write.answer(rules.from_storage(to_store), 200)
        stored = self._stored(write, live.key, to_store, settled=settles)
        return write.answer(stored.object, 200, stored)

    def _stored(self, write: Write, key: str, to_store: Json, *, settled: bool) -> Revision:
        if len(_encode(to_store)) > _STORAGE_BYTES:
            raise ApiError(500, "", "etcdserver: request is too large")
        rules = write.rules
        return self._state.store.put(rules.storage, key, to_store, settled=settled).view(rules.rtype, rules.convert)

    def _live(self, rules: TypeRules, namespace: str, name: str) -> Revision | None:
        rtype = rules.rtype
        found = self._state.store.get(rtype.key, object_key(namespace if rtype.namespaced else "", name))
        return found.view(rtype, rules.convert) if found else None

    # Admission

    def _mutated(
        self, write: Write, operation: Operation, obj: Json, old: Json | None
    ) -> Generator[AdmissionRequest, AdmissionVerdict, Json]:
        obj = builtin_admission(self._state, write.rtype, operation, write.name, obj, write.options.subresource, old)
        if self._state.concerns(operation, write.rtype, write.options.subresource):
            verdict = yield self._question(write, "mutating", operation, write.name, obj, old)
            write.warnings.extend(verdict.warnings)
            if verdict.object is not None:
                obj = write.rules.completed(verdict.object, known=obj)
        return obj

    def _validated(
        self, write: Write, operation: Operation, name: str, obj: Json, old: Json | None
    ) -> Generator[AdmissionRequest, AdmissionVerdict, None]:
        if self._state.concerns(operation, write.rtype, write.options.subresource):
            verdict = yield self._question(write, "validating", operation, name, obj, old)
            write.warnings.extend(verdict.warnings)

    @staticmethod
    def _question(
        write: Write,
        phase: Literal["mutating", "validating"],
        operation: Operation,
        name: str,
        obj: Json,
        old: Json | None,
    ) -> AdmissionRequest:
        rtype, options = write.rtype, write.options
        described: Json = {"kind": f"{operation.capitalize()}Options", "apiVersion": "meta.k8s.io/v1"}
        if options.dry_run:
            described["dryRun"] = ["All"]
        if options.field_manager:
            described["fieldManager"] = options.field_manager
        return AdmissionRequest(
            phase=phase,
            operation=operation,
            group=rtype.group,
            version=rtype.version,
            resource=rtype.resource,
            kind=rtype.kind,
            subresource=options.subresource,
            namespace=name if rtype.key == NAMESPACES else write.namespace,
            name=name,
            object=obj,
            old_object=old,
            options=described | {"fieldValidation": options.field_validation},
            dry_run=options.dry_run,
            user=options.user,
        )


@contextmanager
def _telling(warnings: list[str]) -> Iterator[None]:
    """Let a refusal tell what the request was warned of so far."""
    try:
        yield
    except ApiError as error:
        error.warnings = tuple(warnings)
        raise


def _settles(write: Write, obj: Json, to_store: Json) -> bool:
    """Return whether an object is stored as it is read again; see `Revision.settled`."""
    if write.rtype.key == JOBS:
        return bool(to_store["metadata"].get("labels") == obj["metadata"].get("labels"))
    return not (_leaves_empties(write, obj) or write.rules.lacks_defaults(obj))


def _leaves_empties(write: Write, obj: Json) -> bool:
    """Return whether the real server stores an empty map in metadata: an apply of a custom resource brings one that far."""
    if not write.applies or not write.rtype.custom:
        return False
    metadata = obj["metadata"]
    mine = [
        entry["fieldsV1"].get("f:metadata", {})
        for entry in metadata.get("managedFields") or ()
        if entry["operation"] == "Apply" and entry.get("manager") == write.options.manager
    ]
    return any(
        owned.get(f"f:{name}") == {} and name not in metadata for owned in mine for name in ("labels", "annotations")
    )
