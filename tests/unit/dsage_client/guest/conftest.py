"""What the tests of this room share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dsage_client import words


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    words.speak("en")
    yield
    words.speak("en")
