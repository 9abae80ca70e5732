"""What every answer of the pages carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from dsage import assets
from dsage.errors import TooMany
from dsage_server.web.answering import send_as
from dsage_server.web.looks import PLAIN, Look
from dsage_server.web.refusals import adding_headers, refusing
from dsage_server.web.show import STATIC, Site


@pytest.mark.parametrize(
    ("origin", "tls"),
    [
        ("https://science.example.org", True), ("https://science.example.org:443", True),
        ("https://science.example.org:8443", False), ("http://science.example.org", False), ("", False),
        ("https://[2001:db8::1]:8443", False),
    ],
)  # fmt: skip
async def test_browsers_come_back_by_tls_where_a_whole_name_is_ours(origin: str, tls: bool) -> None:
    response = web.Response()
    await adding_headers(origin)(make_mocked_request("GET", "/"), response)
    said = response.headers.get("Strict-Transport-Security")
    assert said == ("max-age=2592000" if tls else None)


async def test_refusing_a_flood_makes_no_page_for_each() -> None:
    made: list[Look] = []

    class Counting(Site):
        def page(self, template: str, context: Mapping[str, Any], look: Look = PLAIN) -> str:
            made.append(look)
            return super().page(template, context, look)

    async def refuse(_: web.Request) -> web.StreamResponse:
        raise TooMany("more than 7 requests at once", retry_s=len(made) + 1.5)

    answering = refusing(Counting("Lab", assets.load(STATIC)))
    for language in ("en", "en", "de", "de", "en"):
        headers = {"Accept": "text/html", "Accept-Language": language}
        answer = await answering(make_mocked_request("GET", "/", headers=headers), refuse)
        assert isinstance(answer, web.Response)
        assert (answer.status, answer.content_type) == (429, "text/html")
        assert b'lang="%s"' % language.encode() in bytes(answer.body or b"")  # type: ignore[arg-type]
        assert int(answer.headers["Retry-After"]) >= 2
    assert [look.language for look in made] == ["en", "de"]


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True), ("br, gzip", True), ("GZIP;q=0.1", True), ("gzip; q=1.000", True),
        ("gzip;q=0", False), ("gzip; q=0.000, identity", False), ("identity", False), ("x-gzip", False), ("", False),
    ],
)  # fmt: skip
def test_bytes_are_compressed_for_who_takes_them(accepted: str, packed: bool) -> None:
    request = make_mocked_request("GET", "/", headers={"Accept-Encoding": accepted})
    answer = send_as(request, b"plain", lambda: b"packed", "name", "text/html", "no-cache")
    assert isinstance(answer, web.Response)
    assert (answer.body, answer.headers.get("Content-Encoding")) == (
        (b"packed", "gzip") if packed else (b"plain", None)
    )
