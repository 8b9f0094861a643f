"""The cluster registry: which clusters there are just now and how each is reached, from any number of providers.

    providers (kubeconfig contexts, Secrets, imports, ClusterProfiles, ...)
        -> `Registry` (one set; the first provider that has a name keeps it)
        -> `live_clusters` in workers, a watcher's process, `up` for its children

Rules:
    * A provider that fails changes nothing: only a whole answer of the cluster that it reads says that a cluster is gone.
    * A cluster whose credentials have become unusable stays, with the last good ones, and `Member.problem` says why.
    * A cluster that is gone is disengaged: what its watcher had seen stays, nothing is proven by it, and nothing is deleted
      (as for one that is taken out of the configuration; an `Unregistration` decides otherwise).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import msgspec
import structlog

from engine.core.joining import Mode
from engine.runtime.addresses import DECLARED, Addresses
from engine.runtime.kubeconfig import Context
from engine.runtime.ports import CredentialsRejected
from schemas.names import ClusterName

_log = structlog.get_logger(__name__)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster. Prints no credentials."""

    name: ClusterName
    source: str
    """Where it was found, for messages: `the configuration`, `secrets fleet in hub`."""
    context: Context | None = None
    """How it is reached; None: nothing usable was ever found, or it has joined by itself."""
    joined: Mode | None = None
    """How a cluster that has joined by itself is reached; None: it has not."""
    problem: str = ""
    """Why what is there now is not used; names verb, resource and cluster."""
    labels: dict[str, str] = {}
    addresses: Addresses = DECLARED
    """Where its context may lead."""

    @property
    def fixed(self) -> tuple[object, ...]:
        """What a connection cannot take up in place: with another of these it is another cluster."""
        return self.source, self.addresses, self.joined


class Provider(Protocol):
    """A source of clusters."""

    @property
    def hub(self) -> ClusterName | None:
        """The cluster that it reads, whose condition says what is wrong with that; None: none."""

    async def run(self, found: Callable[[Sequence[Member]], None], trouble: Callable[[str], None]) -> None:
        """Report until cancelled; raises nothing.

        Args:
            found: takes all clusters that there are, whenever something in that changes.
            trouble: takes why they cannot be told just now, naming verb, resource and cluster; empty: they can.

        """


class Registry:
    """The clusters of all providers."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        """Take providers, in the order of precedence."""
        self._providers = tuple(providers)
        self._found: dict[int, Sequence[Member]] = {}
        self._troubles: dict[int, str] = {}
        self._members: dict[ClusterName, Member] = {}
        self._changed = asyncio.Event()
        self._version = 0

    @property
    def members(self) -> Mapping[ClusterName, Member]:
        """The clusters of this moment; replaced, never changed."""
        return self._members

    @property
    def complete(self) -> bool:
        """Whether every provider has told its clusters at least once: what is missing before that may well exist."""
        return len(self._found) == len(self._providers)

    def context(self, name: ClusterName) -> Context:
        """Return how a cluster is reached just now.

        Raises:
            CredentialsRejected: when that is not known; says why.

        """
        member = self._members.get(name)
        if member is None or member.context is None:
            message = member.problem if member else f"no provider knows the cluster {name} any more"
            raise CredentialsRejected(message)
        return member.context

    def problem(self, name: ClusterName) -> str:
        """Return what is wrong with a cluster's credentials, or with the clusters that are read from it."""
        member = self._members.get(name)
        troubles = (self._troubles.get(n, "") for n, one in enumerate(self._providers) if one.hub == name)
        return "; ".join(filter(None, [member.problem if member else "", *troubles]))

    async def run(self) -> None:
        """Follow all providers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for index, provider in enumerate(self._providers):
                running = provider.run(partial(self._take, index), partial(self._note, index))
                group.create_task(running, name=f"clusters {index}")

    async def changed(self, seen: int) -> int:
        """Wait until the registry is another than version `seen`, and return its version; 0 is older than any."""
        while self._version == seen:
            await self._changed.wait()
        return self._version

    def _take(self, index: int, members: Sequence[Member]) -> None:
        self._found[index] = members
        self._troubles.pop(index, None)
        merged: dict[ClusterName, Member] = {}
        for number in sorted(self._found):
            for member in self._found[number]:
                first = merged.setdefault(member.name, member)
                if first is not member:
                    _log.warning("name taken", cluster=member.name, by=first.source, left_out=member.source)
        self._members = merged
        self._announce()

    def _note(self, index: int, trouble: str) -> None:
        if trouble == self._troubles.get(index, ""):
            return
        self._troubles[index] = trouble
        if trouble:
            _log.warning("clusters cannot be told", why=trouble)
        self._announce()

    def _announce(self) -> None:
        self._version += 1
        self._changed.set()
        self._changed = asyncio.Event()
