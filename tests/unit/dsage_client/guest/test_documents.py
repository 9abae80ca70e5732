"""docs/preferences.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dsage_client.guest import policy
from dsage_client.guest.preferences import Preferences
from dsage_client.guest.reasons import Reason
from dsage_client.words import LANGUAGES, PSEUDO

TEXT = (Path(__file__).parents[4] / "docs" / "preferences.md").read_text("utf-8")


def named(*headings: str) -> list[str]:
    """Return what stands in back quotes in the first cells of the tables below headings."""
    parts = re.split(r"^## (.*)\n", TEXT, flags=re.MULTILINE)
    below = dict(zip(parts[1::2], parts[2::2], strict=True))
    return [name for heading in headings for name in re.findall(r"^\| `([^`]*)` \|", below[heading], re.MULTILINE)]


def test_every_preference_is_told() -> None:
    assert sorted(named("Preferences")) == sorted(Preferences.__struct_fields__)


def test_every_reason_is_told() -> None:
    assert sorted(named("Reasons")) == sorted(Reason)


@pytest.mark.parametrize("field", ["idle_after_s", "others_percent", "memory_percent", "hottest_c", "network_bytes_s"])
def test_numbers_are_those_of_the_code(field: str) -> None:
    told = re.search(rf"^\| `{field}` \| (\d+) \|", TEXT, re.MULTILINE)
    assert told
    assert float(told[1]) == getattr(Preferences(), field)


def test_the_order_is_that_of_the_steps() -> None:
    order = named("Reasons")
    steps = [step.__name__.strip("_").removesuffix("_stop").replace("_", "-") for step in policy._STEPS]
    assert [reason for reason in order if reason in steps] == steps


def test_every_language_is_told() -> None:
    for language in set(LANGUAGES) - {PSEUDO}:
        assert f"`{language}`" in TEXT
