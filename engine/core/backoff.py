"""Back-off: how long to wait after failures, as values. Time and the seed are passed in.

Client-go's numbers for watches (W-14): 0.8 s, doubled per failure, cap 30 s, jitter 1.0, forgotten after 2 healthy
minutes. The jitter is taken from below the cap, so that no wait is longer than the cap unless a server asked for it.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

FIRST_SECONDS = 0.8
CAP_SECONDS = 30.0
"""0.03 to 0.07 requests a second and type on a broken cluster; a recovered one is seen within half a minute."""
HEALTHY_SECONDS = 120.0
"""A watch that lived this long has nothing to do with earlier failures."""
MAX_RETRY_AFTER_SECONDS = 300.0
"""A Retry-After is obeyed at least (W-13), but no server may silence a watch for longer than this."""


class Backoff(msgspec.Struct, frozen=True):
    """Consecutive failures and since when things have been well."""

    failures: int = 0
    healthy_since: float | None = None
    """Monotonic seconds when the current success began; None while failing."""
    cap: float = CAP_SECONDS
    """Longest wait in seconds that no server asked for."""


def succeeded(backoff: Backoff, now: float) -> Backoff:
    """Return the back-off after something worked: failures are forgotten once it has worked for `HEALTHY_SECONDS`."""
    if backoff.healthy_since is None:
        return Backoff(backoff.failures, now, backoff.cap)
    if backoff.failures and now - backoff.healthy_since >= HEALTHY_SECONDS:
        return Backoff(0, backoff.healthy_since, backoff.cap)
    return backoff


def failed(backoff: Backoff, now: float, draw: float, retry_after: float = 0.0) -> tuple[Backoff, float]:
    """Return the back-off after a failure, and the seconds to wait.

    Args:
        backoff: as it was.
        now: monotonic seconds.
        draw: jitter in [0, 1), as from `draw`.
        retry_after: seconds that the server asked for; the wait is never shorter.

    """
    failures = succeeded(backoff, now).failures if backoff.healthy_since is not None else backoff.failures
    step = min(backoff.cap / 2, FIRST_SECONDS * 2.0 ** min(failures, 16))
    seconds = max(step * (1.0 + draw), min(retry_after, MAX_RETRY_AFTER_SECONDS))
    return Backoff(failures + 1, cap=backoff.cap), seconds


def draw(seed: int, count: int) -> float:
    """Return a number in [0, 1) that is always the same for a seed and a count: jitter without a random generator."""
    digest = blake2b(b"%d/%d" % (seed, count), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
