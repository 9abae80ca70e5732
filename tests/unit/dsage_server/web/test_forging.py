"""What another site makes a visitor's browser send is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from dsage_server.web.forging import is_our_own

Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]
HERE = "here.example"
FORM = {"language": "de", "theme": "dark", "back": "/"}
HEADER = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


def sent(**headers: str) -> bool:
    """Whether a POST with these headers (- written as _) is taken as our own."""
    named = {"Host": HERE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return is_our_own(make_mocked_request("POST", "/look", headers=named))


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"Sec_Fetch_Site": "same-origin"}, True),
        ({"Sec_Fetch_Site": "none"}, True),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Sec_Fetch_Site": "cross-site"}, False),
        ({"Sec_Fetch_Site": ""}, False),
        ({"Sec_Fetch_Site": "Same-Origin"}, False),
        ({"Sec_Fetch_Site": "cross-site", "Origin": f"https://{HERE}"}, False),
        ({"Origin": f"https://{HERE}"}, True),
        ({"Origin": f"http://{HERE}"}, True),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": f"https://{HERE}.evil.invalid"}, False),
        ({"Origin": f"https://{HERE}@evil.invalid"}, False),
        ({"Origin": f"https://evil.invalid/{HERE}"}, False),
        ({"Origin": f"https://{HERE}:444"}, False),
        ({"Origin": HERE}, False),
        ({"Origin": "http://[::1"}, False),
        ({"Origin": f"https://{HERE}, https://evil.invalid"}, False),
        ({}, True),
        ({"Cookie": "__Host-volunteer=x"}, False),
        ({"Cookie": "theme=dark"}, False),
        ({"Cookie": "__Host-volunteer=x", "Origin": f"https://{HERE}"}, True),
    ],
)
def test_where_a_request_comes_from(headers: dict[str, str], ours: bool) -> None:
    assert sent(**headers) is ours


@given(HEADER.filter(lambda said: said.strip() not in ("same-origin", "none")), HEADER)
def test_nothing_else_that_a_browser_says_lets_it_in(site: str, origin: str) -> None:
    assert not sent(Sec_Fetch_Site=site, Origin=origin)
    if HERE not in origin:
        assert not sent(Origin=origin)


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.invalid"}])
async def test_a_foreign_form_changes_nothing(browse: Open, headers: dict[str, str]) -> None:
    client = await browse()
    for path in ("/look", "/logout/volunteer", "/login/x", "/nothing-here"):
        answer = await client.post(path, data=FORM, headers=headers, allow_redirects=False)
        assert answer.status == 403, path
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST", "OPTIONS"])
async def test_every_method_but_reading_is_held(browse: Open, method: str) -> None:
    client = await browse()
    answer = await client.request(method, "/look", headers={"Sec-Fetch-Site": "cross-site"}, allow_redirects=False)
    assert answer.status == 403


async def test_reading_from_elsewhere_is_allowed(browse: Open) -> None:
    answer = await (await browse()).get("/audit", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status == 200


async def test_a_form_of_this_site_is_taken(browse: Open) -> None:
    client = await browse()
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": str(client.make_url("/")).rstrip("/")}):
        answer = await client.post("/look", data=FORM, headers=headers, allow_redirects=False)
        assert answer.status == 303
