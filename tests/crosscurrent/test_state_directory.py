"""Word of a running broker is found while it is true, and only by its owner."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from crosscurrent.errors import BrokerNotFound, UserError
from crosscurrent.settings import Settings
from crosscurrent.state_directory import ADDRESS_FILE, BrokerAddress, announced, find_broker, held, is_running
from schemas.config import Config, NatsConfig

ADDRESS = BrokerAddress(url="nats://127.0.0.1:4222", token="secret", pid=7)


def settings(directory: Path, nats: NatsConfig | None = None) -> Settings:
    config = Config(
        apiVersion="crosscurrent.dev/v1alpha1",
        kind="Config",
        state_directory=str(directory / "state"),
        nats=nats or NatsConfig(),
    )
    return Settings(config=config, path=None)


def test_other_commands_find_the_broker_while_up_runs(tmp_path: Path) -> None:
    here = settings(tmp_path)
    with held(here.state_directory), announced(here.state_directory, ADDRESS) as path:
        assert find_broker(here) == ADDRESS
        assert path.stat().st_mode & 0o777 == 0o600
        assert here.state_directory.stat().st_mode & 0o777 == 0o700
    assert not path.exists()
    with pytest.raises(BrokerNotFound):
        find_broker(here)


def test_a_file_that_a_killed_up_left_is_not_believed(tmp_path: Path) -> None:
    here = settings(tmp_path)
    here.state_directory.mkdir()
    # Our own pid is alive: what tells a killed `up` from a running one is the lock.
    address = msgspec.structs.replace(ADDRESS, pid=os.getpid())
    (here.state_directory / ADDRESS_FILE).write_bytes(msgspec.json.encode(address))
    with pytest.raises(BrokerNotFound) as raised:
        find_broker(here)
    assert f"(pid {os.getpid()}) has ended" in raised.value.advice
    with held(here.state_directory), announced(here.state_directory, ADDRESS):
        assert find_broker(here) == ADDRESS


def test_a_second_up_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    here = settings(tmp_path)
    with held(here.state_directory), announced(here.state_directory, ADDRESS):
        assert is_running(here.state_directory)
        with (
            pytest.raises(UserError, match=r"another `crosscurrent up` runs in .*/state \(pid 7\)"),
            held(here.state_directory),
        ):
            pass
    assert not is_running(here.state_directory)


def test_a_configured_broker_comes_first(tmp_path: Path) -> None:
    here = settings(tmp_path, NatsConfig(url="nats://elsewhere:4222", token="t"))
    with held(here.state_directory), announced(here.state_directory, ADDRESS):
        assert find_broker(here) == BrokerAddress(url="nats://elsewhere:4222", token="t")


def test_the_token_of_a_configured_broker_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    here = settings(tmp_path, NatsConfig(url="nats://elsewhere:4222", token_file=str(tmp_path / "token")))
    assert find_broker(here).token == "from a file"


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "No such file"), (b" \n", "is empty"), (b"\xff\xfe", "not UTF-8 text")]
)
def test_a_token_file_that_holds_no_token_is_named(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"nats\.token_file: {path}:? {problem}"):
        find_broker(settings(tmp_path, NatsConfig(url="nats://elsewhere:4222", token_file=str(path))))


def test_an_unreadable_file_says_so(tmp_path: Path) -> None:
    here = settings(tmp_path)
    here.state_directory.mkdir()
    (here.state_directory / ADDRESS_FILE).write_text("{")
    with pytest.raises(BrokerNotFound) as raised:
        find_broker(here)
    assert "cannot be read" in raised.value.advice


def test_a_state_directory_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(UserError, match="state: ") as raised, held(tmp_path / "state"):
        pass
    assert "state_directory" in raised.value.advice
