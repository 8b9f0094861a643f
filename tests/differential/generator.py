"""A seed in, a script out: a few types, few names, many verbs, so that most requests meet what earlier ones left."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.api_session import APPLY, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from tests.differential.bad_requests import bad_request
from tests.differential.kinds import Json, Kind
from tests.differential.operations import SEEN, Operation, Script
from tests.differential.plain_kinds import PLAIN_KINDS
from tests.differential.widgets import WIDGET
from tests.differential.workloads import WORKLOADS

KINDS = (*PLAIN_KINDS, *WORKLOADS, WIDGET)

UPDATERS = ("m1", "m2")
APPLIERS = ("a1", "a2", "a3")
FINALIZERS = ("example.com/one", "example.com/two")
LABELS: tuple[Any, ...] = ({"app": "x"}, {"app": "y", "tier": "z"}, {"app": "x", "tier": "w"}, {})
ANNOTATIONS: tuple[Any, ...] = ({"note": "1"}, {"note": "2", "more": "x"}, {})
LABEL_SELECTORS = ("app=x", "app!=x", "app in (x,y),tier", "!tier", "tier notin (z)", "app==y", "app,tier=w")
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
SENTINEL = "zz-end"

OPERATIONS_PER_SCRIPT = 30


def script(seed: int, *, operations: int = OPERATIONS_PER_SCRIPT) -> Script:
    """Return the script of a seed."""
    return _Writer(random.Random(seed), f"d{seed}").script(operations)


class _Writer:
    def __init__(self, rng: random.Random, namespace: str) -> None:
        self._rng = rng
        self._namespace = namespace
        count = rng.choice((1, 1, 2, 2, 3))
        self._kinds = list(
            {kind.plural: kind for kind in rng.choices(KINDS, [k.weight for k in KINDS], k=count)}.values()
        )
        self._generated: set[str] = set()
        """Types of which an object with a generated name exists: one each, so that lists have one order."""

    def script(self, operations: int) -> Script:
        kinds = [(kind, self._watches(kind)) for kind in self._kinds]
        done = [self._create(kind, kind.names[0], self._body(kind)) for kind in self._kinds]
        while len(done) < operations:
            done += self._next()
        return Script(
            self._namespace,
            tuple(done[:operations]),
            tuple((kind.collection, query) for kind, queries in kinds for query in queries),
            tuple(kind.collection for kind in self._kinds),
            tuple(self._sentinel(kind) for kind in self._kinds),
        )

    # what is watched

    def _watches(self, kind: Kind) -> list[dict[str, str]]:
        if not kind.namespaced:
            return [{"labelSelector": "script={ns}"}]
        narrow = [
            {"labelSelector": "app=x"},
            {"labelSelector": "app in (x,y),!gone"},
            {"fieldSelector": "metadata.name!=b"},
        ]
        narrow += [{"fieldSelector": one} for one in kind.field_selectors]
        return [{}, self._rng.choice(narrow)]

    def _sentinel(self, kind: Kind) -> Operation:
        name = SENTINEL if kind.namespaced else f"{{ns}}-{SENTINEL}"
        body = self._named(kind, name, dict(kind.required))
        body["metadata"]["labels"] = {"app": "x", "script": "{ns}"}
        return Operation("POST", kind.collection, body, query={"fieldManager": "end"})

    # one step

    def _next(self) -> list[Operation]:
        kind = self._rng.choice(self._kinds)
        name = self._rng.choice(kind.names)
        steps: list[tuple[int, Callable[[Kind, str], Operation | list[Operation]]]] = [
            (12, self._any_create),
            (10, self._replace),
            (10, self._merge_patch),
            (8, self._json_patch),
            (8, self._strategic_patch),
            (18, self._apply),
            (5, self._labels),
            (4, self._finalizers),
            (10, self._delete),
            (2, self._delete_collection),
            (6, self._get),
            (7, self._list),
            (6, self._bad),
        ]
        if kind.status:
            steps.append((8, self._status))
        if kind.scale:
            steps.append((6, self._scale))
        weights, choices = zip(*steps, strict=True)
        made = self._rng.choices(choices, weights)[0](kind, name)
        return made if isinstance(made, list) else [made]

    def _any_create(self, kind: Kind, name: str) -> Operation:
        body = self._body(kind)
        metadata: Json = {}
        roll = self._rng.random()
        if roll < 0.15:
            _put(body, *self._pick(kind.refused or kind.fields))
        elif roll < 0.22 and kind.namespaced and kind.plural not in self._generated:
            self._generated.add(kind.plural)
            return Operation("POST", kind.collection, self._generate(kind, body), query={"fieldManager": "m1"})
        elif roll < 0.30:
            metadata = self._rng.choice(
                (
                    {"resourceVersion": "5"},
                    {"uid": "11111111-1111-4111-8111-111111111111", "creationTimestamp": "2020-01-01T00:00:00Z"},
                    {"generation": 7, "deletionTimestamp": "2020-01-01T00:00:00Z", "selfLink": "/x"},
                    {"namespace": "elsewhere"},
                    {"finalizers": ["nodomain"]},
                    {"labels": {"bad key": "x"}},
                    {"labels": {"a": "bad value!"}},
                    {"annotations": {"bad key": "x"}},
                    {
                        "managedFields": [
                            {
                                "manager": "x",
                                "operation": "Update",
                                "apiVersion": "v1",
                                "fieldsType": "FieldsV1",
                                "fieldsV1": {"f:data": {}},
                            }
                        ]
                    },
                )
            )
        elif roll < 0.36 and kind.status:
            for path, value in self._some(kind.status, 2):
                _put(body, path, value)
        made = self._create(kind, name, body)
        made.body["metadata"].update(metadata)
        query = dict(made.query)
        roll = self._rng.random()
        if roll < 0.1:
            query["dryRun"] = "All"
        elif roll < 0.25:
            _put(
                made.body,
                self._rng.choice(("nope", "metadata.nope", "spec.nope", "data.nope.x")),
                self._rng.choice(("x", {"y": 1})),
            )
            query["fieldValidation"] = self._rng.choice(("Strict", "Warn", "Ignore"))
        return Operation("POST", kind.collection, made.body, query=query)

    def _create(self, kind: Kind, name: str, body: Json) -> Operation:
        named = self._named(kind, name, body)
        if not kind.namespaced:
            named["metadata"]["labels"] = {**named["metadata"].get("labels", {}), "script": "{ns}"}
        return Operation("POST", kind.collection, named, query={"fieldManager": self._rng.choice(UPDATERS)})

    def _generate(self, kind: Kind, body: Json) -> Json:
        made = self._named(kind, "", body)
        del made["metadata"]["name"]
        made["metadata"]["generateName"] = "zy-"
        return made

    def _replace(self, kind: Kind, name: str) -> Operation:
        changes: Json = {SEEN: f"{kind.plural}/{name}", "apiVersion": kind.api_version, "kind": kind.kind}
        self._change(kind, changes)
        metadata = changes.setdefault("metadata", {})
        roll = self._rng.random()
        if roll < 0.12:
            metadata["resourceVersion"] = f"@stale {kind.plural}/{name}"
        elif roll < 0.3:
            metadata["resourceVersion"] = None
        elif roll < 0.36:
            metadata["uid"] = "22222222-2222-4222-8222-222222222222"
        elif roll < 0.42:
            metadata["managedFields"] = self._rng.choice(([], [{}], None))
        return Operation("PUT", f"{kind.collection}/{name}", changes, query=self._update_query())

    def _merge_patch(self, kind: Kind, name: str) -> Operation:
        body: Json = {}
        self._change(kind, body)
        if self._rng.random() < 0.1:
            body.setdefault("metadata", {})["resourceVersion"] = self._rng.choice(
                (f"@stale {kind.plural}/{name}", f"@version {kind.plural}/{name}", "nonsense")
            )
        return self._patch(kind, name, body, MERGE_PATCH)

    def _strategic_patch(self, kind: Kind, name: str) -> Operation:
        body: Json = {}
        self._change(kind, body)
        roll = self._rng.random()
        if roll < 0.15:
            body.setdefault("metadata", {})["labels"] = {"$patch": "replace", "app": self._rng.choice("xy")}
        elif roll < 0.25:
            body.setdefault("metadata", {})["$deleteFromPrimitiveList/finalizers"] = [self._rng.choice(FINALIZERS)]
        containers = _at(body, "spec.template.spec.containers") or _at(body, "spec.containers")
        if isinstance(containers, list) and containers and self._rng.random() < 0.5:
            self._merge_keys(containers)
        return self._patch(kind, name, body, STRATEGIC_PATCH)

    def _merge_keys(self, containers: list[Any]) -> None:
        """Make a list of containers one that only a strategic merge patch can mean."""
        roll = self._rng.random()
        if roll < 0.4:
            containers.append({"name": self._rng.choice(("main", "side", "init")), "$patch": "delete"})
        elif roll < 0.6:
            containers[:] = [{"name": self._rng.choice(("main", "side")), "env": [{"name": "C", "value": "3"}]}]
        elif roll < 0.8:
            containers[:] = [{"$patch": "replace"}, {"name": "only", "image": "nginx:3"}]
        else:
            containers[:] = [{"image": "nginx:9"}]

    def _json_patch(self, kind: Kind, name: str) -> Operation:
        patch: list[Json] = []
        for _ in range(self._rng.choice((1, 1, 2, 3))):
            path, value = self._pick(
                kind.fields if kind.fields and self._rng.random() < 0.7 else {"metadata.labels.app": "xy"}
            )
            pointer = "/" + path.replace(".", "/")
            verb = self._rng.choice(("add", "add", "replace", "replace", "remove", "test", "copy", "move", "nope"))
            step: Json = {"op": verb, "path": pointer}
            if verb in {"add", "replace", "test"}:
                step["value"] = value
            elif verb in {"copy", "move"}:
                step["from"] = self._rng.choice(("/metadata/labels", "/metadata/name", "/nothing"))
                step["path"] = self._rng.choice((pointer, "/metadata/annotations", "/metadata/labels/copied"))
            patch.append(step)
        return self._patch(kind, name, patch, JSON_PATCH)

    def _patch(self, kind: Kind, name: str, body: Any, content_type: str) -> Operation:
        query = self._update_query()
        return Operation("PATCH", f"{kind.collection}/{name}", body, content_type=content_type, query=query)

    def _apply(self, kind: Kind, name: str) -> Operation:
        # Configurations of one manager are drawn anew each time, so fields come and go; some leave out what is required.
        body = dict(kind.required) if self._rng.random() < 0.8 else {}
        body = json.loads(json.dumps(body))
        for path, value in self._some(kind.fields, 3):
            if value is not None:
                _put(body, path, value)
        made = self._named(kind, name, body)
        if not kind.namespaced:
            made["metadata"].setdefault("labels", {})["script"] = "{ns}"
        if self._rng.random() < 0.15:
            made["metadata"]["finalizers"] = [self._rng.choice(FINALIZERS)]
        if self._rng.random() < 0.06:
            made["metadata"]["resourceVersion"] = self._rng.choice(
                (f"@version {kind.plural}/{name}", f"@stale {kind.plural}/{name}")
            )
        query: Json = {"fieldManager": self._rng.choice(APPLIERS)}
        if self._rng.random() < 0.45:
            query["force"] = "true"
        roll = self._rng.random()
        if roll < 0.08:
            query["dryRun"] = "All"
        elif roll < 0.16 and "unknown" not in made:  # which of two errors is told is as random as Go's maps
            _put(made, self._rng.choice(("spec.nope", "nope")), "x")
            query["fieldValidation"] = self._rng.choice(("Strict", "Warn", "Ignore"))
        elif kind.refused and roll < 0.24 and "unknown" not in made:
            _put(made, *self._pick(kind.refused))
        return Operation("PATCH", f"{kind.collection}/{name}", made, content_type=APPLY, query=query)

    def _labels(self, kind: Kind, name: str) -> Operation:
        labels = self._rng.choice(
            ({"app": "x"}, {"app": "y"}, {"app": None}, {"tier": "z"}, {"gone": "1"}, {"gone": None})
        )
        return self._patch(kind, name, {"metadata": {"labels": labels}}, MERGE_PATCH)

    def _finalizers(self, kind: Kind, name: str) -> Operation:
        finalizers = self._rng.choice((None, [], [FINALIZERS[0]], list(FINALIZERS), ["nodomain"]))
        return self._patch(kind, name, {"metadata": {"finalizers": finalizers}}, MERGE_PATCH)

    def _status(self, kind: Kind, name: str) -> Operation:
        path = f"{kind.collection}/{name}/status"
        body: Json = {}
        for at, value in self._some(kind.status, 2):
            _put(body, at, value)
        if self._rng.random() < 0.3:  # what is not status must be left alone
            _put(body, *self._pick(kind.fields))
            _put(body, "metadata.labels.app", self._rng.choice("xy"))
        roll = self._rng.random()
        if roll < 0.35:
            seen = {SEEN: f"{kind.plural}/{name}", "apiVersion": kind.api_version, "kind": kind.kind, **body}
            return Operation("PUT", path, seen, query=self._update_query())
        if roll < 0.75:
            content_type = MERGE_PATCH if self._rng.random() < 0.6 else STRATEGIC_PATCH
            return Operation("PATCH", path, body, content_type=content_type, query=self._update_query())
        query = {"fieldManager": self._rng.choice(APPLIERS), **({"force": "true"} if self._rng.random() < 0.5 else {})}
        return Operation("PATCH", path, self._named(kind, name, body, plain=True), content_type=APPLY, query=query)

    def _scale(self, kind: Kind, name: str) -> Operation:
        path = f"{kind.collection}/{name}/scale"
        replicas = self._rng.choice((0, 1, 4, 4, -1))
        roll = self._rng.random()
        if roll < 0.25:
            return Operation("GET", path)
        if roll < 0.6:
            body = {"spec": {"replicas": replicas}}
            return Operation("PATCH", path, body, content_type=MERGE_PATCH, query=self._update_query())
        metadata: Json = {"name": name, "namespace": "{ns}"}
        if self._rng.random() < 0.4:
            metadata["resourceVersion"] = f"{self._rng.choice(('@stale', '@version'))} {kind.plural}/{name}"
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": replicas}}
        if self._rng.random() < 0.25:
            query = {"fieldManager": self._rng.choice(APPLIERS), "force": "true"}
            return Operation("PATCH", path, scale, content_type=APPLY, query=query)
        return Operation("PUT", path, scale, query=self._update_query())

    def _delete(self, kind: Kind, name: str) -> Operation:
        query: Json = {}
        body: Any = None
        roll = self._rng.random()
        if roll < 0.45:
            query["propagationPolicy"] = self._rng.choice(("Background", "Foreground", "Orphan", "Sideways"))
        elif roll < 0.75:
            body = {"apiVersion": "v1", "kind": "DeleteOptions", **self._delete_options(kind, name)}
        elif roll < 0.8:
            query["dryRun"] = "All"
        elif roll < 0.88:
            query["gracePeriodSeconds"] = self._rng.choice(("0", "25", "-1"))  # a busy machine takes seconds between
        return Operation("DELETE", f"{kind.collection}/{name}", body, query=query)

    def _delete_options(self, kind: Kind, name: str) -> Json:
        key = f"{kind.plural}/{name}"
        return dict(
            self._rng.choice(
                (
                    {"preconditions": {"uid": f"@uid {key}"}},
                    {"preconditions": {"uid": "33333333-3333-4333-8333-333333333333"}},
                    {"preconditions": {"resourceVersion": f"@version {key}"}},
                    {"preconditions": {"resourceVersion": f"@stale {key}"}},
                    {"preconditions": {"uid": f"@uid {key}", "resourceVersion": f"@version {key}"}},
                    {"propagationPolicy": "Foreground", "gracePeriodSeconds": 0},
                    {"propagationPolicy": "Orphan"},
                    {"orphanDependents": True},
                    {"orphanDependents": False, "propagationPolicy": "Background"},
                    {"gracePeriodSeconds": 23},
                    {"dryRun": ["All"]},
                    {"dryRun": ["Some"]},
                )
            )
        )

    def _delete_collection(self, kind: Kind, _name: str) -> Operation:
        if not kind.namespaced:
            return Operation("DELETE", kind.collection, query={"labelSelector": "script={ns},app=x"})
        query = self._rng.choice(
            (
                {"labelSelector": "app=x"},
                {"fieldSelector": "metadata.name=b"},
                {"labelSelector": "tier", "dryRun": "All"},
            )
        )
        return Operation("DELETE", kind.collection, query=dict(query))

    def _get(self, kind: Kind, name: str) -> Operation:
        accept = self._rng.choice(("application/json", "application/json", METADATA_ONLY, TABLE))
        return Operation("GET", f"{kind.collection}/{name}", accept=accept)

    def _list(self, kind: Kind, _name: str) -> list[Operation]:
        accept = self._rng.choice(("application/json", "application/json", METADATA_LIST, TABLE))
        query: Json = {}
        if not kind.namespaced:
            return [Operation("GET", kind.collection, query={"labelSelector": "script={ns}"}, accept=accept)]
        roll = self._rng.random()
        if roll < 0.4:
            query["labelSelector"] = self._rng.choice(LABEL_SELECTORS)
        elif roll < 0.6:
            query["fieldSelector"] = self._rng.choice(
                ("metadata.name=a", "metadata.name!=a", "metadata.namespace={ns}", *kind.field_selectors)
            )
        elif roll < 0.8:
            first = Operation("GET", kind.collection, query={"limit": "1"}, accept=accept)
            rest = Operation("GET", kind.collection, query={"limit": "2", "continue": "@continue"}, accept=accept)
            return [first, rest]
        return [Operation("GET", kind.collection, query=query, accept=accept)]

    def _bad(self, kind: Kind, name: str) -> Operation:
        return bad_request(self._rng, kind, name)

    # bodies

    def _body(self, kind: Kind) -> Json:
        body: Json = json.loads(json.dumps(kind.required))
        for path, value in self._some(kind.fields, 3):
            if value is not None:
                _put(body, path, value)
        return body

    def _named(self, kind: Kind, name: str, body: Json, *, plain: bool = False) -> Json:
        metadata: Json = {"name": name}
        if not plain and self._rng.random() < 0.5:
            metadata["labels"] = dict(self._rng.choice(LABELS))
        if not plain and self._rng.random() < 0.25:
            metadata["annotations"] = dict(self._rng.choice(ANNOTATIONS))
        if not plain and self._rng.random() < 0.08:
            metadata["ownerReferences"] = [self._owner_reference()]
        if not plain and self._rng.random() < 0.06:
            metadata["finalizers"] = [self._rng.choice(FINALIZERS)]
        return {"apiVersion": kind.api_version, "kind": kind.kind, **body, "metadata": metadata}

    def _owner_reference(self) -> Json:
        owner = self._rng.choice(self._kinds)
        name = self._rng.choice(owner.names)
        reference: Json = {
            "apiVersion": owner.api_version,
            "kind": owner.kind,
            "name": name,
            "uid": f"@uid {owner.plural}/{name}",
        }
        if self._rng.random() < 0.3:
            reference |= {"controller": True, "blockOwnerDeletion": True}
        return reference

    def _change(self, kind: Kind, body: Json) -> None:
        """Put a few changes into a body that is merged into another."""
        for path, value in self._some(kind.fields, self._rng.choice((1, 1, 2, 3))):
            _put(body, path, value)
        if kind.refused and self._rng.random() < 0.12:
            _put(body, *self._pick(kind.refused))
        if self._rng.random() < 0.25 or not kind.fields:
            _put(body, "metadata.labels", dict(self._rng.choice(LABELS)))
        if self._rng.random() < 0.1:
            _put(body, "metadata.annotations", self._rng.choice((*ANNOTATIONS, None)))
        if self._rng.random() < 0.05:
            _put(body, "metadata.ownerReferences", [self._owner_reference()])
        if kind.status and self._rng.random() < 0.1:
            _put(body, *self._pick(kind.status))
        if not kind.namespaced and "labels" in body.get("metadata", {}):
            body["metadata"]["labels"]["script"] = "{ns}"

    def _update_query(self) -> Json:
        query: Json = {"fieldManager": self._rng.choice(UPDATERS)}
        roll = self._rng.random()
        if roll < 0.06:
            query["dryRun"] = "All"
        elif roll < 0.14:
            query["fieldValidation"] = self._rng.choice(("Strict", "Warn", "Ignore"))
        return query

    def _pick(self, values: Any) -> tuple[str, Any]:
        path = self._rng.choice(list(values))
        return path, self._rng.choice(values[path])

    def _some(self, values: Any, most: int) -> Sequence[tuple[str, Any]]:
        return [self._pick(values) for _ in range(self._rng.randint(0 if most > 1 else 1, most))] if values else []


def _put(body: Json, path: str, value: Any) -> None:
    """Set a dotted path, making what is missing on the way; what is in the way and no object is replaced."""
    *parents, last = path.split(".")
    at = body
    for key in parents:
        if not isinstance(at.get(key), dict):
            at[key] = {}
        at = at[key]
    at[last] = json.loads(json.dumps(value))


def _at(body: Json, path: str) -> Any:
    found: Any = body
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found
