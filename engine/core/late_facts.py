"""What of a member's late messages is still news: they waited in the member, perhaps for hours, while the hub was away. Pure.

Whoever sends something again after its answer was lost cannot know whether it was stored, and the broker remembers ids for
some minutes only. So each message is held against what FACTS holds last of its subject. A fact that was stored, or that
another agent of the same cluster has overtaken, would set its object back if it were stored now. A sync record of the same
watch is as old as its number. The cluster's own record is told apart by its id alone: the hub writes over it meanwhile, by
another clock, so that it may come twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas import subjects
from schemas.clusters import CLUSTERS
from schemas.facts import FactId
from schemas.members import LogMessage
from schemas.names import newer


def news(messages: Sequence[LogMessage], last: Mapping[str, str]) -> list[LogMessage]:
    """Return the messages that are to be stored, in order.

    Args:
        messages: of one member, in order, each with an id of ours.
        last: the id of the last message of each subject that has one.

    """
    return [one for one in messages if not _is_known(one, last.get(one.subject, ""))]


def _is_known(message: LogMessage, last: str) -> bool:
    if not last or message.id == last:
        return bool(last)
    if message.subject.startswith(f"{subjects.SYNC}."):
        return _is_earlier_record(message.id, last)
    try:
        told, known = FactId.parse(message.id), FactId.parse(last)
    except ValueError:
        return False
    records = (told.group, told.resource) == (CLUSTERS.group, CLUSTERS.plural)
    if records or told.identity != known.identity:
        return False
    if told.epoch != known.epoch:
        return told.epoch < known.epoch
    if told.version == known.version:
        return told.uid == known.uid and known.deleted and not told.deleted
    return not newer(told.version, known.version)


def _is_earlier_record(told: str, last: str) -> bool:
    """Return whether a sync record is one before the last of the same watch: `.../<watch>/<number>`."""
    watch, _, number = told.rpartition("/")
    last_watch, _, last_number = last.rpartition("/")
    return watch == last_watch and number.isdigit() and last_number.isdigit() and int(number) < int(last_number)
