"""Where `up` leaves the address of its broker, so that the other commands find it.

`<state_directory>/broker.json` (mode 0600: it holds the credential) exists while `up` runs. `up` holds a lock on
`<state_directory>/up.lock` for as long: the lock ends with the process however it dies, which a pid alone cannot say
(pids are used again), and it keeps a second `up` from starting a second broker on the same store.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from crosscurrent.errors import BrokerNotFound, UserError
from crosscurrent.settings import Settings

ADDRESS_FILE = "broker.json"
LOCK_FILE = "up.lock"
KEY_FILE = "redaction.key"
SIGNING_KEY_FILE = "signing.key"
BROKER_KEY_FILE = "broker.key"
CREDENTIALS_FILE = "broker.creds"
_NONE = "no running broker found: start `crosscurrent up`, or set nats.url"


class BrokerAddress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to reach a broker."""

    url: str
    token: str = ""
    credentials: str = ""
    """Path of a NATS credentials file: of a configured external broker, or of an embedded one that members join."""
    tls: bool = False
    """Whether it is spoken to by TLS from the first byte on."""
    authority: str = ""
    """Path of the certificates that signed the broker's; empty: those that every machine trusts."""
    server_name: str = ""
    """Name in its certificate; empty: the url's."""
    pid: int = 0
    """Process that runs the embedded broker; 0: external."""


def find_broker(settings: Settings) -> BrokerAddress:
    """Return the configured broker, else the one that a running `up` left word of.

    Raises:
        BrokerNotFound: when there is neither.
        UserError: when the file of its token cannot be read.

    """
    nats = settings.config.nats
    if nats.url:
        token = _token(Path(nats.token_file)) if nats.token_file else nats.token
        return BrokerAddress(url=nats.url, token=token, credentials=nats.credentials)
    path = settings.state_directory / ADDRESS_FILE
    try:
        address = msgspec.json.decode(path.read_bytes(), type=BrokerAddress)
    except FileNotFoundError:
        raise BrokerNotFound(_NONE, f"looked in {settings.state_directory}") from None
    except (OSError, msgspec.DecodeError) as error:
        raise BrokerNotFound(_NONE, f"{path} cannot be read: {error}") from error
    if not is_running(settings.state_directory):
        raise BrokerNotFound(_NONE, f"a `crosscurrent up` (pid {address.pid}) has ended and left {path}")
    return address


def is_running(directory: Path) -> bool:
    """Return whether an `up` holds this state directory."""
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold the state directory for this process, making it if needed.

    Raises:
        UserError: when another `up` holds it, or it cannot be made.

    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UserError(
            f"{directory}: {error.strerror}", "set state_directory to a directory that can be written"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another `crosscurrent up` runs in {directory}{_holder(directory)}",
                "stop it first, or give this one its own state_directory",
            ) from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def announced(directory: Path, address: BrokerAddress) -> Iterator[Path]:
    """Leave word of the broker for as long as the block runs. Call it inside `held`."""
    path = directory / ADDRESS_FILE
    temporary = path.with_suffix(".tmp")
    # Created 0600 and renamed: at no moment is there a readable or half-written credential.
    _write_private(temporary, msgspec.json.encode(address))
    temporary.replace(path)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def redaction_key(directory: Path) -> bytes:
    """Return the key of the hashes that replace Secret values: made once, kept, the same for all watchers here.

    Raises:
        UserError: when it can be neither read nor made.

    """
    return _key(directory / KEY_FILE, "Secrets are watched, so their hashes need a key")


def signing_key(directory: Path) -> bytes:
    """Return the key that signs the owners of the engine's own dependents: made once, kept, the same for all workers here.

    Raises:
        UserError: when it can be neither read nor made.

    """
    return _key(directory / SIGNING_KEY_FILE, "dependents are signed, so that they need no grant")


def broker_key(directory: Path) -> bytes:
    """Return the secret that everything the embedded broker trusts is made from: made once, kept.

    Raises:
        UserError: when it can be neither read nor made.

    """
    return _key(directory / BROKER_KEY_FILE, "members join, so the broker needs keys")


def write_credentials(directory: Path, content: bytes) -> Path:
    """Leave the credentials file of our own processes beside the broker's address, mode 0600, and return its path."""
    path = directory / CREDENTIALS_FILE
    _write_private(path, content)
    return path


def _key(path: Path, purpose: str) -> bytes:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            # Linked into place whole: of several processes that start at once, all read the key of the first.
            temporary = path.with_name(f"{path.name}.{os.getpid()}")
            _write_private(temporary, secrets.token_bytes(32))
            with suppress(FileExistsError):
                os.link(temporary, path)
            temporary.unlink()
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", purpose) from error


def _token(path: Path) -> str:
    try:
        token = path.read_text().strip()  # a newline at its end is the editor's, not the token's
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(f"nats.token_file: {path}: {reason}", "it holds the token that the broker expects") from error
    if not token:
        raise UserError(f"nats.token_file: {path} is empty", "it holds the token that the broker expects")
    return token


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _holder(directory: Path) -> str:
    try:
        address = msgspec.json.decode((directory / ADDRESS_FILE).read_bytes(), type=BrokerAddress)
    except (OSError, msgspec.DecodeError):
        return ""
    return f" (pid {address.pid})"
