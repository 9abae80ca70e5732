"""A page's parameters: read strictly, and written as the one address for them."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsage.errors import NotFound
from dsage_server.web.page import LARGEST_ID, MOST_TEXT, NUMBERED, SEARCHED, Document, Page, choice, text, whole
from dsage_server.web.public import PAGES


def example_page() -> Page:
    """A page that may be asked for a page, for a text and for one of two orders."""
    params = {"page": NUMBERED, "q": SEARCHED, "sort": choice("recent", "total")}
    return Page(template="x", route="/x", load=lambda connection, asked: Document(), document=Document, params=params)


@pytest.mark.parametrize(("given_", "number"), [("1", "1"), ("007", "7"), (str(LARGEST_ID), str(LARGEST_ID))])
def test_numbers(given_: str, number: str) -> None:
    assert whole(given_) == number


@pytest.mark.parametrize(
    "given_",
    ["", "0", "-1", "+1", " 1", "1 ", "1.0", "1e3", "٣", "²", "0x1", "1_000", str(2**63), "9" * 10_000],
)
def test_what_is_no_number_is_nowhere(given_: str) -> None:
    with pytest.raises(NotFound) as refused:
        whole(given_)
    assert len(refused.value.message) < 200


@given(st.text())
@example("0" * 18 + "1")
def test_a_number_that_is_read_is_one(given_: str) -> None:
    try:
        number = whole(given_)
    except NotFound:
        return
    assert 0 < int(number) <= LARGEST_ID
    assert whole(number) == number


@given(st.text(max_size=3 * MOST_TEXT))
@example("  a\u200b \t b\x00\x1b[31m ")
@example("x" * (MOST_TEXT + 1))
def test_a_text_to_search_for_is_one_that_can_be_seen(given_: str) -> None:
    try:
        words = text(given_)
    except NotFound:
        assert len(given_) > MOST_TEXT
        return
    assert len(words) <= MOST_TEXT
    assert words.isprintable()
    assert words == " ".join(words.split())
    assert text(words) == words


@given(st.integers(1, LARGEST_ID), st.text(max_size=MOST_TEXT), st.sampled_from(["recent", "total"]))
def test_an_address_leads_to_what_it_was_made_of(number: int, words: str, order: str) -> None:
    page = example_page()
    asked = page.asked({"page": str(number), "q": words, "sort": order, "utm_source": "elsewhere"})
    address = page.query(asked)
    assert page.asked(dict(parse_qsl(address.removeprefix("?"), strict_parsing=bool(address)))) == asked
    assert "utm_source" not in address
    assert address.isascii()
    assert not set(address) & set(" \r\n<>\"'")


def test_the_address_of_what_nobody_asked_for_is_short() -> None:
    page = example_page()
    assert page.query(page.asked({})) == ""
    assert page.query(page.asked({"page": "01", "sort": "recent"})) == ""
    assert page.query(page.asked({"page": "2", "sort": "total"})) == "?page=2&sort=total"


@pytest.mark.parametrize("order", ["", "Recent", "recent ", "x" * 10_000, "recent\x00"])
def test_only_what_is_offered_can_be_chosen(order: str) -> None:
    with pytest.raises(NotFound) as refused:
        example_page().asked({"sort": order})
    assert len(refused.value.message) < 200


@given(st.text(max_size=200))
def test_every_parameter_of_every_page_reads_anything_or_says_no(given_: str) -> None:
    for page in PAGES:
        for name in page.params:
            try:
                asked = page.asked({name: given_})
            except NotFound:
                continue
            assert page.asked(asked) == asked, f"{page.route}: {name} is read twice as another"
