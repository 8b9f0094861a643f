"""The clusters of the configuration, by kubeconfig contexts; the files are looked at every second (a provider)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from engine.runtime.context_file import ContextFile
from engine.runtime.ports import Clock
from engine.runtime.registry import Member
from schemas.config import ClusterConfig

LOOK_SECONDS = 1.0
"""Between two looks, at a few files each: what is rotated is in use within 5 s, as for every provider."""


class DeclaredClusters:
    """Declared clusters (the port `Provider`)."""

    hub = None

    def __init__(
        self,
        declared: Sequence[ClusterConfig],
        directory: Path,
        clock: Clock,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Read each for the first time.

        Args:
            declared: the clusters.
            directory: that relative paths start from.
            clock: time.
            environ: environment; the process's own if None.

        Raises:
            KubeconfigError: when one cannot be used.

        """
        self._clock = clock
        self._files = [(config, ContextFile(config, directory, environ)) for config in declared]

    def members(self) -> list[Member]:
        """Return the clusters as last read."""
        return [
            Member(name=config.name, source="the configuration", context=file.context, labels=config.labels)
            for config, file in self._files
        ]

    async def run(self, found: Callable[[Sequence[Member]], None], trouble: Callable[[str], None]) -> None:  # noqa: ARG002
        """Report until cancelled."""
        members = self.members()
        found(members)
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self._look)
            if (now := self.members()) != members:
                members = now
                found(members)

    def _look(self) -> None:
        for _, file in self._files:
            file()
