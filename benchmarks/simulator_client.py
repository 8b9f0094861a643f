"""Role: a client of a simulated cluster that sends requests as fast as they are answered, eight at a time."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Iterator

import aiohttp

from benchmarks import roles
from benchmarks.roles import Json

CONCURRENCY = 8
ROOTS = {"configmaps": "/api/v1/namespaces/default", "deployments": "/apis/apps/v1/namespaces/default"}
_JSON = {"Content-Type": "application/json"}
_MERGE = {"Content-Type": "application/merge-patch+json"}
_APPLY = {"Content-Type": "application/apply-patch+yaml"}
_BUFFER_BYTES = 2**21

Request = tuple[str, str, bytes | None, dict[str, str]]


def config_map(name: str, value: str) -> Json:
    """Return a small ConfigMap."""
    data = {"value": value, "text": "x" * 100}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"a": "b"}}, "data": data}


def deployment(name: str, value: str) -> Json:
    """Return a Deployment as people write them."""
    container = {
        "name": "main",
        "image": f"registry.example/app:{value}",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": key, "value": "1"} for key in ("ONE", "TWO", "THREE")],
        "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


MAKERS: dict[str, Callable[[str, str], Json]] = {"configmaps": config_map, "deployments": deployment}


def requests(command: Json) -> Iterator[Request]:
    """Return the requests of a command. Applies, patches and gets go to objects of the same round's creates."""
    what, resource, turn = command["what"], command["resource"], command["round"]
    path, make = f"{ROOTS[resource]}/{resource}", MAKERS[resource]
    for number in range(command["count"]):
        name = f"bench-{turn}-{number}"
        if what == "create":
            yield "POST", path, json.dumps(make(name, "0")).encode(), _JSON
        elif what == "apply":
            body = json.dumps(make(name, f"applied-{turn}")).encode()
            yield "PATCH", f"{path}/{name}?fieldManager=bench&force=true", body, _APPLY
        elif what == "patch":
            yield "PATCH", f"{path}/{name}", b'{"metadata":{"annotations":{"turn":"%d"}}}' % turn, _MERGE
        else:
            yield "GET", f"{path}/{name}", None, {}


async def send(http: aiohttp.ClientSession, command: Json) -> float:
    """Send all requests of a command and return the seconds that it took."""
    pending = requests(command)

    async def worker() -> None:
        for method, path, body, headers in pending:
            async with http.request(method, path, data=body, headers=headers) as response:
                content = await response.read()
                if response.status >= 300:
                    raise SystemExit(f"{method} {path}: {response.status} {content[:300]!r}")

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(worker())
    return time.perf_counter() - began


async def watch(http: aiohttp.ClientSession, command: Json) -> float:
    """Read as many events as a command says, written before, and return the seconds that it took."""
    path = f"{ROOTS[command['resource']]}/{command['resource']}"
    async with http.get(path, params={"limit": "1"}) as response:
        newest = int((await response.json())["metadata"]["resourceVersion"])
    params = {"watch": "1", "resourceVersion": str(newest - command["count"]), "timeoutSeconds": "300"}
    began = time.perf_counter()
    seen = 0
    async with http.get(path, params=params) as response:
        async for line in response.content:
            seen += line.startswith(b'{"type":"MODIFIED"')
            if seen >= command["count"]:
                break
        response.close()
    return time.perf_counter() - began


async def main() -> None:
    """Serve commands."""
    access = roles.begin()
    context = ssl.create_default_context(cafile=access["ca"])
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    headers = {"Authorization": f"Bearer {access['token']}", "User-Agent": "bench"}
    async with aiohttp.ClientSession(
        access["url"], connector=connector, headers=headers, read_bufsize=_BUFFER_BYTES
    ) as http:
        roles.say(ready=1)
        while True:
            command = await roles.next_command()
            run = watch if command["what"] == "watch" else send
            roles.say(seconds=await run(http, command))


if __name__ == "__main__":
    asyncio.run(main())
