"""The ceiling of the ingest benchmark: messages that a watcher made, published from memory by a process that does no more."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from benchmarks import messages_file, roles
from benchmarks.engine_parts import open_log
from crosscurrent import logs


async def main() -> None:
    """Load the messages; publish them on command."""
    settings = roles.begin()
    logs.configure("publish_prepared")
    log = await open_log(settings["nats"], settings["token"])
    await log.prepare()
    messages = messages_file.read(Path(settings["messages"]))
    roles.say(ready=len(messages))
    command = await roles.next_command()
    started = time.monotonic()
    roles.say(started=started)
    await log.publish(messages[: command["go"]])
    roles.say(done=command["go"], at=time.monotonic(), cpu=time.process_time())
    await roles.next_command()


if __name__ == "__main__":
    asyncio.run(main())
