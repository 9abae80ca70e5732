"""Names of teams: those of any language, and none that could do something to a page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage.errors import UsageError
from dsage_server.store.teams import LONGEST, SHORTEST, checked_name, key_of


@pytest.mark.parametrize(("typed", "name"), [
    ("Otters", "Otters"), ("  Rock   & Roll ", "Rock & Roll"), ("O'Neil's (2nd)", "O'Neil's (2nd)"),
    ("Zoe\u0308", "Zoë"), ("数学の会", "数学の会"), ("فريق", "فريق"), ("गणित", "गणित"), ("7 of 9", "7 of 9"),
])  # fmt: skip
def test_a_name_has_one_spelling(typed: str, name: str) -> None:
    assert checked_name(typed) == name
    assert checked_name(name) == name


@pytest.mark.parametrize("name", [
    "", "ab", "  a  ", "x" * (LONGEST + 1), "x" * 10_000_000, "<script>alert(1)</script>", 'a" onload="x',
    "Otters\n", "Ot\x00ters", "Ot\x1b[31mters", "Ot\u202eters", "Ot\u200bters", "Ott\ud800er", "=1+1", "-Otters",
    "@all", "Otters/../x", "Otters\\x", "a\u0301\u0301\u0301\u0301bc", "Otters \U0001f9a6", "{{ 7*7 }}",
    "\u2028Otters", "\u00a0Otters",
])  # fmt: skip
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a team's name"):
        checked_name(name)


@given(st.text(max_size=60))
def test_what_is_taken_is_short_printable_and_stays_what_it_is(text: str) -> None:
    try:
        name = checked_name(text)
    except UsageError:
        return
    assert SHORTEST <= len(name) <= LONGEST
    assert name.isprintable()
    assert not set(name) & set('<>"\\/{}@')
    assert checked_name(name) == name


def test_names_that_people_would_take_for_the_same_are() -> None:
    assert key_of("OTTERS") == key_of("otters") == key_of("\uff2fTTERS")
    assert key_of("Straße") == key_of("STRASSE")
    assert key_of("Otters") != key_of("Otter")
