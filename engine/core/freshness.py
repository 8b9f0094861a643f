"""How old a request is, judged by who receives it, without a common clock. Pure.

A request that waits in a paused agent, or in a broker's buffer, must not be carried out after its sender's lease: the worker
that comes next has been promised to be alone. So an agent gives out tickets, moments by its own clock. Whoever asks it
something names the last ticket that it has, and for how long it has had it. What remains of the time since the ticket was
given, that long taken off, is the time that ticket and request were under way together: never less than the request's own.
"""

from __future__ import annotations

from schemas.members import Ticket

TICKET_SECONDS = 60.0
"""A ticket older than this is not used: two clocks may differ in speed by a thousandth, so 60 ms of a request's seconds."""


def remaining(ticket: Ticket, held: float, timeout: float, *, run: str, now: float) -> float:
    """Return the seconds that are left of a request's time; nothing may be done for it where none are.

    Args:
        ticket: that the request names.
        held: seconds for which its sender has had it.
        timeout: seconds that the request may take from being sent.
        run: of the agent.
        now: by the agent's clock.

    """
    if ticket.run != run or held < 0:
        return 0.0
    return max(0.0, min(timeout, timeout - (now - ticket.at - held)))
