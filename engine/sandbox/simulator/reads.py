"""Reading: one object, pages of a list that all show the same moment, and watches from any moment the history still holds.

In: options as texts, as the query gives them. Out: revisions in the version asked for, subscriptions, and the real
server's refusals: which resourceVersions, matches and tokens go together is that of its list handler, delegator and watch
cache.
"""

from __future__ import annotations

import json
import posixpath
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from engine.sandbox.simulator.bodies import Undecodable, decode_json
from engine.sandbox.simulator.errors import ApiError, Cause, bad_request, expired, invalid, not_found
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.options import ListAnswer, ListOptions, WatchOptions
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.selectors import parse_field_selector, parse_label_selector
from engine.sandbox.simulator.store import Collection, Json, Revision, Store, object_key
from engine.sandbox.simulator.watching import Convert, Matcher, Subscription, WatchEvent, bookmark, failure

EXACT, NOT_OLDER_THAN = "Exact", "NotOlderThan"

_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 - the version of continue tokens
_LIST_EXPIRED = "The resourceVersion for the provided list is too old."
_CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the "
    "continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing "
    "with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the "
    "time the first chunk was returned and now may show up in the list."
)
_UINT64 = 2**64

_key = attrgetter("key")


class _OptionsKind:
    """What an Invalid about options says it is about."""

    group = "meta.k8s.io"
    kind = "ListOptions"


class ContinueExpired(ApiError):
    """The 410 of a continue token, with one that goes on inconsistently in its metadata."""

    def __init__(self, token: str) -> None:
        super().__init__(410, "Expired", _CONTINUE_EXPIRED)
        self._token = token

    def status(self) -> Json:
        """Return the Status object."""
        return {**super().status(), "metadata": {"continue": self._token}}


