"""Which language a visitor gets, and what the pseudo-locales do to a text."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from hypothesis import given
from hypothesis import strategies as st

from dsage.assets import load
from dsage_server.sentences.refusals import CODES
from dsage_server.web.looks import Look
from dsage_server.web.show import STATIC, Site
from dsage_server.web.speech import Speech
from dsage_server.web.words import KEPT, LANGUAGES, PSEUDO, language, pseudo, wanted

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]


@pytest.mark.parametrize(
    ("cookie", "accepted", "code"),
    [
        ("", "", "en"),
        ("de", "en", "de"),
        ("", "de", "de"),
        ("", "de-CH, en;q=0.3", "de"),
        ("", "fr, de;q=0.5, en;q=0.7", "en"),
        ("", "fr;q=1, de;q=0.1", "de"),
        ("", "DE-at", "de"),
        ("", "de;q=0, en;q=0.1", "en"),
        ("", "de;q=0", "en"),
        ("", "de;q=1.1.1", "en"),
        ("", "deutsch, *;q=0.5", "en"),
        ("tlh", "de", "de"),
        ("../../etc", "", "en"),
        ("ar-XB", "de", "ar-XB"),
        ("", "ar-XB", "en"),
        ("", "x" * 10_000 + ", de", "en"),
        ("", "de" + ",x" * 10_000, "de"),
        ("", "de;q=" + "9" * 10_000, "en"),
    ],
)
def test_the_language_that_is_wanted(cookie: str, accepted: str, code: str) -> None:
    assert wanted(cookie, accepted) == code


def test_a_text_is_translated_where_it_stands_alone_and_where_it_is_counted() -> None:
    words = language("de").words
    assert (words.gettext("run"), words.ngettext("run", "runs", 2)) == ("Lauf", "Läufe")
    assert words.gettext("said by nobody") == "said by nobody"


@given(st.text(max_size=2000), st.text(max_size=2000))
def test_whatever_is_wanted_there_is_a_language(cookie: str, accepted: str) -> None:
    assert wanted(cookie, accepted) in {*LANGUAGES, *PSEUDO}


def test_the_pseudo_locale_is_longer_and_keeps_what_is_filled_in() -> None:
    text = 'Found by <strong class="x">%(name)s</strong> at %(b1)s, 5 %%: `dsage join` &amp; https://a.example/b'
    said = pseudo(text)
    assert KEPT.findall(said) == KEPT.findall(text)
    assert len(said) > 1.2 * len(text)
    assert (pseudo(""), pseudo(" ")) == ("", " ")


@given(st.text(), st.dictionaries(st.from_regex(r"[a-z_0-9]{1,8}", fullmatch=True), st.integers(), max_size=3))
def test_a_text_can_be_filled_in_as_before(text: str, values: dict[str, int]) -> None:
    pattern = text.replace("%", "%%").replace("<", "").replace("`", "").replace("&", "") + "".join(
        f" %({name})s" for name in values
    )
    said = pseudo(pattern) % values
    assert all(re.search(rf"(?<!\d){value}(?!\d)", said) or str(value) in said for value in values.values())


def test_languages_have_their_own_marks_and_direction() -> None:
    assert language("ar-XB").direction == "rtl"
    assert {language(code).direction for code in ("en", "de", "en-XA")} == {"ltr"}
    assert (Speech(language("en")).credit(1234.5), Speech(language("de")).credit(1234.5)) == ("1,234.5", "1.234,5")
    assert language("de").words.gettext("Skip to the content") == "Zum Inhalt springen"
    assert language("de").words.ngettext("%(n)s volunteer", "%(n)s volunteers", 2) == "%(n)s Freiwillige"


async def test_a_page_says_its_language_and_is_kept_apart_by_it(browse: Open) -> None:
    client = await browse()
    for wish, code, direction in (("de", "de", "ltr"), ("en", "en", "ltr")):
        answer = await client.get("/audit", headers={"Accept-Language": wish})
        assert f'<html lang="{code}" dir="{direction}"' in await answer.text()
        assert "Accept-Language" in answer.headers["Vary"]
    answer = await client.get("/audit", headers={"Cookie": "language=ar-XB"})
    assert '<html lang="ar-XB" dir="rtl"' in await answer.text()


@pytest.mark.parametrize(
    ("code", "heading"),
    [
        ("en", '<h1>There is nothing at <bdi translate="no">/nothing-here</bdi>.</h1>'),
        ("de", '<h1>Unter <bdi translate="no">/nothing-here</bdi> gibt es nichts.</h1>'),
    ],
)
async def test_a_page_that_is_not_there_says_so_in_the_visitors_language(browse: Open, code: str, heading: str) -> None:
    answer = await (await browse()).get("/nothing-here", headers={"Cookie": f"language={code}"})
    assert heading in await answer.text()


@pytest.mark.parametrize(
    ("code", "begin", "words"),
    [
        ("en", "<h1>This is new.</h1>", "Do it otherwise."),
        ("de", "<h1>Das passt nicht dazu, wie es jetzt steht.</h1>", '<p lang="en" dir="ltr">This is new.</p>'),
    ],
)
def test_an_error_without_a_translation_is_said_by_its_code_with_the_english_beneath(
    code: str, begin: str, words: str
) -> None:
    told = {"status": 409, "meant": CODES["conflict"].one, "detail": "this is new", "hint": "Do it otherwise."}
    text = Site("Test", load(STATIC)).page("error", told, Look(code))
    assert begin in text
    assert words in text


async def test_a_wish_as_long_as_a_header_may_be_is_answered(browse: Open) -> None:
    client = await browse()
    answer = await client.get("/audit", headers={"Accept-Language": "de," * 2500})
    assert answer.status == 200
    answer = await client.get("/audit", headers={"Accept-Language": "x" * 10_000})
    assert answer.status in (200, 400, 431)
