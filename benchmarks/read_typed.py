"""Peer of the ingest benchmark: kubernetes_asyncio's typed `Watch`, merely decoding."""

from __future__ import annotations

import asyncio
import time

from kubernetes_asyncio import client, watch

from benchmarks import roles


async def read(settings: roles.Json) -> None:
    """List, then watch from there and count what arrives."""
    configuration = client.Configuration(host=settings["url"])
    configuration.ssl_ca_cert = settings["ca"]
    async with client.ApiClient(configuration) as api:
        apps = client.AppsV1Api(api)
        listed = await apps.list_deployment_for_all_namespaces()
        objects, version, last = len(listed.items), listed.metadata.resource_version, ""
        roles.say(ready=objects)
        seen, target = 0, settings["events"]
        stream = watch.Watch().stream(apps.list_deployment_for_all_namespaces, resource_version=version)
        async for event in stream:
            if event["type"] != "MODIFIED":
                continue
            seen += 1
            if seen == target:
                last = event["object"].metadata.resource_version
                break
        roles.say(done=seen, at=time.monotonic(), cpu=time.process_time(), last=last)
    await roles.next_command()


if __name__ == "__main__":
    asyncio.run(read(roles.begin()))