class Reads:
    """Answers reads of one store.

    Args:
        store: what is read.
        convert: makes an object of another version of its type.

    """

    def __init__(self, store: Store, convert: Convert) -> None:
        self._store = store
        self._convert = convert

    def get(self, rtype: ResourceType, namespace: str, name: str, resource_version: str = "") -> Revision:
        """Return one object.

        Raises:
            ApiError: 404; 504 for a version of the future; 500 for one that is no number, as the real server.

        """
        if resource_version:
            self._no_older_than(_parsed_version(resource_version))
        found = self._store.get(rtype.key, object_key(namespace, name))
        if found is None:
            raise not_found(rtype, name)
        return found.view(rtype, self._convert)

    def list(self, rtype: ResourceType, namespace: str, options: ListOptions) -> ListAnswer:
        """Return a page of a list; see `SimulatedCluster.list`."""
        matches = _matcher(rtype, options.label_selector, options.field_selector)
        _check_list(options)
        collection = self._store.collection(rtype.key)
        rv, start, exact = self._moment(options)
        prefix = f"{namespace}/" if namespace else ""
        items = self._at(collection, rv, start, options) if exact else collection.in_namespace(namespace)
        if start or (prefix and exact):
            begin = bisect_left(items, prefix + start, key=_key)
            end = bisect_left(items, f"{namespace}0", key=_key) if prefix else len(items)  # 0 comes after /
            items = items[begin:end]
        limit = 0 if options.resource_version == "0" and not options.continue_token else max(0, options.limit)
        return self._page(rtype, prefix, items, rv, limit, matches)

    def watch(
        self,
        rtype: ResourceType,
        namespace: str,
        options: WatchOptions,
        on_change: Callable[[], None] | None,
    ) -> Subscription:
        """Start a watch; see `SimulatedCluster.watch`."""
        matches = _matcher(rtype, options.label_selector, options.field_selector)
        send_initial, version = _check_watch(options)
        rv = _parsed_version(version)
        collection = self._store.collection(rtype.key)
        problem = self._watch_problem(collection, rv, send_initial=send_initial)
        if rv == 0 or send_initial:
            position, after = collection.end, self._store.rv
        else:
            position, after = collection.position(rv), rv
        subscription = Subscription(
            collection,
            rtype,
            after=after,
            position=position,
            convert=self._convert,
            namespace=namespace,
            matches=matches,
            on_change=None if problem else on_change,
        )
        if problem:
            subscription.initial.append(failure(problem))
            subscription.close()
        elif send_initial:
            views = [one.view(rtype, self._convert) for one in collection.in_namespace(namespace)]
            subscription.initial.extend(
                WatchEvent("ADDED", one.object, one) for one in views if matches is None or matches(one.object)
            )
            if options.allow_bookmarks:
                subscription.initial.append(bookmark(rtype, self._store.rv, initial_events_end=True))
        return subscription

    def _watch_problem(self, collection: Collection, rv: int, *, send_initial: bool) -> ApiError | None:
        """Return what a stream that has begun has to say instead of events."""
        if send_initial:
            return None if rv <= self._store.rv else self._too_large(rv)
        if 0 < rv < collection.watch_floor:
            return expired(f"too old resource version: {rv} ({collection.watch_floor})")
        return None

    def _moment(self, options: ListOptions) -> tuple[int, str, bool]:
        """Return which moment a list shows, the key at which it starts, and whether it must be exactly that moment."""
        if options.continue_token:
            rv, start = _decoded_token(options.continue_token)
            if options.resource_version not in {"", "0"}:
                raise bad_request("specifying resource version is not allowed when using continue")
            if rv < 0:
                return self._store.rv, start, False
            self._no_older_than(rv)
            return rv, start, True
        if not options.resource_version:
            return self._store.rv, "", False
        try:
            rv = _parsed_version(options.resource_version)
        except ApiError as error:
            raise bad_request(f"invalid resource version: {error.message}") from error
        self._no_older_than(rv)
        match = options.resource_version_match
        if match == EXACT or (not match and options.limit > 0 and rv > 0):
            return rv, "", True
        return self._store.rv, "", False

    def _at(self, collection: Collection, rv: int, start: str, options: ListOptions) -> Sequence[Revision]:
        items = collection.at(rv)
        if items is not None:
            return items
        if options.continue_token:
            raise ContinueExpired(_encoded_token(-1, start))
        raise expired(_LIST_EXPIRED)

    def _page(
        self,
        rtype: ResourceType,
        prefix: str,
        items: Sequence[Revision],
        rv: int,
        limit: int,
        matches: Matcher | None,
    ) -> ListAnswer:
        version = str(rv)
        if matches is None and (not limit or len(items) <= limit):
            return ListAnswer([one.view(rtype, self._convert) for one in items], version)
        selected: list[Revision] = []
        for index, one in enumerate(items):
            view = one.view(rtype, self._convert)
            if matches is None or matches(view.object):
                selected.append(view)
                if limit and len(selected) >= limit and index < len(items) - 1:
                    token = _encoded_token(rv, f"/{one.key.removeprefix(prefix)}\0")
                    remaining = len(items) - limit if matches is None else None
                    return ListAnswer(selected, version, token, remaining)
        return ListAnswer(selected, version)

    def _no_older_than(self, rv: int) -> None:
        if rv > self._store.rv:
            raise self._too_large(rv)

    def _too_large(self, rv: int) -> ApiError:
        cause = Cause("ResourceVersionTooLarge", "Too large resource version")
        message = f"Timeout: Too large resource version: {rv}, current: {self._store.rv}"
        return ApiError(504, "Timeout", message, {"causes": [cause.as_json()], "retryAfterSeconds": 1})


def _matcher(rtype: ResourceType, labels: str, fields: str) -> Matcher | None:
    """Return what selectors ask of an object; None: nothing."""
    label_selector = parse_label_selector(labels)
    field_selector = parse_field_selector(fields, rtype)
    if not field_selector.terms:
        if not label_selector.requirements:
            return None
        return lambda obj: label_selector.matches(obj["metadata"].get("labels"))
    return lambda obj: label_selector.matches(obj["metadata"].get("labels")) and field_selector.matches(obj)


