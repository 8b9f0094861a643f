"""Requests that no server takes, for each way there is to get one wrong."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.api_session import APPLY, JSON, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from tests.differential.kinds import Kind
from tests.differential.operations import Operation

BAD_TEXTS = ("", "{", "[]", '"x"', "null", "{}", "not json", '{"a":1}{"b":2}', '{"metadata":3}', '{"apiVersion":"v1"}')
BAD_LIST_QUERIES: tuple[dict[str, str], ...] = (
    {"labelSelector": "a in ("},
    {"labelSelector": "a=b c"},
    {"labelSelector": "=x"},
    {"labelSelector": "a!x"},
    {"labelSelector": "-a=x"},
    {"labelSelector": "a=b!"},
    {"fieldSelector": "nonsense"},
    {"fieldSelector": "spec.nothing=1"},
    {"limit": "many"},
    {"limit": "-1"},
    {"continue": "nonsense"},
    {"resourceVersion": "nonsense"},
    {"resourceVersionMatch": "Exact"},
    {"resourceVersion": "1", "resourceVersionMatch": "Sometimes"},
    {"resourceVersion": "0", "resourceVersionMatch": "Exact"},
    {"timeoutSeconds": "soon"},
    {"sendInitialEvents": "true"},
    {"watch": "true", "resourceVersion": "nonsense"},
    {"watch": "true", "labelSelector": "a in ("},
    {"watch": "true", "fieldSelector": "spec.nothing=1"},
    {"watch": "true", "sendInitialEvents": "true"},
    {"watch": "true", "resourceVersionMatch": "NotOlderThan"},
)
BAD_PATCHES: tuple[tuple[str, Any], ...] = (
    (JSON_PATCH, {}),
    (JSON_PATCH, [{"op": "add"}]),
    (JSON_PATCH, [{"op": "remove", "path": "/nothing/here"}]),
    (JSON_PATCH, [{"op": "test", "path": "/metadata/name", "value": "other"}]),
    (JSON_PATCH, [{"op": "replace", "path": "/metadata/name", "value": "other"}]),
    (JSON_PATCH, [{"op": "replace", "path": "/kind", "value": "Other"}]),
    (JSON_PATCH, "x"),
    (MERGE_PATCH, []),
    (MERGE_PATCH, "x"),
    (MERGE_PATCH, {"metadata": {"name": "other"}}),
    (MERGE_PATCH, {"metadata": {"namespace": "other"}}),
    (MERGE_PATCH, {"metadata": {"uid": "44444444-4444-4444-8444-444444444444"}}),
    (MERGE_PATCH, {"metadata": {"labels": "x"}}),
    (MERGE_PATCH, {"metadata": {"labels": {"a": 1}}}),
    (MERGE_PATCH, {"metadata": {"creationTimestamp": None, "generation": 99, "selfLink": "/x"}}),
    (MERGE_PATCH, {"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}),
    (MERGE_PATCH, {"kind": "Other"}),
    (MERGE_PATCH, {"apiVersion": "other/v1"}),
    (STRATEGIC_PATCH, {"metadata": {"labels": {"$patch": "sideways"}}}),
    (STRATEGIC_PATCH, []),
    (APPLY, {"metadata": {"name": "a"}}),
    (APPLY, []),
    (JSON, {}),
    ("text/plain", {}),
)


def bad_request(rng: random.Random, kind: Kind, name: str) -> Operation:
    """Return one of them, about this type and maybe this object."""
    one = f"{kind.collection}/{name}"
    bodies: Any = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, **kind.required}
    patch_type, patch = rng.choice(BAD_PATCHES)
    other = rng.choice(
        ({"kind": "Other"}, {"apiVersion": "v9"}, {"apiVersion": "other/v1"}, {"kind": ""}, {"apiVersion": ""})
    )
    choices = (
        lambda: Operation("POST", kind.collection, raw=rng.choice(BAD_TEXTS)),
        lambda: Operation("PUT", one, raw=rng.choice(BAD_TEXTS)),
        lambda: Operation("POST", kind.collection, bodies, content_type=rng.choice(("text/plain", "application/xml"))),
        lambda: Operation("POST", kind.collection, {**bodies, **other}),
        lambda: Operation("PUT", one, {**bodies, "metadata": {"name": "other"}}),
        lambda: Operation("PUT", one, {**bodies, "metadata": {"name": name, "namespace": "elsewhere"}}),
        lambda: Operation(
            "POST",
            kind.collection,
            {**bodies, "metadata": rng.choice(({}, {"name": "UPPER_case"}, {"name": "x" * 254}, {"name": 3}))},
        ),
        lambda: Operation("POST", kind.collection, bodies, query={"dryRun": "Some"}),
        lambda: Operation("POST", kind.collection, bodies, query={"fieldValidation": "Maybe"}),
        lambda: Operation("POST", kind.collection, bodies, query={"fieldManager": "x" * 129}),
        lambda: Operation(
            "POST", kind.collection, raw=_twice(bodies), query={"fieldValidation": rng.choice(("Strict", "Warn"))}
        ),
        lambda: Operation("GET", kind.collection, query=rng.choice(BAD_LIST_QUERIES)),
        lambda: Operation("PATCH", one, patch, content_type=patch_type, query={"fieldManager": "bad"}),
        lambda: Operation(
            "PATCH",
            one,
            raw=rng.choice(BAD_TEXTS),
            content_type=rng.choice((MERGE_PATCH, JSON_PATCH, APPLY)),
            query={"fieldManager": "bad"},
        ),
        lambda: Operation("PATCH", one, {}, content_type=APPLY),
        lambda: Operation("PATCH", one, {}, content_type=MERGE_PATCH, query={"force": "true"}),
        lambda: Operation("GET", f"{one}/nothing"),
        lambda: Operation("GET", kind.collection.replace(kind.plural, "nothings")),
        lambda: Operation("GET", one, accept="application/xml"),
        lambda: Operation("POST", one, bodies),
        lambda: Operation("PUT", kind.collection, bodies),
        lambda: Operation(
            "DELETE", one, raw=rng.choice(("{", '{"kind":"Other","apiVersion":"v1"}', '{"preconditions":3}'))
        ),
    )
    return rng.choice(choices)()


def _twice(body: Any) -> str:
    """Return a body as text in which a key comes twice."""
    return json.dumps(body)[:-1] + f', "kind": "{body["kind"]}"}}'
