"""Fixtures of the record's tests: command lines against a log, and an empty log on the real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from crosscurrent import cli, processes
from engine.runtime.event_log import NatsEventLog
from engine.runtime.jetstream import Connection
from engine.runtime.log_errors import Refused
from engine.runtime.ports import EventLog
from engine.runtime.streams import stream_specs
from engine.sandbox.nats_server import NatsServer

Use = Callable[[EventLog, str], tuple[int, str, str]]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Use:
    """Run command lines against a log, where a configuration names the reconciler of the talk; (exit code, out, err)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROSSCURRENT_NATS_URL", "nats://localhost:4222")
    config = {"apiVersion": "crosscurrent.dev/v1alpha1", "kind": "Config", "reconcilers": ["foo"]}
    (tmp_path / "crosscurrent.yaml").write_text(yaml.safe_dump(config))

    def run(log: EventLog, line: str) -> tuple[int, str, str]:
        async def open_log(*_: object) -> EventLog:
            return log

        monkeypatch.setattr(processes, "open_log", open_log)
        code = cli.run(line.split())
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
async def door(nats_server: NatsServer) -> AsyncIterator[Connection]:
    """A connection to the session's broker, whose streams are deleted."""
    connection = await Connection.open(nats_server.url, name="test", token=nats_server.token)
    for name in stream_specs(fact_days=1):
        with suppress(Refused):
            await connection.api(f"STREAM.DELETE.{name}")
    yield connection
    await connection.close()


@pytest.fixture
async def broker_log(nats_server: NatsServer, door: Connection) -> AsyncIterator[NatsEventLog]:
    """An empty log on the session's broker."""
    log = await NatsEventLog.connect(nats_server.url, token=nats_server.token)
    await log.prepare()
    yield log
    await log.close()
