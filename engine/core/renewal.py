"""When an issued credential is renewed, and when it is looked at again. Pure."""

from __future__ import annotations

RENEW_AT, RENEW_JITTER = 0.8, 0.05
"""Share of its life at which a credential is renewed, and how far that is spread to both sides: 3 minutes each of an hour."""
LOOK_SECONDS = 120.0
"""Between two looks at what is not watched, on average: Secrets that we write, accounts that they are for. Two small reads
each, so a thousand imports cost 17 a second; whoever deletes one of them waits no longer than this and a half."""


def renewal(issued_at: float, seconds: float, seed: float) -> float:
    """Return the time at which a credential is renewed.

    Args:
        issued_at: by any clock.
        seconds: its life, by the clock of the server that issued it; so it does not matter how far the clocks differ.
        seed: a number in [0, 1) that spreads renewals.

    """
    return issued_at + seconds * (RENEW_AT + RENEW_JITTER * (2 * seed - 1))


def next_look(now: float, every: float, seed: float) -> float:
    """Return the time of the next look, from half to one and a half times `every` seconds from now."""
    return now + every * (0.5 + seed)
