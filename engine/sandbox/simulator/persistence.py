"""Objects kept over restarts: a snapshot and a log of writes in one directory.

In: the writes of a store. Out: files, and at the next start the store as it was, its resourceVersions included. A line is
one write; a line that a crash cut short is dropped with what it would have said. There is no fsync: what a killed process
has written survives, what a power cut takes may be lost, as in the sandbox's etcd. History is not kept: watches from
before a restart get 410, as from an API server that has just started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from engine.sandbox.simulator.crds import resource_types
from engine.sandbox.simulator.resource_types import TypeKey
from engine.sandbox.simulator.state import ClusterState
from engine.sandbox.simulator.store import Change, Revision, Store, StoreSnapshot
from engine.sandbox.simulator.strategies import CRD

SNAPSHOT, LOG = "snapshot.jsonl", "log.jsonl"

REWRITE_BYTES = 64 * 1024 * 1024
"""Size of the log at which a new snapshot replaces it: a second's reading at the next start."""

_PUT, _DELETE = "PUT", "DELETE"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Journal:
    """The files of one cluster.

    Args:
        directory: made with mode 0700 if it is not there.

    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._log = -1
        self._written = 0
        self._store: Store | None = None

    def load(self, state: ClusterState) -> None:
        """Fill a new cluster's store with what the files say."""
        rv = state.store.rv
        found: dict[TypeKey, dict[str, tuple[int, Any]]] = {}
        for name in (SNAPSHOT, LOG):
            for operation, group, resource, version, key, obj in _lines(self._directory / name):
                rv = max(rv, version)
                objects = found.setdefault((group, resource), {})
                if operation == _PUT:
                    objects[key] = version, obj
                else:
                    objects.pop(key, None)
        definitions = (definition for _, definition in found.get(CRD, {}).values())
        custom = [one for definition in definitions for one in resource_types(definition)]
        types = {(one.key, one.group_version): one for one in (*state.types, *custom)}
        revisions = {
            key: {
                name: Revision(types[key, obj["apiVersion"]], name, version, obj)
                for name, (version, obj) in objects.items()
                if (key, obj["apiVersion"]) in types
            }
            for key, objects in found.items()
        }
        state.store.restore(StoreSnapshot(rv, {key: objects for key, objects in revisions.items() if objects}))

    def follow(self, store: Store) -> None:
        """Write down what a store holds, and from now on each of its writes."""
        self._store = store
        self.rewrite(store)
        store.observers.append(self._observe)

    def rewrite(self, store: Store) -> None:
        """Replace both files by a snapshot of a store."""
        self.close()
        new = self._directory / f"{SNAPSHOT}.new"
        with open(_opened(new, os.O_TRUNC), "wb") as file:
            for key in store.type_keys():
                file.writelines(_line(_PUT, key, one) for one in store.collection(key))
            file.write(_encode([_DELETE, "", "", store.rv, "", None]) + b"\n")  # the version that the store has reached
        new.replace(self._directory / SNAPSHOT)
        self._log = _opened(self._directory / LOG, os.O_TRUNC)
        self._written = 0

    def close(self) -> None:
        """Close the log; every write is in it already."""
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def _observe(self, key: TypeKey, change: Change) -> None:
        if self._log < 0:
            return
        operation = _DELETE if change.type == "DELETED" else _PUT
        self._written += os.write(self._log, _line(operation, key, change.current))
        if self._written > REWRITE_BYTES and self._store is not None:
            self.rewrite(self._store)


def _line(operation: str, key: TypeKey, revision: Revision) -> bytes:
    head = _encode([operation, *key, revision.rv, revision.key])
    body = revision.encoded if operation == _PUT else b"null"
    return b"".join((head[:-1], b",", body, b"]\n"))


def _lines(path: Path) -> Iterator[list[Any]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):  # else the process ended within it
                yield _decode(line)


def _opened(path: Path, flags: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | flags, 0o600)
