"""Any NATS client can listen: print what happens to ConfigMaps anywhere, until interrupted.

python examples/subscribe.py "$(crosscurrent broker)"
"""

import asyncio
import json
import sys

import nats


async def main(address: str) -> None:
    """Subscribe to facts, which are CloudEvents in JSON."""
    client = await nats.connect(address)
    subscription = await client.subscribe("facts.*.core.configmaps.>")
    async for message in subscription.messages:
        fact = json.loads(message.data)
        print(fact["type"].split(".")[-2], fact["cluster"], fact["subject"], (fact["data"] or {}).get("data"), flush=True)


asyncio.run(main(sys.argv[1]))
