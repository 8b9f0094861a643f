"""The API servers' audit logs: who asked for what, with which body, and what came of it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.garbage.proxy import ENGINE

CHANGES = {"create", "update", "patch", "delete"}
POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, resources: [{group: coordination.k8s.io}]}
- {level: Request, verbs: [create, update, patch, delete, deletecollection]}
- {level: Metadata}
"""
"""With the bodies of changes: which owners an object named, and how its deletion was asked for."""

Json = dict[str, Any]
Place = tuple[str, str, str]
"""Resource, namespace, name."""


@dataclass(frozen=True)
class Request:
    """One answered request of an audit log."""

    at: str
    """When it was answered: what it changed was changed before that, under load long before."""
    begun: str
    """When it was received: it changed nothing before that."""
    user: str
    verb: str
    place: Place
    code: int
    body: Json

    @property
    def by_engine(self) -> bool:
        return self.user == ENGINE

    @property
    def succeeded(self) -> bool:
        return 200 <= self.code < 300

    @property
    def changed(self) -> bool:
        return self.succeeded and self.verb in CHANGES

    @property
    def made_it(self) -> bool:
        """Whether its object came into being by this request; an apply that creates is a patch."""
        return self.code == 201 and self.verb in ("create", "patch")

    @property
    def annotations(self) -> Json | None:
        """Annotations that the body says something about; None if it says nothing of any."""
        metadata = self.body.get("metadata") or {}
        return metadata.get("annotations") or {} if "annotations" in metadata else None


class AuditLog:
    """Reads one cluster's audit log as it grows; for any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._rest = b""
        self._by_place: dict[Place, list[Request]] = {}
        self._lock = threading.Lock()

    def at(self, place: Place) -> list[Request]:
        """Return what has been asked about one object so far, in the order of completion."""
        with self._lock:
            self._read()
            return list(self._by_place.get(place, ()))

    def within(self, namespace: str) -> list[Request]:
        """Return what has been asked about objects of a namespace, and cluster-scoped ones whose names begin with it."""
        with self._lock:
            self._read()
            return [
                request
                for (_, ns, name), found in self._by_place.items()
                if ns == namespace or (not ns and name.startswith(namespace))
                for request in found
            ]

    def _read(self) -> None:
        with self._path.open("rb") as log:
            log.seek(self._position)
            new = log.read()
        self._position += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            event = json.loads(line)
            ref = event.get("objectRef") or {}
            if ref.get("subresource"):
                continue
            body = event.get("requestObject")
            place = (ref.get("resource", ""), ref.get("namespace", ""), ref.get("name", ""))
            if event["verb"] == "create" and not place[2] and isinstance(body, dict):
                place = (place[0], place[1], (body.get("metadata") or {}).get("name", ""))
            request = Request(
                at=event["stageTimestamp"],
                begun=event["requestReceivedTimestamp"],
                user=event["user"]["username"],
                verb=event["verb"],
                place=place,
                code=(event.get("responseStatus") or {}).get("code", 0),
                body=body if isinstance(body, dict) else {},
            )
            self._by_place.setdefault(place, []).append(request)
