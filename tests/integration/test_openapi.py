"""The description that a real server gives of itself, on both listeners: whole, and well formed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator

from dsage.trust.tls import pinned_context
from dsage_server.api.declared import undeclared
from dsage_server.api.openapi import PATH, Description
from dsage_server.api.routes import Api, limits_of
from dsage_server.blobs.uploads import Uploads
from dsage_server.published import Published
from dsage_server.testing import World, running_server
from dsage_server.web.joining import Invitation
from dsage_server.web.pages import make_pages


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


async def fetched(world: World) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(world.running.pages_url + PATH) as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        document: dict[str, Any] = await answer.json()
        return document


async def test_both_listeners_give_one_description_that_is_well_formed(world: World) -> None:
    document = await fetched(world)
    OpenAPIV31SpecValidator(document).validate()
    host = await world.host()
    context = pinned_context(host.conn.ca_pem, host.conn.link.ca)
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(world.running.url + PATH) as answer,  # and no protocol is asked for
    ):
        assert json.loads(await answer.read()) == document
    assert document["paths"]["/v1/exchange"]["post"]["servers"] == [{"url": world.running.url}]
    assert document["paths"]["/index.json"]["get"]["servers"] == [{"url": world.running.pages_url}]


async def test_every_route_of_the_machine_api_says_what_it_is(world: World) -> None:
    description = Description()
    api = Api(
        hub=world.running.hub, uploads=cast(Uploads, None), name="", pages_url="", ca_file=Path(), root_file=Path(),
        published=Published(Path()), limits=limits_of(world.running.hub), description=description,
    )  # fmt: skip
    assert undeclared(api.app()) == []
    assert all(call.summary for call in description.api_calls)
    assert {("POST", call.path) for call in description.api_calls} >= set(api.hot())


async def test_every_page_for_programs_is_described(world: World) -> None:
    app = make_pages(
        world.running.hub.store, server_id="x", name="x", joining=Invitation(published=Published(Path())),
        exports=world.folder,
    )  # fmt: skip
    described = (await fetched(world))["paths"]
    missing = {path for path in _for_programs(app) if path not in described}
    assert missing == set()


def _for_programs(app: web.Application) -> set[str]:
    """Return the addresses of JSON documents among an application's routes."""
    found = set()
    for resource in app.router.resources():
        info = resource.get_info()
        pattern = info["pattern"].pattern if "pattern" in info else info.get("path", "")
        path = resource.canonical
        if "{form}" in path and r"\.json" in pattern:
            found.add(path.replace("{form}", ".json"))
        elif path.endswith(".json") or path.startswith("/api/") or path == "/healthz":
            found.add(path)
    return found
