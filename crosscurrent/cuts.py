"""`--at`, `--from`, `--to`: a moment as users write it, as a cut through the record."""

from __future__ import annotations

import datetime as dt
import time

from crosscurrent.errors import UserError
from crosscurrent.output import note
from crosscurrent.times import moment
from engine.core.history import Cut, Standing, seconds
from engine.runtime.past import Horizon
from engine.runtime.ports import EventLog

_KEPT = "`nats.fact_days` in the configuration says for how long facts are kept"
_CLOCKS_S = 1.0
"""By how much the broker's clock and ours may differ before a moment counts as future."""


async def find_cut(log: EventLog, option: str, text: str, horizon: Horizon) -> Cut:
    """Return the cut that `-10m` (ago), an RFC 3339 time or a sequence of FACTS means.

    Args:
        log: the record.
        option: what the user wrote it behind, for messages.
        text: what the user wrote.
        horizon: of the record.

    Raises:
        UsageError: when it is none of these.
        UserError: when the record does not reach there, saying what there is.

    """
    begin, end = horizon.begin, horizon.end
    if begin.seq > end.seq:
        raise UserError(
            "no past state can be told yet: there is neither a checkpoint nor a first fact",
            "a running `crosscurrent up` makes a checkpoint within two minutes",
        )
    if text.isascii() and text.isdigit():
        cut = Cut(int(text), await _stored_at(log, int(text), end))
    else:
        asked = moment(text.removeprefix("-"), time.time(), option)
        if asked > time.time() + _CLOCKS_S:
            raise UserError(f"{option} {text}: {stamp(asked)} has not come yet")
        cut = Cut(await log.position("FACTS", asked), asked)
    if cut.seq > end.seq:
        raise UserError(f"{option} {text}: the record ends at sequence {end.seq}, {stamp(end.time)}")
    if cut.seq < begin.seq or cut.seq == 0:
        shown = "" if text == str(cut.seq) else f", and that is {stamp(cut.time)}"
        raise UserError(
            f"{option} {text}: the record begins at sequence {max(begin.seq, 1)}, {stamp(begin.time)}{shown}", _KEPT
        )
    return cut


def say_standings(cut: Cut, standings: list[Standing]) -> None:
    """Print, beside the answer, which moment it is of, how current it is for each cluster, and what is not certain."""
    note(f"state at {stamp(cut.time)}, sequence {cut.seq} of FACTS")
    for one in standings:
        mark = f"last heard of at {stamp(seconds(one.watermark))}" if one.watermark else "not heard of"
        note(f"  {one.cluster}: {mark}")
        for doubt in one.doubts:
            what = f"{doubt.what} " if doubt.what else ""
            note(f"  warning: {one.cluster}: {what}{doubt.why}: what is missing there may have existed")


def standing_documents(cut: Cut, standings: list[Standing]) -> dict[str, object]:
    """Return the same for JSON and YAML."""
    return {
        "sequence": cut.seq,
        "time": stamp(cut.time),
        "clusters": [
            {
                "name": one.cluster,
                "watermark": one.watermark,
                "uncertain": [{"resource": doubt.what, "reason": doubt.why} for doubt in one.doubts],
            }
            for one in standings
        ],
    }


def stamp(at: float) -> str:
    """Return RFC 3339 UTC with milliseconds."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _stored_at(log: EventLog, seq: int, end: Cut) -> float:
    async for record in log.replay("FACTS", [">"], after=seq - 1, until=seq):
        return seconds(record.time)
    return end.time
