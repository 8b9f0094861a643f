"""What is in the lines of our logs, and what must not be."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from crosscurrent import logs


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    monkeypatch.setenv(logs.FORMAT_VARIABLE, logs.JSON)
    written = io.StringIO()
    logs.configure("test", written)
    yield written
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_a_trace_has_frames_and_none_of_their_variables(stream: io.StringIO) -> None:
    def fails(value: str) -> None:
        message = f"{len(value)} characters"
        raise ValueError(message)

    try:
        fails("hunter" + "2")
    except ValueError:
        structlog.get_logger("x").exception("it broke")
    line = json.loads(stream.getvalue())
    assert line["exception"][0]["exc_value"] == "7 characters"
    assert [frame["name"] for frame in line["exception"][0]["frames"]][-1] == "fails"
    assert "hunter2" not in stream.getvalue()
