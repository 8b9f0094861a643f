"""The collector's pulse: how long a collection takes on this machine at this moment, so that nobody has to guess."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Mapping, Sequence

from engine.sandbox.api_servers import ApiServer
from tests.garbage.objects import OWNERS, collection, label_of
from tests.garbage.proxy import Proxy

LIMIT_SECONDS = 200.0
"""A collector that takes longer for one dependent has stopped."""
NAMESPACE = "pulse"


class Pulse:
    """Has one dependent after the other collected, in a cluster that is sound, while somebody waits for it.

    Whoever must see that something stays waits for whole beats instead of seconds: the collector worked meanwhile, and had
    the time in which it collects what is garbage.
    """

    def __init__(self, clusters: Sequence[ApiServer], proxies: Mapping[str, Proxy]) -> None:
        self._clusters, self._proxies = clusters, proxies
        self._count = 0
        self._numbers = itertools.count(1)
        self._waiting, self._busy = 0, False
        self._failure = ""
        self._beating = threading.Condition()
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    def wait(self, beats: int) -> None:
        """Wait for so many beats that begin from now on."""
        with self._beating:
            if not self._waiting:
                self._failure = ""  # of whoever waited before
            self._waiting += 1
            self._beating.notify_all()
            target = self._count + beats + self._busy  # one that is under way began before
            try:
                self._beating.wait_for(lambda: self._failure or self._count >= target)
            finally:
                self._waiting -= 1
            assert not self._failure, self._failure

    def _run(self) -> None:
        while True:
            with self._beating:
                self._beating.wait_for(lambda: self._waiting)
                self._busy = True
            failure = self._beat()
            with self._beating:
                self._count, self._busy = self._count + 1, False
                self._failure = failure
                self._beating.notify_all()

    def _beat(self) -> str:
        number = next(self._numbers)
        try:
            cluster = next(one for one in self._clusters if self._proxies[one.name].sound)
            until = time.monotonic() + LIMIT_SECONDS
            uid = self._make(cluster, f"owner-{number}", {})
            reference = {
                "clusterID": cluster.identity,
                "apiVersion": "xgc.dev/v1",
                "kind": "Gadget",
                "namespace": NAMESPACE,
                "name": f"owner-{number}",
                "uid": uid,
            }
            name = f"dependent-{number}"
            self._make(cluster, name, {OWNERS: json.dumps([reference])})
            path = f"{collection('Gadget', NAMESPACE)}/{name}"
            known = False
            while time.monotonic() < until:
                if not self._proxies[cluster.name].sound:  # a case has disturbed it since: nothing is to be felt there
                    return self._beat()
                status, body = cluster.client.request("GET", path)
                if known and status == 404:
                    return ""
                if not known and label_of(body):
                    known = True
                    cluster.client.request("DELETE", f"{collection('Gadget', NAMESPACE)}/owner-{number}")
                time.sleep(0.1)
        except Exception as problem:  # noqa: BLE001 - those who wait are told
            return f"the collector's pulse cannot be felt: {problem!r}"
        return f"the collector has collected nothing for {LIMIT_SECONDS:.0f} s"

    def _make(self, cluster: ApiServer, name: str, notes: dict[str, str]) -> str:
        body = {"apiVersion": "xgc.dev/v1", "kind": "Gadget", "metadata": {"name": name, "annotations": notes}}
        status, answer = cluster.client.request("POST", collection("Gadget", NAMESPACE), body)
        assert status == 201, answer
        return str(answer["metadata"]["uid"])
