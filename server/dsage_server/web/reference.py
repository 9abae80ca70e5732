"""The description of the API as a page, made from the document that programs read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from dsage_server.api.openapi import PATH, Description
from dsage_server.store import announcements
from dsage_server.store.announcements import Notice
from dsage_server.store.engine import Store
from dsage_server.web.answering import Body, send
from dsage_server.web.looks import Look, look_of
from dsage_server.web.show import Site

ROUTE: Final = "/api"
MOST_MADE: Final = 64


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message, or a parameter: what it holds, as text and with the name of the schema to look at."""

    name: str
    kind: str
    link: str
    required: bool
    about: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """A call, as the page shows it."""

    method: str
    path: str
    summary: str
    auth: bool
    parameters: list[Field]
    takes: Field | None
    answers: list[Field]


@dataclass(frozen=True, slots=True)
class Reference:
    """The handlers. The page is large: it is `made` once in each form, for as long as the same is announced."""

    description: Description
    store: Store
    site: Site
    clock: Callable[[], float]
    made: dict[tuple[object, ...], Body] = field(default_factory=dict)

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(ROUTE, self.page)
        app.router.add_get(PATH, self.description.serve)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page."""
        look, now = look_of(request), self.clock()
        told = await self.store.read(lambda connection: announcements.current(connection, now))
        form = (self.description.api_url, self.description.pages_url, look, *told)
        if form not in self.made:
            if len(self.made) >= MOST_MADE:
                self.made.clear()
            self.made[form] = self._make(look, told)
        return send(request, self.made[form], "text/html")

    def _make(self, look: Look, told: list[Notice]) -> Body:
        document = self.description.document()
        context = {
            "here": ROUTE, "json_url": PATH, "now": 0.0, "about": document["info"]["description"],
            "groups": groups(document), "schemas": schemas(document), "notices": told,
        }  # fmt: skip
        return Body(self.site.page("reference", context, look).encode())


def groups(document: Mapping[str, Any]) -> dict[str, list[Operation]]:
    """Return the calls of a document by what they are about."""
    found: dict[str, list[Operation]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            found[(said.get("tags") or [""])[0]].append(_operation(method, path, said))
    return dict(found)


def schemas(document: Mapping[str, Any]) -> dict[str, list[Field]]:
    """Return the messages of a document with their fields; those that are no objects are left out."""
    return {
        name: [
            _field(part, schema, part in said.get("required", ())) for part, schema in said["properties"].items()
        ]
        for name, said in document["components"]["schemas"].items()
        if "properties" in said
    }  # fmt: skip


def _operation(method: str, path: str, said: Mapping[str, Any]) -> Operation:
    parameters = [
        _field(each["name"], each.get("schema", {}), each.get("required", False), each.get("description", ""))
        for each in said.get("parameters", ())
        if "name" in each
    ]
    takes = _body(said.get("requestBody", {}), "")
    answers = [
        _body(answer, status) or Field(status, "", "", required=True, about=answer.get("description", ""))
        for status, answer in said["responses"].items()
        if status < "400"
    ]
    return Operation(method.upper(), path, said.get("summary", ""), _needs(said), parameters, takes, answers)


def _needs(said: Mapping[str, Any]) -> bool:
    """Whether a call is answered for a token only."""
    ways = said.get("security", [])
    return bool(ways) and {} not in ways


def _body(said: Mapping[str, Any], name: str) -> Field | None:
    for media, content in said.get("content", {}).items():
        schema = content.get("schema", {})
        schema = schema.get("properties", {}).get("data", schema)
        kind, link = _kind(schema)
        return Field(name, kind or media, link, required=True, about=said.get("description", ""))
    return None


def _field(name: str, schema: Mapping[str, Any], required: bool, about: str = "") -> Field:
    kind, link = _kind(schema)
    return Field(name, kind, link, required, about or schema.get("description", ""))


def _kind(schema: Mapping[str, Any]) -> tuple[str, str]:
    """Return a schema in a few words, and the schema that it names."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return name, name
    if "anyOf" in schema:
        parts = [_kind(each) for each in schema["anyOf"]]
        return " or ".join(kind for kind, _ in parts), next((link for _, link in parts if link), "")
    if "items" in schema and isinstance(schema["items"], Mapping):
        kind, link = _kind(schema["items"])
        return f"list of {kind}", link
    if isinstance(schema.get("additionalProperties"), Mapping):
        kind, link = _kind(schema["additionalProperties"])
        return f"{kind} by name", link
    if "const" in schema or "enum" in schema:
        return " | ".join(str(each) for each in schema.get("enum", [schema.get("const")])), ""
    kind = schema.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else str(kind), ""
