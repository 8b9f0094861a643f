"""Drift: does a live object satisfy what a reconciler wants of it? Pure, and without the object's schema.

Values alone cannot answer: a field that the reconciler no longer mentions would stay for ever. So an object satisfies an
intent only if every wanted value is there *and* our field manager owns exactly the fields that it owned right after that
very intent was accepted (DESIGN §7). The second half is a hash that the watcher took of the manager's fieldsV1.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from schemas.actions import Json

_encoder = msgspec.json.Encoder(order="deterministic")


def digest(value: object) -> str:
    """Return a short stable hash of any JSON-like value, independent of key order."""
    return blake2b(_encoder.encode(value), digest_size=12).hexdigest()


def satisfies(live: Any, wanted: Any) -> bool:
    """Return whether every value of `wanted` is in `live`.

    Objects may hold more keys and lists more items than wanted: defaults of the server, and what other managers add.
    Items of a list are found anywhere in it, since associative lists are merged by key. That an atomic list was
    reordered or grown shows in the ownership of its field, not here.
    """
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            value is None or (key in live and satisfies(live[key], value)) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(live, list) and all(any(satisfies(item, one) for item in live) for one in wanted)
    return bool(live == wanted) and isinstance(live, bool) == isinstance(wanted, bool)


def projection(live: Any, wanted: Any) -> Any:
    """Return the part of `live` at the places that `wanted` mentions; lists are taken whole.

    Its hash recognises a value that the server stores in another form than it was sent (`1000m` as `1`).
    """
    if isinstance(wanted, dict) and isinstance(live, dict):
        return {key: projection(live[key], value) for key, value in wanted.items() if key in live}
    return live


def merged(live: Any, patch: Any) -> Any:
    """Return `live` after a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result: Json = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
