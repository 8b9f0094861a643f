"""The oracle: what the API servers' audit logs say happened, never our own records (invariants I2, I3, I5)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.garbage.proxy import ENGINE

CHANGES = {"create", "update", "patch", "delete"}


@dataclass(frozen=True)
class Request:
    """One answered request of an audit log."""

    at: str
    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int

    @property
    def by_engine(self) -> bool:
        return self.user == ENGINE

    @property
    def succeeded(self) -> bool:
        return 200 <= self.code < 300


class AuditLog:
    """Reads one cluster's audit log as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._rest = b""
        self._requests: list[Request] = []

    def requests(self, *, namespace: str | None = None, engine: bool | None = None) -> list[Request]:
        """Return what has been logged so far, in the order of completion."""
        with self._path.open("rb") as log:
            log.seek(self._position)
            new = log.read()
        self._position += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            event = json.loads(line)
            ref = event.get("objectRef") or {}
            self._requests.append(
                Request(
                    at=event["stageTimestamp"],
                    user=event["user"]["username"],
                    verb=event["verb"],
                    resource=ref.get("resource", ""),
                    namespace=ref.get("namespace", ""),
                    name=ref.get("name", ""),
                    code=(event.get("responseStatus") or {}).get("code", 0),
                )
            )
        return [
            one
            for one in self._requests
            if (namespace is None or one.namespace == namespace or one.name.startswith(namespace))
            and (engine is None or one.by_engine is engine)
        ]
