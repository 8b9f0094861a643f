"""Reading last records of a replicated stream, from its leader (DESIGN §5).

A direct get may be answered by any replica, and one that lags would hide what woke a key. The leader answers single
subjects only, as JSON with base64, so this costs about three times as much; with one replica `log_read` is used.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence

from engine.runtime import log_wire as wire
from engine.runtime.jetstream import REQUEST_TIMEOUT_SECONDS, Connection
from engine.runtime.log_errors import NoAnswer, Refused
from engine.runtime.ports import Record

REQUESTS_IN_FLIGHT = 256
"""Per stream and process: enough to hide the round trip, few enough not to flood the broker's API queue (10,000)."""

_NO_MESSAGE = 10037


class LeaderReader:
    """Reads the last records of one stream; behaves as `log_read.LastReader`."""

    def __init__(self, connection: Connection, stream: str) -> None:
        """Read `stream`."""
        self._connection = connection
        self._stream = stream
        self._slots = asyncio.Semaphore(REQUESTS_IN_FLIGHT)

    async def read(
        self, subjects: Sequence[str], most: int | None = None, timeout: float = REQUEST_TIMEOUT_SECONDS
    ) -> dict[str, Record]:
        """Return the last record of each subject that has one, and of each that a wildcard matches, or `most` of those.

        Raises:
            EventLogError: when the broker does not answer within `timeout` seconds, or lacks the stream.

        """
        wild = [subject for subject in subjects if "*" in subject or subject.endswith(">")]
        wanted = dict.fromkeys(subject for subject in subjects if subject not in wild)
        try:
            async with asyncio.timeout(timeout):
                for matching in await asyncio.gather(*map(self._subjects, wild)):
                    wanted |= dict.fromkeys(matching[:most])
                records = await asyncio.gather(*map(self._last, wanted))
        except TimeoutError:
            raise NoAnswer(f"stream {self._stream}: no answer to a read within {timeout:g} s") from None
        return {record.subject: record for record in records if record is not None}

    def flush(self) -> None:
        """Do nothing: nothing waits here for company."""

    def close(self) -> None:
        """Do nothing: what is under way ends with the connection."""

    async def _last(self, subject: str) -> Record | None:
        async with self._slots:
            try:
                answer = await self._connection.api(f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": subject})
            except Refused as problem:
                if problem.err_code == _NO_MESSAGE:
                    return None
                raise
        message = answer["message"]
        headers = base64.b64decode(message.get("hdrs", ""))
        return Record(
            subject=message["subject"],
            seq=message["seq"],
            body=base64.b64decode(message.get("data", "")),
            id=wire.header(headers, b"Nats-Msg-Id").decode(),
            time=message["time"],
        )

    async def _subjects(self, pattern: str) -> list[str]:
        """Return the subjects that match a wildcard."""
        found: list[str] = []
        while True:
            request = {"subjects_filter": pattern, "offset": len(found)}
            info = await self._connection.api(f"STREAM.INFO.{self._stream}", request)
            page = info["state"].get("subjects") or {}
            found += page
            if not page or len(found) >= int(info.get("total", 0)):
                return found
