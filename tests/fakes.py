"""Fakes behind the engine's ports: a scripted cluster, and a clock that tests turn.

`ScriptedCluster` is a small object store with the answers of an API server, good for units that write; it is no simulator:
no schemas, defaults, selectors beyond equality, or controllers. `tests/contracts/test_cluster_api.py` holds it to what a
real API server does.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from engine.runtime.ports import ClusterUnreachable, Reply
from schemas.names import ClusterName, ObjectRef

Json = dict[str, Any]
JSON_HEADERS = {"Content-Type": "application/json"}
TYPES = (
    ("", "v1", "configmaps", "ConfigMap", True),
    ("", "v1", "namespaces", "Namespace", False),
    ("", "v1", "secrets", "Secret", True),
    ("apps", "v1", "deployments", "Deployment", True),
    ("events.k8s.io", "v1", "events", "Event", True),
    ("samplecontroller.k8s.io", "v1alpha1", "foos", "Foo", True),
    ("crosscurrent.dev", "v1alpha1", "ownergrants", "OwnerGrant", True),
    ("crosscurrent.dev", "v1alpha1", "ownertombstones", "OwnerTombstone", False),
    ("crosscurrent.dev", "v1alpha1", "deletionbrakes", "DeletionBrake", False),
    ("crosscurrent.dev", "v1alpha1", "abandonments", "Abandonment", False),
    ("crosscurrent.dev", "v1alpha1", "unregistrations", "Unregistration", False),
    ("crosscurrent.dev", "v1alpha1", "clusterjoins", "ClusterJoin", False),
    ("multicluster.admiralty.io", "v1alpha1", "serviceaccountimports", "ServiceAccountImport", True),
    ("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False),
)
KINDS = {(group, plural): kind for group, _, plural, kind, _ in TYPES}
WITHOUT_STATUS = {"configmaps", "secrets", "events"}


class Clock:
    """Time that moves only when told, or when somebody sleeps."""

    def __init__(self, now: float = 1000.0, wall: float = 1_790_000_000.0) -> None:
        self.now = now
        self.offset = wall - now

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + self.offset

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class Sent(NamedTuple):
    """A request as it arrived."""

    method: str
    path: str
    params: dict[str, str]
    body: Json


class _Answer(Exception):
    """A Status, raised from where it arises."""

    def __init__(self, code: int, reason: str, message: str, headers: Mapping[str, str] = {}, **details: Any) -> None:
        super().__init__(message)
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
        body |= {"reason": reason, "message": message, "details": details}
        self.reply = Reply(code, msgspec.json.encode(body), {**JSON_HEADERS, **headers})


def status(code: int, reason: str = "", message: str = "", *, retry_after: int | None = None, **details: Any) -> Reply:
    """A Status as an API server sends it."""
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    return _Answer(code, reason, message or reason, headers, **details).reply


class ScriptedCluster:
    """A cluster in memory (the port `ClusterApi`).

    Attributes:
        requests: everything that was sent, in order.
        unreachable: while true nothing is answered.
        delay: seconds before each answer.
        before: called with each request; a Reply or an exception from it is the answer instead of ours. Tests also use it
            to change objects between two requests.
        served: (group, version, plural) that exist.
        writes: requests that changed something.

    """

    def __init__(self, name: str = "cluster1") -> None:
        self.cluster = ClusterName(name)
        self.requests: list[Sent] = []
        self.unreachable = False
        self.delay = 0.0
        self.before: Callable[[Sent], Reply | None] | None = None
        self.served = {(group, version, plural) for group, version, plural, _, _ in TYPES}
        self.in_flight = self.most_in_flight = 0
        self.writes = 0
        self._objects: dict[tuple[str, str, str, str], Json] = {}
        self._version = 100
        self._made = 0
        self._history: list[tuple[int, str, str, bytes]] = []
        self._changed = asyncio.Event()
        self._closed = False
        for namespace in ("default", "kube-system"):
            self.put("", "namespaces", {"metadata": {"name": namespace}, "apiVersion": "v1", "kind": "Namespace"})

    @property
    def name(self) -> ClusterName:
        return self.cluster

    # What tests do to it directly.

    def ref(self, resource: str, name: str, namespace: str = "default", group: str = "") -> ObjectRef:
        return ObjectRef(self.cluster, group, resource, namespace, name)

    def put(self, group: str, plural: str, body: Json) -> Json:
        """Store an object as some other client would, and return it as stored."""
        body = copy.deepcopy(body)
        metadata = body.setdefault("metadata", {})
        key = (group, plural, metadata.get("namespace", ""), metadata["name"])
        kept = self._objects.get(key, {}).get("metadata", {})
        metadata["uid"] = metadata.get("uid") or kept.get("uid") or self._uid()
        return self._store(key, body)

    def get(self, ref: ObjectRef) -> Json | None:
        """Return an object as stored."""
        return copy.deepcopy(self._objects.get((ref.group, ref.resource, ref.namespace, ref.name)))

    def remove(self, ref: ObjectRef) -> None:
        """Take an object away as if it had never had finalizers."""
        self._drop((ref.group, ref.resource, ref.namespace, ref.name))

    def sent(self, method: str = "") -> list[Sent]:
        return [sent for sent in self.requests if not method or sent.method == method]

    # The port.

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float,
    ) -> Reply:
        sent = Sent(method, path, dict(params or {}), msgspec.json.decode(body) if body else {})
        self.requests.append(sent)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.sleep(self.delay)
            if self.unreachable or self._closed:
                raise ClusterUnreachable(f"{self.cluster} is unreachable")
            if self.before is not None and (scripted := self.before(sent)) is not None:
                return scripted
            found = self._answer(sent, content_type, metadata_only="PartialObjectMetadata" in accept)
            if "PartialObjectMetadataList" in accept:
                found["items"] = found["items"] or None  # as the real one does
            return Reply(201 if method == "POST" else 200, msgspec.json.encode(found), JSON_HEADERS)
        except TimeoutError as error:
            raise ClusterUnreachable(f"{self.cluster}: no answer within {timeout:g} s") from error
        except _Answer as answer:
            return answer.reply
        finally:
            self.in_flight -= 1

    async def stream(
        self, path: str, *, params: Mapping[str, str], idle_timeout: float
    ) -> AsyncGenerator[Reply | list[bytes], None]:
        sent = Sent("GET", path, dict(params), {})
        self.requests.append(sent)
        if self.unreachable or self._closed:
            raise ClusterUnreachable(f"{self.cluster} is unreachable")
        try:
            group, plural, _, _, _ = self._place(path)
        except _Answer as answer:
            yield answer.reply
            return
        yield Reply(200, b"", JSON_HEADERS)
        position = int(params.get("resourceVersion") or 0)
        while not self._closed:
            if self.unreachable:
                raise ClusterUnreachable(f"{self.cluster}: connection lost")
            lines = [line for at, g, p, line in self._history if at > position and (g, p) == (group, plural)]
            position = max(position, self._version)
            if lines:
                yield lines
            changed = self._changed
            try:
                async with asyncio.timeout(idle_timeout):
                    await changed.wait()
            except TimeoutError as error:
                raise ClusterUnreachable(f"{self.cluster}: nothing arrived for {idle_timeout:g} s") from error

    async def close(self) -> None:
        self._closed = True
        self._changed.set()

    # The API server.

    def _answer(self, sent: Sent, content_type: str, *, metadata_only: bool) -> Any:
        if sent.path == "/version":
            return {"major": "1", "minor": "36", "gitVersion": "v1.36.0-fake"}
        if (discovered := self._discover(sent.path)) is not None:
            return discovered
        group, plural, namespace, name, subresource = self._place(sent.path)
        if subresource and (subresource != "status" or plural in WITHOUT_STATUS):
            raise _Answer(404, "NotFound", "the server could not find the requested resource")
        key = (group, plural, namespace, name)
        match sent.method, content_type:
            case "GET", _ if not name:
                return self._list(group, plural, namespace, sent.params)
            case "GET", _:
                found = self._existing(key)
            case "POST", _:
                found = self._create((group, plural, namespace, sent.body["metadata"]["name"]), sent)
            case "PATCH", "application/apply-patch+yaml":
                found = self._apply(key, sent, subresource)
            case "PATCH", "application/merge-patch+json":
                found = self._merge_patch(key, sent)
            case "DELETE", _:
                found = self._delete(key, sent)
            case _:
                raise _Answer(415, "UnsupportedMediaType", content_type)
        return {**_META_KIND, "metadata": found["metadata"]} if metadata_only and "metadata" in found else found

    def _discover(self, path: str) -> Json | None:
        parts = path.strip("/").split("/")
        if path == "/apis":
            groups: dict[str, set[str]] = {}
            for group, version, _ in self.served:
                if group:
                    groups.setdefault(group, set()).add(version)
            listed = [{"name": g, "versions": [{"version": v} for v in sorted(vs)]} for g, vs in sorted(groups.items())]
            return {"kind": "APIGroupList", "groups": listed}
        if (parts[0], len(parts)) in (("apis", 3), ("api", 2)):
            group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
            names = sorted(p for g, v, p in self.served if (g, v) == (group, version))
            if names:
                return {
                    "kind": "APIResourceList",
                    "resources": [{"name": name, "kind": KINDS.get((group, name), "")} for name in names],
                }
        return None

    def _place(self, path: str) -> tuple[str, str, str, str, str]:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces" and rest[2] != "status":
            namespace, rest = rest[1], rest[2:]
        plural, name, subresource = [*rest, "", ""][:3]
        if (group, version, plural) not in self.served:
            if group and not any(g == group for g, _, _ in self.served):
                raise _Plain(404, b"404 page not found\n")
            raise _Answer(404, "NotFound", "the server could not find the requested resource")
        return group, plural, namespace, name, subresource

    def _existing(self, key: tuple[str, str, str, str]) -> Json:
        if key not in self._objects:
            group, plural, _, name = key
            shown = f"{plural}.{group}" if group else plural
            raise _Answer(404, "NotFound", f'{shown} "{name}" not found', name=name, kind=plural, group=group)
        return copy.deepcopy(self._objects[key])

    def _list(self, group: str, plural: str, namespace: str, params: Mapping[str, str]) -> Json:
        terms = [term for term in params.get("labelSelector", "").split(",") if term]
        wanted = dict(term.split("=", 1) for term in terms if "=" in term)
        present = {term for term in terms if "=" not in term}
        found = [
            body
            for (g, p, ns, _), body in sorted(self._objects.items())
            if (g, p) == (group, plural)
            and namespace in ("", ns)
            and wanted.items() <= (body["metadata"].get("labels") or {}).items()
            and present <= (body["metadata"].get("labels") or {}).keys()
        ]
        start, limit = int(params.get("continue") or 0), int(params.get("limit") or 0) or len(found) or 1
        metadata = {"resourceVersion": str(self._version)}
        if start + limit < len(found):
            metadata["continue"] = str(start + limit)
        return {"kind": "List", "metadata": metadata, "items": copy.deepcopy(found[start : start + limit])}

    def _create(self, key: tuple[str, str, str, str], sent: Sent) -> Json:
        if key in self._objects:
            raise _Answer(409, "AlreadyExists", f'{key[1]} "{key[3]}" already exists', name=key[3], kind=key[1])
        self._needs_namespace(key)
        body = copy.deepcopy(sent.body)
        body["metadata"] |= {"uid": self._uid()}
        body["metadata"]["managedFields"] = [_entry(sent.params.get("fieldManager", ""), "Update", body, "")]
        return self._store(key, body)

    def _apply(self, key: tuple[str, str, str, str], sent: Sent, subresource: str) -> Json:
        manager, force = sent.params["fieldManager"], sent.params.get("force") == "true"
        given = copy.deepcopy(sent.body["metadata"])
        if subresource:
            self._existing(key)
        if key not in self._objects:
            if given.get("uid"):
                raise self._stale(
                    key, f"uid mismatch: the provided object specified uid {given['uid']}, and no existing object"
                )
            self._needs_namespace(key)
        live = copy.deepcopy(self._objects.get(key)) or {"metadata": {"uid": self._uid()}}
        self._check(key, live, given)
        for field in ("uid", "resourceVersion"):
            given.pop(field, None)
        fields = {"status": sent.body["status"]} if subresource else {**sent.body, "metadata": given}
        mine = {path for path in _leaves(fields) if path not in _IDENTITY}
        entries = live["metadata"].get("managedFields") or []
        others = [
            e
            for e in entries
            if (e["manager"], e["operation"], e.get("subresource", "")) != (manager, "Apply", subresource)
        ]
        before = [e for e in entries if e not in others]
        causes = []
        for entry in others:
            taken = {p for p in mine & _owned(entry) if _value(live, p) != _value(fields, p)}
            causes += [(entry["manager"], path) for path in sorted(taken)]
            if force:
                entry["fieldsV1"] = _fields(_owned(entry) - taken)
        if causes and not force:
            listed = [
                {"reason": "FieldManagerConflict", "message": f'conflict with "{m}"', "field": f".{p}"}
                for m, p in causes
            ]
            raise _Answer(409, "Conflict", f"Apply failed with {len(causes)} conflict", causes=listed)
        for path in {p for e in before for p in _owned(e)} - mine - {p for e in others for p in _owned(e)}:
            _remove(live, path)
        merged = _merged(live, fields)
        entry = _entry(manager, "Apply", {}, subresource) | {"fieldsV1": _fields(mine)}
        merged["metadata"]["managedFields"] = [*[e for e in others if e["fieldsV1"]], entry]
        return self._store(key, merged)

    def _merge_patch(self, key: tuple[str, str, str, str], sent: Sent) -> Json:
        live = self._existing(key)
        patch = copy.deepcopy(sent.body)
        metadata = patch.get("metadata") or {}
        self._check(key, live, metadata)
        added = set(metadata.get("finalizers") or ()) - set(live["metadata"].get("finalizers") or ())
        if added and live["metadata"].get("deletionTimestamp"):
            raise _Answer(422, "Invalid", "metadata.finalizers: Forbidden: no new finalizers can be added")
        for field in ("uid", "resourceVersion"):
            metadata.pop(field, None)
        return self._store(key, _merged(live, patch))

    def _delete(self, key: tuple[str, str, str, str], sent: Sent) -> Json:
        live = self._existing(key)
        for field, value in (sent.body.get("preconditions") or {}).items():
            if live["metadata"][field] != value:
                raise self._stale(key, f"Precondition failed: {field} in precondition: {value}")
        if live["metadata"].get("finalizers"):
            live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return self._store(key, live)
        self._drop(key)
        return {"kind": "Status", "status": "Success", "metadata": {}}

    def _check(self, key: tuple[str, str, str, str], live: Json, given: Json) -> None:
        version, uid = given.get("resourceVersion"), given.get("uid")
        if version and key in self._objects and version != live["metadata"]["resourceVersion"]:
            raise self._stale(key, "the object has been modified; please apply your changes to the latest version")
        if uid and uid != live["metadata"]["uid"]:
            cause = {"reason": "FieldValueInvalid", "field": "metadata.uid", "message": "field is immutable"}
            raise _Answer(422, "Invalid", "metadata.uid: field is immutable", name=key[3], kind=key[1], causes=[cause])

    def _stale(self, key: tuple[str, str, str, str], why: str) -> _Answer:
        message = f'Operation cannot be fulfilled on {key[1]} "{key[3]}": {why}'
        return _Answer(409, "Conflict", message, name=key[3], kind=key[1])

    def _needs_namespace(self, key: tuple[str, str, str, str]) -> None:
        namespace = key[2]
        if namespace and ("", "namespaces", "", namespace) not in self._objects:
            raise _Answer(404, "NotFound", f'namespaces "{namespace}" not found', name=namespace, kind="namespaces")

    def _store(self, key: tuple[str, str, str, str], body: Json) -> Json:
        old = self._objects.get(key)
        if old is not None and _without_version(old) == _without_version(body):
            return copy.deepcopy(old)
        if body["metadata"].get("deletionTimestamp") and not body["metadata"].get("finalizers"):
            self._drop(key)
            return body
        self._version += 1
        self.writes += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._objects[key] = copy.deepcopy(body)
        self._tell("ADDED" if old is None else "MODIFIED", key, body)
        return body

    def _drop(self, key: tuple[str, str, str, str]) -> None:
        body = self._objects.pop(key)
        self._version += 1
        self.writes += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._tell("DELETED", key, body)

    def _tell(self, kind: str, key: tuple[str, str, str, str], body: Json) -> None:
        line = msgspec.json.encode({"type": kind, "object": body})
        self._history.append((self._version, key[0], key[1], line))
        self._changed.set()
        self._changed = asyncio.Event()

    def _uid(self) -> str:
        self._made += 1
        return f"uid-{self.cluster}-{self._made}"


class _Plain(_Answer):
    """An answer that is no Status."""

    def __init__(self, code: int, body: bytes) -> None:
        super().__init__(code, "", "")
        self.reply = Reply(code, body, {"Content-Type": "text/plain"})


_META_KIND = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
_IDENTITY = {"apiVersion", "kind", "metadata.name", "metadata.namespace"}


def _entry(manager: str, operation: str, body: Json, subresource: str) -> Json:
    owned = {path for path in _leaves(body) if path not in _IDENTITY and not path.startswith("metadata.uid")}
    entry = {"manager": manager, "operation": operation, "fieldsV1": _fields(owned)}
    return entry | {"subresource": subresource} if subresource else entry


def _is_of(entry: Json, manager: str, subresource: str) -> bool:
    return (entry["manager"], entry["operation"], entry.get("subresource", "")) == (manager, "Apply", subresource)


def _fields(paths: Iterable[str]) -> Json:
    """Paths as fieldsV1 nests them, one level deep: more than that nobody asks for."""
    nested: Json = {}
    for path in sorted(paths):
        head, _, rest = path.partition(".")
        below = nested.setdefault(f"f:{head}", {})
        if rest:
            below[f"f:{rest}"] = {}
    return nested


def _owned(entry: Json) -> set[str]:
    found = set()
    for head, below in entry["fieldsV1"].items():
        found |= {f"{head[2:]}.{rest[2:]}" for rest in below} if below else {head[2:]}
    return found


def _leaves(value: Any, path: str = "") -> set[str]:
    """Paths of everything that is not a mapping; keys are joined by a character that no key has where it matters here."""
    if not isinstance(value, dict):
        return {path}
    return {leaf for key, item in value.items() for leaf in _leaves(item, f"{path}.{key}" if path else key)}


def _value(body: Any, path: str) -> Any:
    for step in _steps(body, path):
        body = body.get(step) if isinstance(body, dict) else None
    return body


def _remove(body: Any, path: str) -> None:
    *parents, last = _steps(body, path)
    for step in parents:
        body = body.get(step) if isinstance(body, dict) else None
    if isinstance(body, dict):
        body.pop(last, None)


def _steps(body: Any, path: str) -> list[str]:
    """Split a path along the keys that are there: keys may hold dots themselves, as `crosscurrent.dev/owners` does."""
    steps, rest = [], path
    while rest:
        keys = body if isinstance(body, dict) else {}
        step = max(
            (key for key in keys if rest == key or rest.startswith(f"{key}.")), key=len, default=rest.split(".")[0]
        )
        steps.append(step)
        rest = rest[len(step) + 1 :]
        body = keys.get(step)
    return steps


def _merged(live: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _without_version(body: Json) -> Json:
    return {**body, "metadata": {k: v for k, v in body["metadata"].items() if k != "resourceVersion"}}