def _check_list(options: ListOptions) -> None:
    match, causes = options.resource_version_match, []
    if match:
        if not options.resource_version:
            causes.append("resourceVersionMatch is forbidden unless resourceVersion is provided")
        if options.continue_token:
            causes.append("resourceVersionMatch is forbidden when continue is provided")
        if match == EXACT and options.resource_version == "0":
            causes.append('resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
    unknown = [_unsupported(match, (EXACT, NOT_OLDER_THAN, ""))] if match not in {"", EXACT, NOT_OLDER_THAN} else []
    _refuse([*(_forbidden(one) for one in causes), *unknown])


def _check_watch(options: WatchOptions) -> tuple[bool, str]:
    """Return whether to send the current objects, and from which version on to watch."""
    send, match, version = options.send_initial_events, options.resource_version_match, options.resource_version
    if send is None and not match and version in {"", "0"}:  # what such watches have always done, spelled out
        send, match = True, NOT_OLDER_THAN
    causes = []
    if send is not None and match != NOT_OLDER_THAN:
        causes.append(_forbidden(f"sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER_THAN}"))
    if match and send is None:
        causes.append(_forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
    if match not in {"", NOT_OLDER_THAN}:
        causes.append(_unsupported(match, (NOT_OLDER_THAN,)))
    if match and options.continue_token:
        causes.append(_forbidden("resourceVersionMatch is forbidden when continue is provided"))
    _refuse(causes)
    return bool(send), version


def _forbidden(why: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {why}", "resourceVersionMatch")


def _unsupported(value: str, supported: Sequence[str]) -> Cause:
    values = ", ".join(quoted(one) for one in supported)
    message = f"Unsupported value: {quoted(value)}: supported values: {values}"
    return Cause("FieldValueNotSupported", message, "resourceVersionMatch")


def _refuse(causes: Sequence[Cause]) -> None:
    if causes:
        raise invalid(_OptionsKind, "", causes)


def _parsed_version(text: str) -> int:
    if text in {"", "0"}:
        return 0
    if not (text.isascii() and text.isdigit()):
        why = "invalid syntax"
    elif int(text) >= _UINT64:
        why = "value out of range"
    else:
        return int(text)
    message = f"resourceVersion: Invalid value: {quoted(text)}: strconv.ParseUint: parsing {quoted(text)}: {why}"
    raise ApiError(500, "", message)


def _encoded_token(rv: int, start: str) -> str:
    text = json.dumps({"v": _TOKEN_VERSION, "rv": rv, "start": start}, separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded_token(token: str) -> tuple[int, str]:
    """Return the version and the start of a continue token; the start has no slash before it."""
    fields = _token_fields(token)
    version, rv, start = fields.get("v", ""), fields.get("rv", 0), fields.get("start", "")
    if version != _TOKEN_VERSION:
        raise _bad_token(f": server does not recognize this encoded version {version}")
    if rv == 0:
        raise _bad_token(f": incorrect encoded start resourceVersion (version {_TOKEN_VERSION})")
    if not start:
        raise _bad_token(f": encoded start key empty (version {_TOKEN_VERSION})")
    key = start if start.startswith("/") else f"/{start}"
    if posixpath.normpath(key) != key:
        raise _bad_token(f": {start}")
    return rv, key[1:]


def _token_fields(token: str) -> dict[str, Any]:
    wrong = next(
        (index for index, one in enumerate(token) if not (one.isascii() and (one.isalnum() or one in "-_"))), None
    )
    if wrong is None and len(token) % 4 == 1:
        wrong = len(token) - 1
    try:
        data = urlsafe_b64decode(token + "=" * (-len(token) % 4)) if wrong is None else b""
        # Go speaks of bytes that are no UTF-8 as of characters of Latin-1.
        fields = decode_json((data or b"{}").decode("latin-1").encode(), find_duplicates=False).value
    except (Base64Error, Undecodable) as error:
        raise _bad_token(f": {error}") from error
    if wrong is not None:
        raise _bad_token(f": illegal base64 data at input byte {wrong}")
    if not isinstance(fields, dict):
        kind = "array" if isinstance(fields, list) else "string" if isinstance(fields, str) else "number"
        raise _bad_token(f": json: cannot unmarshal {kind} into Go value of type storage.continueToken")
    return fields


def _bad_token(why: str) -> ApiError:
    return bad_request(f"invalid continue token: continue key is not valid{why}")
