"""Fault proxies in front of the API servers: the engine goes through them, the tests go around them.

On the loopback interface, with TLS and under a name of its own where it is to lose either; towards the API server it is the
engine's user, with a client certificate, so that the audit log tells the engine's requests from everybody else's. Any number
of faults may be in force, each of which concerns the requests that it has something to say about; nothing else is touched
when one begins or ends. What is done to requests is decided here and done in a process of its own (`tests.garbage.relay`).
"""

from __future__ import annotations

import base64
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.certificates import CertificateAuthority
from tests.garbage.line import Line

ENGINE = "crosscurrent-engine"
"""User name of the engine in every audit log."""


@dataclass(frozen=True)
class Asked:
    """A request of the engine's."""

    method: str
    path: str
    query: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What it may be told instead of what the API server says."""

    code: int
    text: str = ""
    kind: str = "application/json"


Verdict = Answer | str | float | Callable[[], None] | None
Fault = Callable[[Asked], Verdict]
"""What to do with a request: answer it, `hang`, `stall` (say 200 and then nothing), `reset`, delay it for seconds, or pass
it on (None), or pass it on, do something and lose the answer (a function). Called in some thread, by one at a time."""


class Proxies:
    """The proxies of some clusters, and the process that they share. As a context manager they are started and ended.

    Args:
        clusters: whom they lead to; the last one's proxy is reached by TLS and by name, which costs as much again as all
            that a proxy does.
        directory: for keys.
        unresolved: directory that makes a name unknown, see `tests/garbage/resolver`.

    """

    def __init__(self, clusters: Sequence[ApiServer], directory: Path, unresolved: Path) -> None:
        self._line = Line(self._answer)
        self._by_name = {
            cluster.name: Proxy(cluster, self._line, directory, unresolved, secured=number == len(clusters) - 1)
            for number, cluster in enumerate(clusters)
        }
        self._after: dict[int, Callable[[], None]] = {}
        """What the tests do once a request has been passed on, by number."""
        self._numbers = itertools.count()

    def __enter__(self) -> dict[str, Proxy]:
        for proxy in self._by_name.values():
            proxy.start()
        return self._by_name

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def _answer(self, question: dict[str, Any]) -> Any:
        if "then" in question:
            self._after.pop(question["then"])()
            return None
        asked = Asked(question["method"], question["path"], question["query"])
        verdict, by = self._by_name[question["cluster"]].verdict(asked)
        if isinstance(verdict, Answer):
            return {"code": verdict.code, "text": verdict.text, "type": verdict.kind}
        if verdict in ("hang", "stall"):
            return {"hold": verdict, "by": by}
        if callable(verdict):
            self._after[number := next(self._numbers)] = verdict
            return {"then": number}
        return verdict


class Proxy:
    """One cluster's proxy.

    Attributes:
        cluster: whom it leads to now; see `leading_to` (XGC-10).
        disturbed: whether watches were cut, or connections refused, since somebody last looked.
        sound: whether nothing is wrong with the cluster as a whole.
        turn: for cases that share an outage and each want it to be of some kind for a while.

    """

    def __init__(self, cluster: ApiServer, line: Line, directory: Path, unresolved: Path, *, secured: bool) -> None:
        """Be reached by `line`."""
        self.name, self.cluster = cluster.name, cluster
        self.disturbed = False
        self._host = f"{cluster.name}.xgc.test"
        self._line, self._directory, self._lost = line, directory, unresolved / self._host
        self._faults: dict[int, tuple[Fault, str, threading.Lock]] = {}
        self._numbers = itertools.count(1)
        self._broken = 0
        self._away, self._sharing = ExitStack(), 0
        self._back = threading.Condition()
        self.turn = threading.Lock()
        self._authority = CertificateAuthority(f"{cluster.name}-proxy")
        self._secured = secured
        self._trusted = self._issue(self._authority, "trusted") if secured else {}
        self.port = 0

    def start(self) -> None:
        """Take connections."""
        self._do("open")
        self._lead_to(self.cluster)
        self.port = self._do("listen", **self._trusted)

    @property
    def kubeconfig(self) -> dict[str, Any]:
        authority = base64.b64encode(self._authority.pem).decode()
        plain = {"server": f"http://127.0.0.1:{self.port}"}
        secured = {"server": f"https://{self._host}:{self.port}", "certificate-authority-data": authority}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.name, "cluster": secured if self._secured else plain}],
            "users": [{"name": "engine", "user": {"token": "the-proxy-knows-who-it-is"}}],
            "contexts": [{"name": self.name, "context": {"cluster": self.name, "user": "engine"}}],
            "current-context": self.name,
        }

    @property
    def sound(self) -> bool:
        return not self._broken

    def requests(self, after: int = 0) -> list[tuple[str, str]]:
        """Return what was asked, method and path with its query, but for so many requests at the beginning."""
        return [(method, path) for method, path in self._do("requests", after=after)]

    def verdict(self, asked: Asked) -> tuple[Verdict, int]:
        """Return what is to be done with a request, and the number of the fault that says so."""
        for number, (fault, part, one_at_a_time) in sorted(self._faults.items(), reverse=True):
            if part in asked.path:
                with one_at_a_time:
                    verdict = fault(asked)
                if verdict is not None:
                    return verdict, number
        return None, -1

    @contextmanager
    def fault(self, fault: Fault, *, part: str = "", last: bool = False) -> Iterator[int]:
        """Let single requests fail for the length of a `with`; no watch notices. The newest fault is asked first.

        Args:
            fault: what is wrong.
            part: what the path of each request that it concerns holds; the others are faster if it is not asked about them.
            last: whether it is asked after all others, however new it is.

        """
        number = 0 if last else next(self._numbers)
        self._faults[number] = fault, part, threading.Lock()
        self._do("watch_for", fault=number, part=part)
        try:
            yield number
        finally:
            self._do("forget", fault=number)
            del self._faults[number]

    @contextmanager
    def outage(
        self, fault: Fault, *, cuts: Fault | None = None, part: str = "", whole: bool = True, last: bool = False
    ) -> Iterator[None]:
        """Let requests fail, cut the watches that this concerns, and at the end those that it holds.

        Args:
            fault: what is wrong.
            cuts: says something of the watches to cut; by default the fault itself is asked.
            part: as for `fault`.
            whole: whether it is the cluster's trouble; False: of some type that nobody else depends on just now.
            last: whether it is what is wrong where no other fault says anything.

        """
        with self._disturbance(whole=whole):
            number = None
            try:
                with self.fault(fault, part=part, last=last) as number:
                    self._cut(lambda asked, _: part in asked.path and (cuts or fault)(asked) is not None)
                    yield
            finally:
                self._cut(lambda _, by: by is not None and by == number)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Be out of reach, from when the first of those who share this begins until the last of them has ended."""
        with self._back:
            self._sharing += 1
            if self._sharing == 1:
                self._away.enter_context(self.outage(lambda _: "reset", last=True))
            mine = self._away
        try:
            yield
        finally:
            with self._back:
                self._sharing -= 1
                if not self._sharing:
                    self._away.close()
                    self._away = ExitStack()
                    self._back.notify_all()
                self._back.wait_for(lambda: self._away is not mine)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections, and cut those there are."""
        with self._disturbance():
            self._do("refuse")
            try:
                yield
            finally:
                self._do("listen", **self._trusted)

    @contextmanager
    def mistrusted(self) -> Iterator[None]:
        """Show a certificate that nobody trusts."""
        assert self._secured
        with self._disturbance():
            self._do("listen", **self._issue(CertificateAuthority("somebody-else"), "untrusted"))
            try:
                yield
            finally:
                self._do("listen", **self._trusted)

    @contextmanager
    def unresolved(self) -> Iterator[None]:
        """Be known under no name any more; nor reached by those who remember where the name led to."""
        assert self._secured
        self._lost.touch()
        with self.refusing():
            try:
                yield
            finally:
                self._lost.unlink()

    @contextmanager
    def leading_to(self, cluster: ApiServer) -> Iterator[None]:
        """Lead to another cluster."""
        before = self.cluster
        with self._disturbance():
            self._lead_to(cluster)
            self._cut(lambda *_: True)
            try:
                yield
            finally:
                self._lead_to(before)
                self._cut(lambda *_: True)

    def disturbing(self) -> AbstractContextManager[None]:
        """Say that the cluster is not sound, for a reason that the proxy cannot know."""
        return self._disturbance()

    @contextmanager
    def _disturbance(self, *, whole: bool = True) -> Iterator[None]:
        self.disturbed = True
        self._broken += whole
        try:
            yield
        finally:
            self._broken -= whole

    def _do(self, do: str, **arguments: Any) -> Any:
        return self._line.call(do, cluster=self.name, **arguments)

    def _cut(self, concerned: Callable[[Asked, int | None], bool]) -> None:
        found = [
            one["number"]
            for one in self._do("streams")
            if concerned(Asked(one["method"], one["path"], one["query"]), one["by"])
        ]
        self._do("cut", numbers=found)

    def _lead_to(self, cluster: ApiServer) -> None:
        """Lead to a cluster as the engine's user there."""
        config = cluster.certificate_kubeconfig(ENGINE, groups=["system:masters"])
        user, server = config["users"][0]["user"], config["clusters"][0]["cluster"]
        paths = {}
        for name, encoded in (
            ("authority", server["certificate-authority-data"]),
            ("certificate", user["client-certificate-data"]),
            ("key", user["client-key-data"]),
        ):
            path = self._directory / f"{self.name}-to-{cluster.name}-{name}.pem"
            path.write_bytes(base64.b64decode(encoded))
            paths[name] = str(path)
        self._do("lead", url=cluster.url, **paths)
        self.cluster = cluster

    def _issue(self, authority: CertificateAuthority, name: str) -> dict[str, str]:
        stem = f"{self.name}-{name}"
        authority.issue("proxy", hosts=(self._host,)).write(self._directory, stem)
        return {
            end: str(self._directory / f"{stem}.{suffix}") for end, suffix in (("certificate", "crt"), ("key", "key"))
        }


def status(code: int, reason: str, **details: Any) -> Answer:
    """A Status as an API server sends it."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": reason,
        "details": details,
    }
    return Answer(code, json.dumps(body))
