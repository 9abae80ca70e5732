"""Why a run stands still is said where people look for it."""

from __future__ import annotations

import os

import pytest
from elsewhere import square

from dsage import connect
from dsage.family import Family


def test_what_no_computer_offers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Family(1)
    monkeypatch.setenv("DSAGE_HOME", str(family.home))
    try:
        with connect() as grid:
            job = grid.map(square, [1], needs=["nobody-has-this"])
            while not job.view.reason:
                assert not job.done
            assert job.view.reason == "no computer that is connected offers nobody-has-this"
            job.kill()
            assert grid.map(square, [3], quorum=1).wait(60) == [9]
    finally:
        family.close()
    assert not os.path.exists(family.folder)
