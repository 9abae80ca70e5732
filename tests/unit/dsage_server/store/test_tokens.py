"""A challenge is good for one use, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dsage_server.store import tokens
from dsage_server.store.engine import Store
from dsage_server.store.testing import fresh, kinds


@pytest.fixture(params=kinds())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = Store(fresh(tmp_path, request.param))
    yield opened
    opened.close()


def test_a_challenge_is_used_once_until_it_has_run_out(store: Store) -> None:
    def use(challenge: bytes, now: float) -> bool:
        return store.write_now(lambda c: tokens.use_challenge(c, challenge, 100.0, now))

    assert [use(b"one", 1.0), use(b"one", 1.0), use(b"two", 2.0), use(b"one", 99.0)] == [True, False, True, False]
    assert use(b"three", 101.0)
    assert use(b"one", 101.0), "forgotten: whoever asks refuses it for its age"
