"""The form at every page's end: what it keeps, where it leads, and what it does not let in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urljoin, urlsplit

import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient
from hypothesis import example, given
from hypothesis import strategies as st

from dsage_server.web.looks import LONGEST, local

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]
ELSEWHERE = [
    "//evil.invalid", "/\\evil.invalid", "///evil.invalid", "\\\\evil.invalid", "https://evil.invalid/", "evil.invalid",
    "javascript:alert(1)", "", " /x", "/\t/evil.invalid", "/\n/evil.invalid", "/x\r\nSet-Cookie: a=b",
    "/x\r\n\r\n<script>", "/\u2028x", "/ü", "/" + "x" * LONGEST, "data:text/html,x", "?x", "#x", "@evil.invalid",
]  # fmt: skip


@pytest.mark.parametrize("address", ["/", "/leaderboard?page=2", "/run/7", "/u/ada%20x", "/a//b", "/x\\y"])
def test_an_address_of_this_site_is_kept(address: str) -> None:
    assert local(address) == address


@pytest.mark.parametrize("address", ELSEWHERE)
def test_anything_else_is_the_front_page(address: str) -> None:
    assert local(address) == "/"


@given(st.text(alphabet=st.sampled_from("/\\.:@?#% \t\r\nhttpsevil[]ü\x00"), max_size=30) | st.text(max_size=60))
@example("/.//evil.invalid")
@example("/x/..//evil.invalid")
def test_no_address_leads_elsewhere_as_browsers_read_it(address: str) -> None:
    said = local(address)
    seen = urljoin("https://here.example/run/7", said.replace("\\", "/"))
    assert urlsplit(seen).netloc == "here.example"
    assert said.isprintable()


async def test_what_is_chosen_is_kept_and_leads_back(browse: Open) -> None:
    client = await browse()
    form = {"language": "de", "theme": "dark", "back": "/audit"}
    answer = await client.post("/look", data=form, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/audit")
    for name, value in (("language", "de"), ("theme", "dark")):
        cookie = answer.cookies[name]
        assert (cookie.value, cookie["samesite"], cookie["path"]) == (value, "Lax", "/")
    assert 'data-theme="dark"' in await (await client.get("/audit")).text()
    ours = {"Sec-Fetch-Site": "same-origin"}
    answer = await client.post("/look", data=form | {"theme": ""}, headers=ours, allow_redirects=False)
    forgotten = next(said for said in answer.headers.getall("Set-Cookie") if said.startswith("theme="))
    assert "Max-Age=0" in forgotten


@pytest.mark.parametrize("address", ELSEWHERE)
async def test_the_form_leads_nowhere_else(browse: Open, address: str) -> None:
    client = await browse()
    answer = await client.post("/look", data={"language": "en", "theme": "", "back": address}, allow_redirects=False)
    assert answer.headers["Location"] == "/"
    assert set(answer.cookies) <= {"language", "theme"}


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"language": "de"},
        {"language": "tlh", "theme": ""},
        {"language": "d" * 10_000, "theme": "dark"},
        {"language": "de", "theme": "dark\r\nSet-Cookie: a=b"},
        {"language": "de\x00", "theme": "dark"},
        {"language": "de", "theme": "<script>"},
    ],
)
async def test_what_is_not_on_the_form_is_refused(browse: Open, form: dict[str, str]) -> None:
    answer = await (await browse()).post("/look", data=form, allow_redirects=False)
    chosen_nothing_wrong = form == {"language": "de"}
    assert answer.status == (303 if chosen_nothing_wrong else 400)
    if not chosen_nothing_wrong:
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\nde\r\n--x--\r\n"),
        ("application/x-www-form-urlencoded", b"language=%ff%fe&theme=%"),
        ("application/json", b'{"language": "de"}'),
        ("", b"\x00" * 1000),
        ("application/x-www-form-urlencoded", b"a=" + b"x" * (65 << 10)),
    ],
)
async def test_what_is_no_form_is_refused_in_words(browse: Open, kind: str, body: bytes) -> None:
    answer = await (await browse()).post("/look", data=body, headers={"Content-Type": kind}, allow_redirects=False)
    assert 400 <= answer.status < 500
    assert "Set-Cookie" not in answer.headers


async def test_a_file_is_no_language(browse: Open) -> None:
    form = FormData()
    form.add_field("language", b"de", filename="de")
    form.add_field("theme", "dark")
    answer = await (await browse()).post("/look", data=form, allow_redirects=False)
    assert answer.status == 400


@pytest.mark.parametrize("theme", ['"><script>', "x" * 4000, "darker", "DARK"])
async def test_a_theme_that_nobody_offered_is_none(browse: Open, theme: str) -> None:
    answer = await (await browse()).get("/audit", headers={"Cookie": f"theme={theme}; language={theme}"})
    text = await answer.text()
    assert '<html lang="en" dir="ltr">' in text
    assert "<script>" not in text


async def test_who_is_here_as_a_researcher_finds_the_way_to_their_runs(browse: Open) -> None:
    client = await browse()
    nobody, somebody = [
        await (await client.get("/audit", headers={"Cookie": told})).text() for told in ("a=b", "__Host-researcher=x")
    ]
    assert 'href="/runs"' not in nobody
    assert '<a href="/runs">My runs</a>' in somebody
    assert nobody == somebody.replace('    <a href="/runs">My runs</a>\n', "")
    assert 'href="/certify"' in nobody
