"""Forms: what is read of them, and what is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

Open = Callable[..., Awaitable[TestClient[web.Request, web.Application]]]
KIND = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("kind", [KIND, f"{KIND}; charset=nonsense", ""])
async def test_fields_are_read_as_utf8_whatever_is_said_about_them(browse: Open, kind: str) -> None:
    client = await browse()
    said = b"language=de&theme=light&theme=dark&back=%2Fstatus"
    answer = await client.post("/look", data=said, headers={"Content-Type": kind}, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/status")
    assert {name: each.value for name, each in answer.cookies.items()} == {"language": "de", "theme": "dark"}


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"\xff=\xff", 400), (b"language=de%00&theme=", 400), (b"a=b&" * 200, 400), (b"x" * 70_000, 413)],
)
async def test_what_no_page_sends_is_refused(browse: Open, body: bytes, status: int) -> None:
    answer = await (await browse()).post("/look", data=body, headers={"Content-Type": KIND, "Accept": "text/html"})
    assert (answer.status, answer.content_type) == (status, "text/html")
