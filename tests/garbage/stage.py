"""Cases side by side: those of one group run at once, each in a namespace and a thread of its own.

A group is a marker, `together("name")`. When the first of its cases is asked for, all that were selected begin; each test
then only waits for its own. Cases without a group run alone. In between, the fleet recovers from what was done to it.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future

import pytest

from engine.sandbox.api_servers import ApiServer
from schemas.names import ClusterName, ObjectRef
from tests.e2e.system import System, namespace
from tests.garbage.audit import AuditLog
from tests.garbage.objects import MERGE, collection
from tests.garbage.proxy import Proxy
from tests.garbage.pulse import Pulse
from tests.garbage.scene import PATIENCE, Scene, until
from tests.garbage.standing import Standing

Run = tuple[Future[None], list[float]]
STARTS = "start"
"""The group whose case starts the system itself."""


class Meeting:
    """Where the cases of a group wait for each other; those that have ended are not waited for (the port `Meet`)."""

    def __init__(self, cases: Iterable[str]) -> None:
        self._cases = set(cases)
        self._arrived: Counter[str] = Counter()
        self._changed = threading.Condition()

    def at(self, point: str) -> None:
        """Wait until every case that still runs has come here."""
        with self._changed:
            self._arrived[point] += 1
            self._changed.notify_all()
            met = self._changed.wait_for(lambda: self._arrived[point] >= len(self._cases), 2 * PATIENCE)
            assert met, f"the others did not come to {point!r}"

    def after(self, *cases: str) -> None:
        """Wait until other cases have ended."""
        with self._changed:
            met = self._changed.wait_for(lambda: self._cases.isdisjoint(cases), 2 * PATIENCE)
            assert met, f"{cases} have not ended"

    def leave(self, case: str) -> None:
        """Say that a case has ended."""
        with self._changed:
            self._cases.discard(case)
            self._changed.notify_all()


class Stage:
    """Runs cases."""

    def __init__(
        self,
        clusters: Sequence[ApiServer],
        proxies: dict[str, Proxy],
        system: System,
        audits: dict[str, AuditLog],
        prepare: Callable[[ApiServer, str], None],
    ) -> None:
        """Take the fleet.

        Args:
            clusters: a, b and c.
            proxies: by cluster.
            system: that reconciles them.
            audits: by cluster.
            prepare: prepares a case's namespace in a cluster.

        """
        self._clusters, self._proxies, self._system, self._audits = clusters, proxies, system, audits
        self._prepare = prepare
        self._standing = Standing(system)
        self._pulse = Pulse(clusters, proxies)
        self._numbers = itertools.count(1)
        self._touches = itertools.count(1)
        self._running: dict[str, Run] = {}

    def result(self, item: pytest.Function) -> float:
        """Run a case, if it does not run yet, with those that belong to it, and return its seconds; raises what it raised."""
        if item.nodeid not in self._running:
            group = group_of(item)
            if group != STARTS:
                self._recover()
            items = [one for one in item.session.items if isinstance(one, pytest.Function) and is_case(one)]
            self._begin([one for one in items if one is item or (group and group_of(one) == group)])
        future, seconds = self._running[item.nodeid]
        try:
            future.result()
        finally:
            item.user_properties.append(("seconds", sum(seconds)))
        return sum(seconds)

    def _begin(self, items: Sequence[pytest.Function]) -> None:
        meeting = Meeting(item.name for item in items)
        for item in items:
            run = self._running[item.nodeid] = (Future(), [])
            threading.Thread(target=self._run, args=(item, meeting, *run), name=item.name, daemon=True).start()

    def _run(self, item: pytest.Function, meeting: Meeting, future: Future[None], seconds: list[float]) -> None:
        began = time.monotonic()
        try:
            scene = self._scene(item.name, meeting)
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            item.obj(scene=scene, **parameters)
            scene.check()
        except BaseException as problem:  # noqa: BLE001 - raised again where the test is
            future.set_exception(problem)
        else:
            future.set_result(None)
        finally:
            seconds.append(time.monotonic() - began)
            meeting.leave(item.name)

    def _scene(self, name: str, meeting: Meeting) -> Scene:
        words = re.sub(r"[^a-z0-9]+", "-", name.removeprefix("test_").lower())[:40].strip("-")
        ns = namespace(self._clusters, f"{words}-{next(self._numbers)}")
        for cluster in self._clusters:
            self._prepare(cluster, ns)
        return Scene(
            ns, self._clusters, self._proxies, self._system, self._standing, self._audits, self._pulse, meeting
        )

    def _recover(self) -> None:
        """Wait until the system is there and every watch that was cut is back: what is written now is seen."""
        if self._system.process is None:
            self._system.start()
        if not any(proxy.disturbed for proxy in self._proxies.values()):
            return
        names = {cluster.name for cluster in self._clusters}
        until(lambda: names <= self._standing.live(), what=self._system.tail)
        wanted = {}
        for cluster in self._clusters:
            for kind, group in (("ConfigMap", ""), ("Gadget", "xgc.dev")):
                path, body = f"{collection(kind, 'pulse')}/canary", {"data": {"n": str(next(self._touches))}}
                status, answer = cluster.client.request("PATCH", path, body, content_type=MERGE)
                assert status == 200, answer
                plural = path.split("/")[-2]
                ref = ObjectRef(ClusterName(cluster.name), group, plural, "pulse", "canary")
                wanted[ref] = answer["metadata"]["resourceVersion"]
        until(lambda: self._standing.versions(list(wanted)) == wanted, what=self._system.tail)
        for proxy in self._proxies.values():
            proxy.disturbed = False


def is_case(item: pytest.Item) -> bool:
    """Return whether a test is one of the forty."""
    return item.name.startswith("test_xgc_")


def group_of(item: pytest.Item) -> str:
    """Return the group of a case; empty: it runs alone."""
    marker = item.get_closest_marker("together")
    return str(marker.args[0]) if marker else ""
