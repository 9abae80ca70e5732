"""Large answers: kept as blobs before the commit that takes them, and read back by whoever needs the value.

Only what a host may report is kept, so that nobody fills the disk with answers to nothing. Equal answers are one blob.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from dsage import wire
from dsage.errors import Busy, NotFound, StorageFull
from dsage.trust.documents import SignedResult
from dsage_server.blobs.library import Blobs
from dsage_server.store import reports, unfolded
from dsage_validator.checks import is_value

log = logging.getLogger(__name__)

LARGE_BYTES: Final = 256 << 10
"""Longer answers are no rows of the database: they would make its pages, log and backups slow for all others."""
WITH_VALUE: Final = ("done", "aborted")
"""What a result says that may have a value to keep: the answer, or what was done when it was called off."""
AT_A_TIME: Final = 4
"""Large answers that are checked and written at once; their calls wait, and no other."""


class LargeAnswers:
    """What keeps the large answers of calls."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._turns = asyncio.Semaphore(AT_A_TIME)

    async def keep(self, host: int, results: Sequence[tuple[SignedResult, wire.Report]]) -> dict[str, bool]:
        """Keep the large answers that a host reports; return, by hash, whether each is a value at all.

        One that is none is not kept, nor is one that the host may not report. Where the blobs have no room or are away,
        answers go into the database like small ones, as long as that has room: the others of their call need not wait.
        """
        large = {
            signed.replica: (signed, value)
            for signed, report in results
            if (value := _large(report)) and signed.status in WITH_VALUE
        }
        if not large:
            return {}
        claimed = [(replica, signed.lease, len(value)) for replica, (signed, value) in large.items()]
        welcome = await self._blobs.store.read(lambda c: reports.welcome(c, host, claimed))
        found: dict[str, bool] = {}
        for signed, value in [entry for replica, entry in large.items() if replica in welcome]:
            async with self._turns:
                found[signed.value] = await asyncio.to_thread(is_value, value)
                if found[signed.value] and not await self._kept(signed.value, value):
                    del found[signed.value]
        return found

    async def _kept(self, sha256: str, value: bytes) -> bool:
        try:
            await self._blobs.keep(sha256, value)
        except (StorageFull, Busy) as error:
            log.warning("a large answer goes into the database: %s", error.message)
            return False
        return True


def _large(report: wire.Report) -> bytes | None:
    return report.value if report.value is not None and len(report.value) > LARGE_BYTES else None


async def read(blobs: Blobs, sha256: str) -> bytes:
    """Return a large answer. Raises Busy while it cannot be had: there is no other copy."""
    try:
        return await blobs.read(sha256, wire.MAX_BODY_BYTES)
    except NotFound as error:
        raise Busy(
            f"the answer {sha256[:12]} is not among the server's blobs", hint="Its operator can put it back."
        ) from error


async def fill(blobs: Blobs, found: wire.Answers) -> None:
    """Put the large values into a driver's answers, where they stand empty. Raises Busy."""
    told = [*found.answers, *found.retracted]
    empty = [answer.unit for answer in told if answer.value == b""]
    if not empty:
        return
    hashes = await blobs.store.read(lambda c: unfolded.large_answers(c, empty))
    for answer in told:
        if answer.value == b"":
            answer.value = await read(blobs, hashes.get(answer.unit, "0" * 64))
