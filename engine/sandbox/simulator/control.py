"""The control endpoint of a process with simulated clusters: break them, mend them, look at them, over https.

    GET    /clusters                          all of them
    GET    /clusters/NAME                     one
    POST   /clusters/NAME/kill | start        offline and back, with the same data
    POST   /clusters/NAME/pause | resume      connections stay open and nothing answers
    PUT    /clusters/NAME/faults              a list of `FaultRule`, in place of those before
    DELETE /clusters/NAME/faults              none
    POST   /clusters/NAME/cut-watches         break off every watch
    POST   /clusters/NAME/compact             forget history: old watches and pages get 410
    POST   /clusters/NAME/skew-clock?seconds=N
    POST   /clusters/NAME/snapshot?name=S | restore?name=S       go back to an older state
    POST   /clusters/NAME/pose-as?cluster=OTHER                  answer as another cluster; none: as itself

In: requests with the token of the control kubeconfig, which `kubectl get|create|replace|delete --raw` can send. Out:
what became of the cluster, as JSON.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import yaml
from aiohttp import web
from aiohttp.typedefs import Handler

from engine.sandbox import identities
from engine.sandbox.certificates import CertificateAuthority
from engine.sandbox.private_file import write_private
from engine.sandbox.processes import PortTaken, free_port
from engine.sandbox.simulator.api_server import SimulatedApiServer
from engine.sandbox.simulator.faults import FaultRule
from engine.sandbox.simulator.listener import server_context
from engine.sandbox.simulator.store import Json, StoreSnapshot

CONTEXT: Final = "sandbox"
"""Name of the one context in the control kubeconfig."""
_BODY_BYTES: Final = 1024 * 1024
_SNAPSHOTS: Final = 10
"""Kept per cluster; each holds on to whatever was stored then."""

_rules = msgspec.json.Decoder(tuple[FaultRule, ...])


class Control:
    """The control endpoint of some clusters.

    Args:
        clusters: by name.
        directory: for keys and the kubeconfig.
        bind: address to listen at.
        hosts: names under which it is reached; the first one is what the kubeconfig says.
        port: to listen at; 0: any that is free.

    """

    def __init__(
        self,
        clusters: Mapping[str, SimulatedApiServer],
        directory: Path,
        *,
        bind: str,
        hosts: tuple[str, ...] = (),
        port: int = 0,
    ) -> None:
        self._clusters = clusters
        self._directory = directory
        self._bind = bind
        self._port = port or free_port()
        self._host = hosts[0] if hosts else "127.0.0.1"
        self._token = secrets.token_urlsafe(24)
        self._authority = CertificateAuthority("sandbox-control-ca")
        names = tuple(dict.fromkeys(["127.0.0.1", "localhost", *hosts]))
        self._authority.issue("sandbox-control", hosts=names).write(directory, "control")
        (directory / "control-ca.crt").write_bytes(self._authority.pem)
        self._snapshots: dict[str, dict[str, StoreSnapshot]] = {name: {} for name in clusters}
        self._runner: web.AppRunner | None = None

    @property
    def kubeconfig(self) -> Json:
        """How to reach it: a server, an authority and a token."""
        url = f"https://{self._host}:{self._port}"
        return identities.kubeconfig(CONTEXT, url, self._authority.pem, token=self._token)

    async def start(self) -> None:
        """Serve.

        Raises:
            PortTaken: when another process holds the port.

        """
        application = web.Application(client_max_size=_BODY_BYTES, middlewares=[self._guard])
        application.add_routes(
            [
                web.get("/clusters", self._all),
                web.get("/clusters/{name}", self._one),
                web.put("/clusters/{name}/faults", self._set_faults),
                web.delete("/clusters/{name}/faults", self._clear_faults),
                web.post("/clusters/{name}/{action}", self._act),
            ]
        )
        context = server_context(
            self._directory / "control.crt", self._directory / "control.key", self._directory / "control-ca.crt"
        )
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._bind, self._port, ssl_context=context).start()
        except OSError as error:
            raise PortTaken(f"cannot listen at {self._bind}:{self._port}: {error.strerror or error}") from error

    async def close(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    def write_kubeconfig(self, path: Path) -> None:
        """Write the kubeconfig, for its owner alone."""
        path.unlink(missing_ok=True)
        write_private(path, yaml.safe_dump(self.kubeconfig).encode())

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            return _refused(401, "the token is not that of the control kubeconfig")
        try:
            return await handler(request)
        except _Refused as refusal:
            return _refused(refusal.code, str(refusal))
        except (ValueError, msgspec.ValidationError) as error:
            return _refused(400, str(error))

    async def _all(self, _request: web.Request) -> web.Response:
        return web.json_response({"clusters": [_described(one) for one in self._clusters.values()]})

    async def _one(self, request: web.Request) -> web.Response:
        return web.json_response(_described(self._cluster(request)))

    async def _set_faults(self, request: web.Request) -> web.Response:
        cluster = self._cluster(request)
        rules = _rules.decode(await request.read())
        await asyncio.to_thread(cluster.set_faults, *rules)
        return web.json_response(_described(cluster))

    async def _clear_faults(self, request: web.Request) -> web.Response:
        cluster = self._cluster(request)
        await asyncio.to_thread(cluster.set_faults)
        return web.json_response(_described(cluster))

    async def _act(self, request: web.Request) -> web.Response:
        cluster = self._cluster(request)
        action = self._action(cluster, request.match_info["action"], request.query)
        await asyncio.to_thread(action)
        return web.json_response(_described(cluster))

    def _action(self, cluster: SimulatedApiServer, name: str, query: Mapping[str, str]) -> Callable[[], object]:
        plain: dict[str, Callable[[], object]] = {
            "kill": cluster.kill,
            "start": cluster.start,
            "pause": cluster.pause,
            "resume": cluster.resume,
            "compact": cluster.compact,
            "cut-watches": cluster.cut_watches,
        }
        if name in plain:
            return plain[name]
        if name == "skew-clock":
            seconds = float(query.get("seconds", ""))
            return lambda: cluster.skew_clock(seconds)
        if name == "pose-as":
            other = query.get("cluster", "")
            return lambda: cluster.pose_as(self._named(other) if other else None)
        if name == "snapshot":
            return lambda: self._keep(cluster, query.get("name", ""))
        if name == "restore":
            kept = self._snapshots[cluster.name].get(query.get("name", ""))
            if kept is None:
                raise _Refused(404, f"{cluster.name} has no snapshot of this name; take one first")
            return lambda: cluster.restore(kept)
        raise _Refused(404, f"there is no action {name}")

    def _keep(self, cluster: SimulatedApiServer, name: str) -> None:
        snapshots = self._snapshots[cluster.name]
        snapshots[name] = cluster.snapshot()
        while len(snapshots) > _SNAPSHOTS:
            del snapshots[next(iter(snapshots))]

    def _cluster(self, request: web.Request) -> SimulatedApiServer:
        return self._named(request.match_info["name"])

    def _named(self, name: str) -> SimulatedApiServer:
        found = self._clusters.get(name)
        if found is None:
            raise _Refused(404, f"there is no cluster {name}; there are {', '.join(self._clusters)}")
        return found


class _Refused(Exception):
    """Raised for a request that cannot be done."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _refused(code: int, message: str) -> web.Response:
    """Return a refusal as a Status, which kubectl knows how to show."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return web.json_response({**status, "code": code}, status=code)


def _described(cluster: SimulatedApiServer) -> Json:
    return {
        "name": cluster.name,
        "url": cluster.url,
        "identity": cluster.shown_identity,
        "running": cluster.running,
        "paused": cluster.faults.paused,
        "watches": cluster.open_watches,
        "clockSkew": cluster.faults.clock_skew,
        "faults": msgspec.to_builtins(cluster.faults.rules),
    }
