"""A script replayed on one server: a transcript of its answers, its watch streams and what was there at the end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

from tests.api_session import Answer, ApiSession, WatchStream
from tests.differential.generator import SENTINEL
from tests.differential.operations import Memory, Operation, Script
from tests.differential.transcript import Normaliser


@dataclass(frozen=True)
class Transcript:
    """What one server said, in order: (what it was said to, what it said)."""

    entries: tuple[tuple[str, Any], ...]


async def replay(script: Script, session: ApiSession) -> Transcript:
    """Replay a script in a fresh namespace of its name."""
    memory = Memory(script.namespace)
    normaliser = Normaliser()
    entries: list[tuple[str, Any]] = []

    async def say(where: str, operation: Operation) -> None:
        answer = await perform(session, operation, memory)
        entries.append((where, normaliser.answer(answer.status, answer.body, answer.warnings)))

    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": script.namespace}}
    await say("namespace", Operation("POST", "/api/v1/namespaces", namespace))
    async with AsyncExitStack() as stack:
        version = (await session.get("/api/v1/namespaces", limit="1")).version
        streams = [
            await stack.enter_async_context(
                session.watch(memory.resolve(path), resourceVersion=version, **memory.resolve(query))
            )
            for path, query in script.watches
        ]
        for number, operation in enumerate(script.operations):
            await say(f"{number}", operation)
        for operation in script.sentinels:
            await say("sentinel", operation)
        for (path, query), stream in zip(script.watches, streams, strict=True):
            events = await _events(stream)
            entries.append((f"watch {path} {query}", [normaliser.event(one) for one in events]))
    for path in script.collections:
        scope = {} if "/namespaces/{ns}" in path else {"labelSelector": "script={ns}"}
        await say(f"list {path}", Operation("GET", path, query=scope))
    return Transcript(tuple(entries))


async def perform(session: ApiSession, operation: Operation, memory: Memory) -> Answer:
    """Send one request of a script, and remember what it was answered."""
    body = operation.raw.encode() if operation.raw is not None else memory.resolve(operation.body)
    answer = await session.request(
        operation.method,
        memory.resolve(operation.path),
        body,
        content_type=operation.content_type,
        accept=operation.accept,
        **memory.resolve(operation.query),
    )
    memory.learn(operation, answer.body)
    return answer


async def both(script: Script, one: ApiSession, other: ApiSession) -> tuple[Transcript, Transcript]:
    """Replay a script on two servers at a time."""
    async with asyncio.TaskGroup() as tasks:
        sides = [tasks.create_task(replay(script, session)) for session in (one, other)]
    return sides[0].result(), sides[1].result()


async def _events(stream: WatchStream) -> list[dict[str, Any]]:
    """Return the events up to the sentinel's, or as many as come if it does not."""
    events: list[dict[str, Any]] = []
    with suppress(TimeoutError):
        while (event := await stream.next()) is not None:
            events.append(event)
            if event["type"] == "ADDED" and event["object"]["metadata"]["name"].endswith(SENTINEL):
                break
    return events
