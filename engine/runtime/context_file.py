"""A declared cluster's context, read again when one of the files that it comes from has changed.

Whoever rotates credentials writes the kubeconfig anew: a mounted Secret, an import, a person. In: stat of the files, at every
look at the credentials. Out: the context of this moment. A file that is half written or gone leaves the last good one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import structlog

from engine.runtime.kubeconfig import Context, KubeconfigError, kubeconfig_files, resolve_cluster
from schemas.config import ClusterConfig

Signature = tuple[tuple[int, int, int], ...]
"""Of each file: inode, time of change in nanoseconds, size."""

_log = structlog.get_logger(__name__)


class ContextFile:
    """The context of one declared cluster. Call it for the present one; it blocks for a moment, so not in the event loop."""

    def __init__(self, config: ClusterConfig, directory: Path, environ: Mapping[str, str] | None = None) -> None:
        """Read it for the first time.

        Args:
            config: the declaration.
            directory: that its relative paths start from.
            environ: environment; the process's own if None.

        Raises:
            KubeconfigError: when it cannot be used.

        """
        self._config, self._directory = config, directory
        self._environ = dict(os.environ if environ is None else environ)
        self._files = kubeconfig_files(config, directory, self._environ)
        self._signature = self._look()
        self._context = resolve_cluster(config, directory, self._environ)

    @property
    def context(self) -> Context:
        """The context as last read."""
        return self._context

    def __call__(self) -> Context:
        """Return the context, read anew if a file has changed."""
        signature = self._look()
        if signature != self._signature:
            try:
                self._context = resolve_cluster(self._config, self._directory, self._environ)
            except KubeconfigError as error:
                # Looked at again next time, with whatever it is then.
                _log.warning("kubeconfig not taken over", cluster=self._config.name, error=str(error))
            else:
                self._signature = signature
        return self._context

    def _look(self) -> Signature:
        found = []
        for path in self._files:
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)
