"""What the pages' listener answers to programs: the JSON twin of each page, and a few documents beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiohttp import web

from dsage.account import Count
from dsage.errors import LoggedOut
from dsage_server.api.declared import JSON, RESEARCHER, UNCHANGED, Call, Says, calls_of, twin
from dsage_server.web import joining
from dsage_server.web.operators.desk import ROOMS as OPERATORS
from dsage_server.web.page import NUMBERED, Page
from dsage_server.web.personal import ways
from dsage_server.web.personal.serving import ROOMS
from dsage_server.web.public import PAGES
from dsage_server.web.public.discoveries import DISCOVERIES
from dsage_server.web.researchers import TWINS


def page_calls(app: web.Application) -> Iterator[Call]:
    """Yield the calls of the application that serves the pages."""
    for page in PAGES:
        yield twin(page.route, page.document, _types(page))
    for room in ROOMS:
        said = Says(
            gives=room.document, media=JSON, query={"page": Count} if room.listed else {}, errors=(LoggedOut,),
            schema=room.document.schema,
        )  # fmt: skip
        yield _read(f"{room.route}.json", "A page of whoever the browser's cookie is logged in as", said)
    for desk in OPERATORS:
        query = dict.fromkeys((name for name, _ in desk.params), str)
        given = desk.document
        said = Says(gives=given, media=JSON, query=query, errors=(LoggedOut,), schema=given.schema)
        yield _read(f"{desk.route}.json", "A page of the operator, for who is logged in as that", said)
    for route, sheet, asked in TWINS:
        said = Says(gives=sheet, media=JSON, query=asked, auth=RESEARCHER, scope="read", schema=sheet.schema)
        yield _read(f"{route}.json", "A page of the researcher whose API token or cookie is shown", said)
    kept = Says(
        gives=DISCOVERIES.document, media=JSON, query=_types(DISCOVERIES), also={304: UNCHANGED},
        schema=DISCOVERIES.document.schema,
    )  # fmt: skip
    yield _read("/api/v1/discoveries", "The published discoveries, under an address that stays", kept)
    join = Says(gives=joining.Twin, media=JSON, also={304: UNCHANGED}, schema=joining.SCHEMA)
    yield _read("/join.json", "What somebody would join, and with which client", join)
    says = Says(gives=ways.WaysPage, media=JSON, schema=ways.WaysPage.schema)
    yield _read("/login.json", "How one logs in, and as what this browser is", says)
    index = Says(gives=dict[str, Any], media=JSON, also={304: UNCHANGED})
    yield _read("/export.json", "The files for statistics sites, with their hashes", index)
    signed = Says(gives=dict[str, Any], media=JSON, also={304: UNCHANGED})
    yield _read("/app/{hash}.json", "An app version as its researcher signed it (DSSE)", signed)
    yield _read("/healthz", "Whether callers should be sent to this process", Says(gives=dict[str, str], media=JSON))
    yield from calls_of(app)


def _types(page: Page) -> dict[str, Any]:
    return {name: Count if param is NUMBERED else str for name, param in page.params.items()}


def _read(path: str, summary: str, says: Says) -> Call:
    return Call(method="GET", path=path, summary=summary, says=says)
