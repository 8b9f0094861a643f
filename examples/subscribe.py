"""Print what happens to ConfigMaps anywhere: python examples/subscribe.py "$(crosscurrent broker)"."""

import asyncio
import contextlib
import json
import sys

import nats


async def main(address: str) -> None:
    """Subscribe to facts, which are CloudEvents in JSON."""
    client = await nats.connect(address)
    subscription = await client.subscribe("facts.*.core.configmaps.>")
    print("listening", flush=True)
    async for message in subscription.messages:
        fact = json.loads(message.data)
        print(fact["type"], fact["cluster"], fact["subject"], flush=True)


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main(sys.argv[1]))
