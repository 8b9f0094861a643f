"""The hub's answer to clusters that ask to join: judged by their ClusterJoin, recorded in it, signed with the account's key.

In: `JoinAsk`s on `crosscurrent.join`, from anybody. Out: a JWT for the key that was sent, or a refusal, which stands in the
ClusterJoin's conditions and in the log. No secret leaves: a JWT is worth nothing without the private key of the asker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from engine.core.broker_trust import BrokerTrust
from engine.core.joining import STRANGER, ClusterJoin, Mode, Verdict, judge, standing_after
from engine.runtime import log_wire as wire
from engine.runtime.jetstream import Connection
from engine.runtime.join_store import JoinStore, Stored, StoreFailed
from engine.runtime.ports import Clock, EventLog, EventLogError
from engine.runtime.rate_cap import RateCap
from schemas import subjects
from schemas.clusters import CLUSTERS, DISENGAGED, ClusterRecord
from schemas.facts import decode_fact
from schemas.members import JoinAnswer, JoinAsk, Orders, encode, join_asks
from schemas.names import ClusterId, ClusterName, is_cluster_name

CREDENTIAL_SECONDS = 3600
"""Life of a member's credential: a stolen one ends by itself, and a hub that is away for longer is no harm (`joining`)."""
PER_SECOND = 20.0
"""Questions that are looked at. A thousand members renew once an hour each; the rest is somebody knocking."""
PATIENCE_SECONDS = 4.0
"""The agent waits five."""
WAITING = 128
"""Questions at once; each is 64 KB at most."""
TRIES = 5
"""Reads and writes of a ClusterJoin that others write at the same time."""

_log = structlog.get_logger(__name__)


class JoinResponder:
    """Answers those who ask to join.

    Args:
        connection: to the broker, as the engine.
        log: tells which clusters have which identity.
        clock: time.
        store: the ClusterJoins.
        trust: signs.
        orders: what members are to do; mode and labels are of their ClusterJoins.
        taken: returns where else a cluster of some name comes from, empty if it does not.

    """

    def __init__(
        self,
        connection: Connection,
        log: EventLog,
        clock: Clock,
        store: JoinStore,
        trust: BrokerTrust,
        *,
        orders: Orders,
        taken: Callable[[ClusterName], str],
    ) -> None:
        self._connection, self._event_log, self._clock = connection, log, clock
        self._store, self._trust, self._orders, self._taken = store, trust, orders, taken
        self._cap = RateCap(PER_SECOND, clock)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer until cancelled."""
        subscription = await self._connection.subscribe(subjects.JOIN, self._route, queue="join")
        try:
            await asyncio.Event().wait()
        finally:
            await subscription.end()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _route(self, _subject: bytes, reply: bytes, _headers: bytes, body: bytes) -> None:
        if len(self._tasks) >= WAITING:
            return  # asked again, with a back-off
        task = asyncio.create_task(self._serve(reply, body), name="join")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reply: bytes, body: bytes) -> None:
        try:
            ask = join_asks.decode(body)
        except msgspec.DecodeError:
            answer = JoinAnswer(reason="Invalid", message="the question cannot be understood")
        else:
            if not await self._cap.turn(self._clock.monotonic() + PATIENCE_SECONDS):
                return
            answer = await self.answer(ask)
        self._connection.write(wire.publish(reply, encode(answer)))

    async def answer(self, ask: JoinAsk) -> JoinAnswer:
        """Judge one question, record what came of it, and return the answer."""
        try:
            verdict, join = await self._decide(ask)
        except (StoreFailed, EventLogError) as problem:
            _log.warning("join cannot be judged now", cluster=ask.cluster, problem=str(problem))
            return JoinAnswer(reason="Unavailable", message="the hub cannot look it up just now")
        if not verdict.admitted or join is None:
            _log.warning("join refused", cluster=ask.cluster[:64], reason=verdict.reason, message=verdict.message)
            return JoinAnswer(reason=verdict.reason if verdict.said != STRANGER else "Refused", message=verdict.said)
        _log.info("cluster admitted", cluster=ask.cluster, how=verdict.reason, identity=ask.identity, key=ask.key)
        now = int(self._clock.time())
        jwt = self._trust.member(ask.cluster, ask.key, issued_at=now, seconds=CREDENTIAL_SECONDS)
        orders = msgspec.structs.replace(self._orders, labels=join.metadata.labels, watch=join.spec.mode is Mode.PULL)
        return JoinAnswer(jwt=jwt, seconds=CREDENTIAL_SECONDS, orders=orders)

    async def _decide(self, ask: JoinAsk) -> tuple[Verdict, ClusterJoin | None]:
        others = await self._identities()
        for _ in range(TRIES):
            stored = await self._store.read(ask.cluster) if is_cluster_name(ask.cluster) else None
            now = self._clock.time()
            join = None if stored is None else stored.join
            verdict = judge(join, ask, others, now, taken=self._taken(ask.cluster))
            if stored is None or await self._record(ask, stored, verdict, now):
                return verdict, join
        raise StoreFailed(f"patch clusterjoins/status {ask.cluster}: others write it all the time")

    async def _record(self, ask: JoinAsk, stored: Stored, verdict: Verdict, now: float) -> bool:
        """Write what came of it; False where it has to be judged again, because the object is another by now."""
        status = standing_after(stored.join, ask, verdict, now)
        return status is None or await self._store.write(ask.cluster, stored, status)

    async def _identities(self) -> dict[ClusterId, ClusterName]:
        """Return the clusters that are watched; one that has left may come back by another name."""
        pattern = subjects.facts_in("*", CLUSTERS.group, CLUSTERS.plural, "")
        found = {}
        for record in (await self._event_log.last("STATE", [pattern])).values():
            try:
                described = msgspec.json.decode(decode_fact(record.body).data, type=ClusterRecord)
            except msgspec.DecodeError:
                continue  # of a cluster that is forgotten
            if described.status.reason != DISENGAGED:
                found[described.status.identity] = described.metadata.name
        return found
