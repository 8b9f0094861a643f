"""Options of a request, from its query or the body of a delete, checked as the real server checks them.

In: decoded parameters and bodies. Out: the values of `options`, or the 400 and 422 that the real server answers.
Selectors and resourceVersions stay text: what they mean depends on what is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from engine.sandbox.simulator import errors
from engine.sandbox.simulator.bodies import go_type
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.options import (
    DeleteOptions,
    FieldValidation,
    ListOptions,
    User,
    WatchOptions,
    WriteOptions,
)
from engine.sandbox.simulator.request_info import Query, is_true

_POLICIES: Final = ("Foreground", "Background", "Orphan")
_FIELD_VALIDATIONS: Final[dict[str, FieldValidation]] = {
    "": "Warn",  # the server's default
    "Ignore": "Ignore",
    "Strict": "Strict",
    "Warn": "Warn",
}
_MANAGER_BYTES: Final = 128
_INT64: Final = 2**63


class _OptionsKind(NamedTuple):
    kind: str
    group: str = "meta.k8s.io"


def write_options(
    kind: str,
    query: Query,
    *,
    user: User,
    user_agent: str,
    subresource: str,
    duplicates: tuple[str, ...] = (),
    body: bytes = b"",
    is_apply: bool = False,
) -> WriteOptions:
    """Return the options of a create, update, patch or apply.

    Args:
        kind: CreateOptions, UpdateOptions or PatchOptions, for messages.
        query: decoded parameters.
        user: who asks.
        user_agent: names the field manager when none is given.
        subresource: empty: the object itself.
        duplicates: paths of fields that the body gives twice.
        body: as sent.
        is_apply: whether it is a server-side apply, which alone may force and must name its manager.

    Raises:
        ApiError: 422 for what is not allowed.

    """
    manager = _first(query, "fieldManager")
    causes = []
    if kind == "PatchOptions":
        if is_apply and not manager:
            causes.append(Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager"))
        if not is_apply and "force" in query:
            message = "Forbidden: may not be specified for non-apply patch"
            causes.append(Cause("FieldValueForbidden", message, "force"))
    causes += _manager_causes(manager)
    dry_run, dry_run_causes = _dry_run(query.get("dryRun", ()))
    causes += dry_run_causes
    validation = _first(query, "fieldValidation")
    if validation not in _FIELD_VALIDATIONS:
        allowed = ", ".join(quoted(one) for one in _FIELD_VALIDATIONS)
        message = f"Unsupported value: {quoted(validation)}: supported values: {allowed}"
        causes.append(Cause("FieldValueNotSupported", message, "fieldValidation"))
    _refuse(kind, causes)
    return WriteOptions(
        dry_run=dry_run,
        field_manager=manager,
        user_agent=user_agent,
        field_validation=_FIELD_VALIDATIONS[validation],
        duplicate_fields=duplicates,
        body=body,
        force=is_apply and is_true(query, "force"),
        subresource=subresource,
        user=user,
    )


def list_options(query: Query) -> ListOptions:
    """Return the options of a list.

    Raises:
        ApiError: 400 for a number that is none, 422 for options of watches.

    """
    _integer(query, "timeoutSeconds")
    if "sendInitialEvents" in query:
        message = "Forbidden: sendInitialEvents is forbidden for list"
        _refuse("ListOptions", [Cause("FieldValueForbidden", message, "sendInitialEvents")])
    return ListOptions(
        limit=_integer(query, "limit") or 0,
        continue_token=_first(query, "continue"),
        resource_version=_first(query, "resourceVersion"),
        resource_version_match=_first(query, "resourceVersionMatch"),
        label_selector=_first(query, "labelSelector"),
        field_selector=_first(query, "fieldSelector"),
    )


def watch_options(query: Query) -> WatchOptions:
    """Return the options of a watch, except how long it lasts."""
    return WatchOptions(
        resource_version=_first(query, "resourceVersion"),
        resource_version_match=_first(query, "resourceVersionMatch"),
        label_selector=_first(query, "labelSelector"),
        field_selector=_first(query, "fieldSelector"),
        allow_bookmarks=is_true(query, "allowWatchBookmarks"),
        continue_token=_first(query, "continue"),
        send_initial_events=is_true(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
    )


def watch_seconds(query: Query) -> int | None:
    """Return for how long a watch is wanted, None when that is left to the server.

    Raises:
        ApiError: 400 for a number that is none.

    """
    _integer(query, "limit")
    return _integer(query, "timeoutSeconds") or None


def delete_options_of_query(query: Query, *, user: User) -> DeleteOptions:
    """Return the options of a delete without a body.

    Raises:
        ApiError: 400 for a number that is none, 422 for what is not allowed.

    """
    return _delete_options(
        policy=_optional(query, "propagationPolicy"),
        orphan=is_true(query, "orphanDependents") if "orphanDependents" in query else None,
        grace=_integer(query, "gracePeriodSeconds"),
        dry_run=query.get("dryRun", ()),
        preconditions={},
        user=user,
    )


def delete_options_of_body(body: Any, *, user: User) -> DeleteOptions:
    """Return the options of a delete with a body, beside which the query does not count.

    Raises:
        ApiError: 400 for a body that is no DeleteOptions, 422 for what is not allowed.

    """
    if body is None:
        body = {}
    if not isinstance(body, dict):
        raise errors.bad_request(f"couldn't get version/kind; json parse error: a {type(body).__name__} is no object")
    kind, version = body.get("kind") or "DeleteOptions", body.get("apiVersion") or "v1"
    if kind != "DeleteOptions":
        where = quoted(version)
        raise errors.bad_request(
            f'no kind {quoted(kind)} is registered for version {where} in scheme "pkg/runtime/scheme.go:111"'
        )
    fields: dict[str, tuple[type, str]] = {
        "propagationPolicy": (str, "string"),
        "orphanDependents": (bool, "bool"),
        "gracePeriodSeconds": (int, "int64"),
        "dryRun": (list, "[]string"),
        "preconditions": (dict, "v1.Preconditions"),
    }
    for name, (python, go) in fields.items():
        if body.get(name) is not None and not isinstance(body[name], python):
            what = go_type(body[name])
            raise errors.bad_request(
                f"json: cannot unmarshal {what} into Go struct field DeleteOptions.{name} of type {go}"
            )
    return _delete_options(
        policy=body.get("propagationPolicy"),
        orphan=body.get("orphanDependents"),
        grace=body.get("gracePeriodSeconds"),
        dry_run=body.get("dryRun") or (),
        preconditions=body.get("preconditions") or {},
        user=user,
    )


def _delete_options(
    *,
    policy: str | None,
    orphan: bool | None,
    grace: int | None,
    dry_run: Sequence[str],
    preconditions: dict[str, Any],
    user: User,
) -> DeleteOptions:
    causes = []
    if policy is not None and orphan is not None:
        message = f"Invalid value: {quoted(policy)}: orphanDependents and deletionPropagation cannot be both set"
        causes.append(Cause("FieldValueInvalid", message, "propagationPolicy"))
    if policy is not None and policy not in _POLICIES:
        allowed = ", ".join(quoted(one) for one in (*_POLICIES, "nil"))
        message = f"Unsupported value: {quoted(policy)}: supported values: {allowed}"
        causes.append(Cause("FieldValueNotSupported", message, "propagationPolicy"))
    is_dry_run, dry_run_causes = _dry_run(dry_run)
    _refuse("DeleteOptions", [*causes, *dry_run_causes])
    return DeleteOptions(
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        propagation_policy=policy,
        orphan_dependents=orphan,
        grace_period_seconds=grace,
        dry_run=is_dry_run,
        user=user,
    )


def _manager_causes(manager: str) -> list[Cause]:
    causes = []
    if len(manager.encode()) > _MANAGER_BYTES:
        message = f"Too long: may not be more than {_MANAGER_BYTES} bytes"
        causes.append(Cause("FieldValueTooLong", message, "fieldManager"))
    if not manager.isprintable():
        message = f"Invalid value: {quoted(manager)}: should only contain printable characters"
        causes.append(Cause("FieldValueInvalid", message, "fieldManager"))
    return causes


def _dry_run(values: Sequence[str]) -> tuple[bool, list[Cause]]:
    if not values:
        return False, []
    if any(value != "All" for value in values):
        shown = "[" + ",".join(quoted(value) for value in values) + "]"
        message = f'Unsupported value: {shown}: supported values: "All"'
        return False, [Cause("FieldValueNotSupported", message, "dryRun")]
    return True, []


def _refuse(kind: str, causes: Sequence[Cause]) -> None:
    if causes:
        raise errors.invalid(_OptionsKind(kind), "", causes)


def _first(query: Query, name: str) -> str:
    values = query.get(name)
    return values[0] if values else ""


def _optional(query: Query, name: str) -> str | None:
    values = query.get(name)
    return values[0] if values else None


def _integer(query: Query, name: str) -> int | None:
    text = _first(query, name)
    if not text:
        return None
    try:
        value = _parsed(text)
    except ValueError:
        raise errors.bad_request(f"strconv.ParseInt: parsing {quoted(text)}: invalid syntax") from None
    if not -_INT64 <= value < _INT64:
        raise errors.bad_request(f"strconv.ParseInt: parsing {quoted(text)}: value out of range")
    return value


def _parsed(text: str) -> int:
    if not text.lstrip("+-").isascii() or not text.lstrip("+-").isdigit():
        raise ValueError(text)
    return int(text)
