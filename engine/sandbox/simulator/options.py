"""What a request asks of a simulated cluster, beside the object itself, and what it gets back: plain values.

The HTTP layer makes the options from queries and bodies, `cluster` reads them, and answers go the other way. Nothing here
knows HTTP or the store's insides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from engine.sandbox.simulator.store import Json, Revision

FieldValidation = Literal["Strict", "Warn", "Ignore"]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, as admission sees it.

    Attributes:
        name: such as `system:serviceaccount:default:robot`.
        uid: empty: none.
        groups: such as `system:masters`.
        extra: further attributes from the authenticator.

    """

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


ADMINISTRATOR = User("sandbox-admin", groups=("system:masters", "system:authenticated"))
"""Who asks when nobody is named: tests and the cluster's own start."""


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Options of create, replace, patch and apply.

    Attributes:
        dry_run: answer as if, but store nothing.
        field_manager: as given; empty: derived from the user agent, except for apply, which wants one.
        user_agent: the User-Agent header; its part before the first slash names the field manager if none is given.
        field_validation: what to do with unknown and duplicate fields.
        duplicate_fields: paths of fields that the body gives twice, such as `spec.replicas`; only who parses JSON sees them.
        body: as sent, for messages that quote it; empty: they quote the body's value.
        force: apply only: take fields from other managers.
        subresource: such as status or scale; empty: the object itself.
        user: who asks.

    """

    dry_run: bool = False
    field_manager: str = ""
    user_agent: str = ""
    field_validation: FieldValidation = "Warn"
    duplicate_fields: tuple[str, ...] = ()
    body: bytes = b""
    force: bool = False
    subresource: str = ""
    user: User = ADMINISTRATOR

    @property
    def manager(self) -> str:
        """The field manager that the change is attributed to."""
        return self.field_manager or self.user_agent.partition("/")[0][:128] or "unknown"


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """Options of delete and delete_collection; None: not given.

    Attributes:
        uid: precondition.
        resource_version: precondition.
        propagation_policy: Orphan, Background or Foreground.
        orphan_dependents: the old form of the policy.
        grace_period_seconds: for types that are deleted gracefully.
        dry_run: answer as if, but store nothing.
        user: who asks.

    """

    uid: str | None = None
    resource_version: str | None = None
    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    grace_period_seconds: int | None = None
    dry_run: bool = False
    user: User = ADMINISTRATOR


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Options of list, and of the selection of delete_collection; texts as in the query.

    Attributes:
        limit: most items of the answer; 0: no limit.
        continue_token: from the answer before.
        resource_version: empty, 0 or a version.
        resource_version_match: empty, Exact or NotOlderThan.
        label_selector: empty: all.
        field_selector: empty: all.

    """

    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    label_selector: str = ""
    field_selector: str = ""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Options of watch; texts as in the query. How long the watch lasts and when bookmarks come is the caller's affair.

    Attributes:
        resource_version: empty, 0 or a version.
        resource_version_match: empty or NotOlderThan.
        label_selector: empty: all.
        field_selector: empty: all.
        allow_bookmarks: whether the client understands bookmarks.
        continue_token: not for watches, and refused.
        send_initial_events: WatchList: True: the current objects and a bookmark first; None: not given.

    """

    resource_version: str = ""
    resource_version_match: str = ""
    label_selector: str = ""
    field_selector: str = ""
    allow_bookmarks: bool = False
    continue_token: str = ""
    send_initial_events: bool | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one object's request is answered.

    Attributes:
        object: the object (or a Scale, or a Status after a delete); shared with the store: do not change it.
        code: HTTP status: 200, 201 created, 202 accepted.
        warnings: texts for Warning headers.
        revision: the stored state that `object` is; None: it is not stored (dry run, Scale, Status).

    """

    object: Json
    code: int = 200
    warnings: tuple[str, ...] = ()
    revision: Revision | None = None

    def encoded(self) -> bytes:
        """Return the object's JSON; that of a stored one is made once for all readers."""
        return self.revision.encoded if self.revision else _encode(self.object)


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """One page of a list.

    Attributes:
        items: in the order of their keys, in the version asked for.
        resource_version: of the snapshot that all pages show.
        continue_token: for the next page; empty: this is the last.
        remaining: how many follow this page; None: unknown, as with selectors.

    """

    items: Sequence[Revision]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """What the pipeline asks admission webhooks while it writes or deletes.

    Attributes:
        phase: mutating ones may change `object`, validating ones only refuse.
        operation: CREATE, UPDATE, DELETE or CONNECT.
        group: of the request.
        version: of the request.
        resource: of the request.
        kind: of the object.
        subresource: empty: the object itself.
        namespace: empty: cluster-scoped.
        name: may be empty with generateName.
        object: new state; None: a delete.
        old_object: state before; None: a create.
        options: the CreateOptions, UpdateOptions, PatchOptions or DeleteOptions, as JSON.
        dry_run: webhooks with side effects must not be called.
        user: who asks.

    """

    phase: Literal["mutating", "validating"]
    operation: Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
    group: str
    version: str
    resource: str
    kind: str
    subresource: str
    namespace: str
    name: str
    object: Json | None
    old_object: Json | None
    options: Json
    dry_run: bool
    user: User


@dataclass(frozen=True, slots=True)
class AdmissionVerdict:
    """What admission answers if it does not refuse; it refuses by raising `ApiError`.

    Attributes:
        object: the object as the webhooks left it; None: unchanged.
        warnings: texts for Warning headers.

    """

    object: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
