"""A server with two volunteers as processes of their own, and a researcher's grid on it, for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dsage import connect
from dsage.family import Family
from dsage.grid import Grid


@pytest.fixture(scope="module")
def family() -> Iterator[Family]:
    made = Family(2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def grid(family: Family) -> Iterator[Grid]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSAGE_HOME", str(family.home))
        with connect() as opened:
            yield opened
