"""The recorder: raw watches of its own on the real clusters, noting what arrived when on the machine's monotonic clock."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import msgspec

from benchmarks import roles
from benchmarks.kube_client import session

_WATCH = {"watch": "true", "timeoutSeconds": "7200"}


class _Spec(msgspec.Struct):
    replicas: int = -1


class _Metadata(msgspec.Struct):
    name: str
    namespace: str
    uid: str
    resourceVersion: str  # noqa: N815


class _Object(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec


class _Line(msgspec.Struct):
    type: str
    object: _Object


class _ListMetadata(msgspec.Struct):
    resourceVersion: str  # noqa: N815


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[_Object]


_line = msgspec.json.Decoder(_Line)
_list = msgspec.json.Decoder(_List)


class Recording:
    """One watch."""

    def __init__(self, name: str, access: roles.Json, path: str) -> None:
        self._name, self._access, self._path = name, access, path
        self.events: list[tuple[str, float, str, str, int]] = []
        """Watch, time of arrival, event type, name, spec.replicas."""
        self.state: dict[str, tuple[str, str]] = {}
        """uid and resourceVersion of every object there is, by namespace/name."""
        self.open = asyncio.Event()
        self._version = ""

    async def run(self) -> None:
        """List, then watch from there, again and again: a server ends the watches of a CRD that was changed.

        Ends only by failing, when it cannot go on from where it was: a gap would falsify what it says.
        """
        async with session(self._access) as http:
            async with http.get(self._path) as response:
                listed = _list.decode(await response.read())
            for item in listed.items:
                self._keep(item)
            self._version = listed.metadata.resourceVersion
            while True:
                async with http.get(self._path, params=_WATCH | {"resourceVersion": self._version}) as response:
                    response.raise_for_status()
                    self.open.set()
                    await self._read(response.content)

    async def _read(self, content: aiohttp.StreamReader) -> None:
        tail = b""
        async for chunk in content.iter_any():
            now = time.monotonic()
            *lines, tail = (tail + chunk).split(b"\n")
            for line in lines:
                event = _line.decode(line)
                item = event.object
                self._version = item.metadata.resourceVersion
                self.events.append((self._name, now, event.type, item.metadata.name, item.spec.replicas))
                if event.type == "DELETED":
                    self.state.pop(f"{item.metadata.namespace}/{item.metadata.name}", None)
                else:
                    self._keep(item)

    def _keep(self, item: _Object) -> None:
        meta = item.metadata
        self.state[f"{meta.namespace}/{meta.name}"] = (meta.uid, meta.resourceVersion)


async def main() -> None:
    """Serve `{"take": 1}`: the events since the last time; `{"state": 1}`: what exists."""
    settings = roles.begin()
    recordings = {name: Recording(name, one["access"], one["path"]) for name, one in settings["watches"].items()}
    async with asyncio.TaskGroup() as group:
        for recording in recordings.values():
            group.create_task(recording.run())
        await asyncio.gather(*(recording.open.wait() for recording in recordings.values()))
        roles.say(ready=1)
        while True:
            command = await roles.next_command()
            if "take" in command:
                roles.say(events=[event for recording in recordings.values() for event in recording.events])
                for recording in recordings.values():
                    recording.events = []
            elif "state" in command:
                roles.say(state={name: recording.state for name, recording in recordings.items()})


if __name__ == "__main__":
    asyncio.run(main())
