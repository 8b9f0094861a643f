"""Says of members that watch themselves what they cannot say: that nothing is heard of their agents, or that they are out.

In: when each was last heard, and who is joined. Out: records. An agent asks the hub something every few seconds whatever
happens, so silence means that it is away; until it is back, what is known of its cluster is old.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import structlog

from engine.runtime.ports import Clock, EventLog, EventLogError
from schemas.clusters import DISENGAGED, ClusterStatus
from schemas.names import ClusterName
from watchers.cluster_record import record_message, restate
from watchers.standing import load_cluster

AWAY = "AgentAway"
AWAY_SECONDS = 20.0
"""Four questions left out: a broker that restarts, or an agent that does, takes less."""
LOOK_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class MemberPresence:
    """Watches over members.

    Args:
        log: where to.
        clock: time.
        joined: returns the members that watch themselves just now.
        heard: when each last asked something, by the clock's monotonic time.

    """

    def __init__(
        self,
        log: EventLog,
        clock: Clock,
        joined: Callable[[], Collection[ClusterName]],
        heard: Mapping[ClusterName, float],
    ) -> None:
        self._event_log, self._clock, self._joined, self._heard = log, clock, joined, heard
        self._since: dict[ClusterName, float] = {}
        """Since when each is joined, as far as we have seen."""
        self._away: dict[ClusterName, ClusterStatus | None] = {}
        """Those who are away, and what they last said of themselves."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except EventLogError as problem:
                _log.warning("not told yet", problem=str(problem))
            await self._clock.sleep(LOOK_SECONDS)

    def note(self) -> None:
        """Note who is joined; called at each change of that, so that nobody comes and goes between two looks."""
        for name in self._joined():
            self._since.setdefault(name, self._clock.monotonic())

    async def look(self) -> None:
        """Publish what has changed.

        Raises:
            EventLogError: when it could not be published; look again.

        """
        self.note()
        now, joined = self._clock.monotonic(), set(self._joined())
        for name in self._since.keys() - joined:
            await restate(
                self._event_log, self._clock, name, DISENGAGED, "no provider of the registry knows it any more"
            )
            del self._since[name]
            self._away.pop(name, None)
            _log.info("member has left", cluster=name)
        for name in joined:
            since = self._since[name]
            silent = now - max(since, self._heard.get(name, since)) > AWAY_SECONDS
            if silent and name not in self._away:
                message = f"nothing heard of its agent for {AWAY_SECONDS:g} s"
                self._away[name] = await restate(self._event_log, self._clock, name, AWAY, message)
                _log.warning("agent is away", cluster=name)
            elif not silent and name in self._away:
                await self._back(name)
                del self._away[name]

    async def _back(self, name: ClusterName) -> None:
        """Publish again what an agent said before, unless it has said something else since."""
        _log.info("agent is back", cluster=name)
        before, record = self._away[name], await load_cluster(self._event_log, name)
        if before is not None and record is not None and record.status.reason == AWAY:
            version = int(self._clock.time() * 1000)
            await self._event_log.publish([record_message(name, before, record.metadata.labels, version)])
