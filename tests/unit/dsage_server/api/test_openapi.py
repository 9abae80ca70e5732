"""The description of the API: every call is in it, and it is well formed."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from openapi_spec_validator import OpenAPIV31SpecValidator

from dsage import wire
from dsage.account import Count
from dsage.errors import Conflict
from dsage.trust.documents import Login
from dsage_server.api.declared import Sealed, call, calls_of, twin, undeclared
from dsage_server.api.openapi import PATH, Description, describe
from dsage_server.web.reference import groups


class Shown(msgspec.Struct):
    """What a page shows."""

    schema: ClassVar[str] = "dsage.shown/1"
    people: int


class Handlers:
    @call(takes=wire.Chosen, gives=wire.RunView, auth=("researcher",), errors=(Conflict,))
    async def change(self, request: web.Request) -> web.Response:
        """Change a run.

        In some way.
        """
        raise NotImplementedError

    @call(takes=Sealed(Login), gives=bytes)
    async def enter(self, request: web.Request) -> web.Response:
        """Come in."""
        raise NotImplementedError

    @call(gives=wire.RunView, auth=("researcher", "driver"), open=True, scope="read")
    async def look(self, request: web.Request) -> web.Response:
        """Look at a run."""
        raise NotImplementedError

    async def silent(self, request: web.Request) -> web.Response:
        raise NotImplementedError


@pytest.fixture
def app() -> web.Application:
    handlers, app = Handlers(), web.Application()
    app.add_routes([web.post("/v1/runs/{run}/change", handlers.change), web.get("/v1/hello", handlers.enter)])
    return app


@pytest.fixture
def document(app: web.Application) -> dict[str, Any]:
    pages = [twin(r"/shown/{name:[a-z]{2,3}}", Shown, {"page": Count})]
    return describe(calls_of(app), pages, api_url="https://a", pages_url="http://b")


def test_it_is_well_formed_and_names_every_call(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert sorted(document["paths"]) == ["/shown/{name}.json", "/v1/hello", "/v1/runs/{run}/change"]
    json.dumps(document)


def test_a_call_says_what_it_takes_gives_and_refuses(document: dict[str, Any]) -> None:
    said = document["paths"]["/v1/runs/{run}/change"]["post"]
    assert (said["summary"], said["servers"], said["security"]) == (
        "Change a run", [{"url": "https://a"}], [{"token": ["researcher"]}],
    )  # fmt: skip
    assert said["requestBody"]["content"][wire.MEDIA_TYPE]["schema"] == {"$ref": "#/components/schemas/Chosen"}
    assert said["responses"]["200"]["content"][wire.MEDIA_TYPE]["schema"] == {"$ref": "#/components/schemas/RunView"}
    problems = {
        status: answer["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["code"]["enum"]
        for status, answer in said["responses"].items()
        if status >= "400"
    }
    assert problems == {
        "400": ["request", "usage"], "401": ["logged-out"], "403": ["not-allowed"], "404": ["not-found"],
        "409": ["conflict"], "413": ["too-large"], "426": ["too-old"], "429": ["too-many"], "500": ["error"],
        "503": ["busy"], "507": ["storage-full"],
    }  # fmt: skip
    assert "Retry-After" in said["responses"]["429"]["headers"]
    assert [each.get("name", each.get("$ref")) for each in said["parameters"]] == [
        "run", "#/components/parameters/Protocol",
    ]  # fmt: skip


def test_a_call_that_tells_more_to_whoever_logs_in_is_open_to_all_and_refuses_what_is_no_token() -> None:
    app = web.Application()
    app.add_routes([web.get("/v1/runs/{run}", Handlers().look)])
    document = describe(calls_of(app), [])
    said = document["paths"]["/v1/runs/{run}"]["get"]
    assert said["security"] == [{}, {"token": ["researcher"]}, {"token": ["driver"]}]
    assert {"401", "403"} <= said["responses"].keys()
    OpenAPIV31SpecValidator(document).validate()
    ((operation,),) = groups(document).values()
    assert not operation.auth, "it needs none"


def test_an_envelope_says_what_is_signed(document: dict[str, Any]) -> None:
    said = document["paths"]["/v1/hello"]["get"]
    schema = said["requestBody"]["content"][wire.MEDIA_TYPE]["schema"]
    assert schema["allOf"][0] == {"$ref": "#/components/schemas/Envelope"}
    assert schema["allOf"][1]["properties"]["payload"]["contentSchema"] == {"$ref": "#/components/schemas/Login"}
    assert said["parameters"] == [], "it is open to every protocol"


def test_a_pages_twin_is_wrapped_in_its_schema(document: dict[str, Any]) -> None:
    said = document["paths"]["/shown/{name}.json"]["get"]
    schema = said["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["properties"]["schema"] == {"const": "dsage.shown/1"}
    assert (said["summary"], said["servers"]) == ("What a page shows", [{"url": "http://b"}])
    assert [each["name"] for each in said["parameters"]] == ["name", "page"]


def test_a_call_of_both_listeners_is_one_with_two_addresses(app: web.Application) -> None:
    calls = list(calls_of(app))
    document = describe(calls, calls, api_url="https://a", pages_url="http://b")
    assert document["paths"]["/v1/hello"]["get"]["servers"] == [{"url": "https://a"}, {"url": "http://b"}]
    OpenAPIV31SpecValidator(document).validate()


def test_a_route_that_says_nothing_is_named(app: web.Application) -> None:
    assert undeclared(app) == []
    app.add_routes([web.get("/v1/silent/{x}", Handlers().silent)])
    assert undeclared(app) == ["GET /v1/silent/{x}"]


async def test_it_is_served_with_an_etag(app: web.Application) -> None:
    description = Description(api_calls=list(calls_of(app)), api_url="https://a")
    app.add_routes([web.get(PATH, description.serve)])
    async with TestClient(TestServer(app)) as client:
        async with client.get(PATH) as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            assert "/v1/hello" in (await answer.json())["paths"]
            tag = answer.headers["ETag"]
        async with client.get(PATH, headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304
