"""A server is killed while liars work: the ledger equals a recount from raw rows (`make fault-liars`: 200 times)."""

from __future__ import annotations

import random

import pytest
from liars import ordeal

KILLS = 5


@pytest.mark.timeout(240)
async def test_five_kills_among_liars_leave_every_book_right() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    done = await ordeal(KILLS, seed)
    assert done.faults == []
    assert done.kills.total() == KILLS
    assert any(noted.lie for noted in done.journal)
    assert {entry.kind for entry in done.found.entries} >= {"grant"}
