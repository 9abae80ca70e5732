"""The API's description: an OpenAPI 3.1 document, made of what the calls declare and of the messages' own types."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp import web

from dsage import wire
from dsage.account import Count
from dsage.errors import (
    Busy,
    DSageError,
    LoggedOut,
    NotAllowed,
    NotFound,
    RequestError,
    StorageFull,
    TooLarge,
    TooMany,
    TooOld,
    UsageError,
)
from dsage.inputs import Sha256
from dsage.trust.envelope import Envelope
from dsage_server.api.declared import JSON, UNCHANGED, Call, Sealed, call
from dsage_server.api.http import OPEN_PATHS
from dsage_server.api.problems import MEDIA_TYPE, WAITING, Problem, title

PATH: Final = "/api/v1/openapi.json"
OCTETS: Final = "application/octet-stream"
REF: Final = "#/components/schemas/{name}"
ABOUT: Final = (
    "What a DSage server answers: to volunteers' clients and researchers' drivers (paths under /v1, MessagePack over "
    "TLS, on the machine API's listener), and to anybody (pages as JSON). In MessagePack a string with the "
    "contentEncoding base64 is binary data as it is. Unknown fields of replies are to be ignored."
)
TOKENS: Final = (
    "From POST /v1/login. A researcher's API token (`dsage token new`) opens what says an `x-token-scope`: each with "
    "the scope `write`, only what needs `read` with the scope `read`."
)
VARIABLES: Final[Mapping[str, Any]] = {"run": Count, "number": Count, "hash": Sha256}
"""Types of path variables; others are text."""
LIMITS: Final = {
    "RateLimit": "How many requests are left (r), and in how many seconds all are again (t).",
    "RateLimit-Policy": "How many requests (q) are allowed in a window of so many seconds (w).",
}
SAID_WITH: Final = {
    **{name: {"description": text, "schema": {"type": "string"}} for name, text in LIMITS.items()},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
}
MACHINE: Final = (UsageError, RequestError, Busy, TooMany, NotFound)
PAGES: Final = (RequestError, NotAllowed, NotFound, Busy, TooMany)
"""What any call of either listener may answer."""


def describe(
    api_calls: Iterable[Call], page_calls: Iterable[Call], *, api_url: str = "/", pages_url: str = "/"
) -> dict[str, Any]:
    """Return the description of the calls of the machine API and of the pages, each at its address."""
    listeners = [(api_url, list(api_calls), MACHINE), (pages_url, list(page_calls), PAGES)]
    types = _types([each for _, calls, _ in listeners for each in calls])
    schemas, components = _plain(msgspec.json.schema_components(list(types.values()), ref_template=REF))
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, Any] = defaultdict(dict)
    for url, calls, usual in listeners:
        for each in calls:
            operation = paths[each.path].setdefault(each.method.lower(), _operation(each, schema_of, usual))
            operation.setdefault("servers", []).append({"url": url})
    return {
        "openapi": "3.1.0",
        "info": {"title": "DSage", "version": str(wire.PROTOCOL), "description": ABOUT},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(components.items())),
            "headers": SAID_WITH,
            "parameters": {
                "Protocol": {
                    "name": wire.PROTOCOL_HEADER, "in": "header", "required": True,
                    "description": "The protocol that the caller speaks.",
                    "schema": {"enum": [str(n) for n in range(wire.OLDEST_PROTOCOL, wire.PROTOCOL + 1)]},
                }
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": TOKENS}},
        },
    }  # fmt: skip


@dataclass(slots=True)
class Description:
    """The document of one server, served by each of its listeners: what they answer is told it before it is asked."""

    api_calls: list[Call] = field(default_factory=list)
    page_calls: list[Call] = field(default_factory=list)
    api_url: str = "/"
    pages_url: str = "/"
    _made: bytes = b""

    def document(self) -> dict[str, Any]:
        """Return the document."""
        return describe(self.api_calls, self.page_calls, api_url=self.api_url, pages_url=self.pages_url)

    @call(gives=dict[str, Any], media=JSON, also={304: UNCHANGED})
    async def serve(self, request: web.Request) -> web.Response:
        """This description, as OpenAPI 3.1."""
        if not self._made:
            self._made = json.dumps(self.document(), separators=(",", ":")).encode()
        tag = hashlib.blake2b(self._made, digest_size=12).hexdigest()
        headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
        if any(known.value in (tag, "*") for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=self._made, content_type=JSON, headers=headers)


def _types(calls: Iterable[Call]) -> dict[str, Any]:
    """Return every type that the calls name, by its name; and that of refusals."""
    found: dict[str, Any] = {repr(kind): kind for kind in (Problem, Envelope, str)}
    for each in calls:
        variables = [VARIABLES.get(name, str) for name in _variables(each.path)]
        for kind in (each.says.takes, each.says.gives, *each.says.query.values(), *variables):
            for part in kind.documents if isinstance(kind, Sealed) else (kind,):
                if part not in (None, bytes):
                    found[repr(part)] = part
    return found


def _plain(schema: Any) -> Any:
    """Return a schema with its patterns in the form that all readers know: Python alone ends one with \\Z."""
    if isinstance(schema, dict):
        return {
            name: part.replace(r"\Z", "$") if name == "pattern" and isinstance(part, str) else _plain(part)
            for name, part in schema.items()
        }
    return [_plain(part) for part in schema] if isinstance(schema, list | tuple) else schema


def _operation(each: Call, schema_of: Mapping[str, Any], usual: Iterable[type[DSageError]]) -> dict[str, Any]:
    says = each.says
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schema_of[repr(VARIABLES.get(name, str))]}
        for name in _variables(each.path)
    ]
    for name, kind in says.query.items():
        parameters.append(
            {"name": name, "in": "query", "required": name in says.required, "schema": schema_of[repr(kind)]}
        )
    for name, text in says.headers.items():
        parameters.append({"name": name, "in": "header", "description": text, "schema": {"type": "string"}})
    if usual is MACHINE and each.path not in OPEN_PATHS:
        parameters.append({"$ref": "#/components/parameters/Protocol"})
    operation: dict[str, Any] = {
        "operationId": _named(each), "summary": each.summary, "tags": [_tag(each.path)], "parameters": parameters,
        "responses": {**_success(each, schema_of), **_refusals(_errors(each, usual))},
    }  # fmt: skip
    if says.takes is not None:
        operation["requestBody"] = {"required": True, "content": _content(says.takes, "", schema_of)}
    if says.auth:
        operation["security"] = [*([{}] if says.open else []), *({"token": [role]} for role in says.auth)]
    if says.scope:
        operation["x-token-scope"] = says.scope
    return operation


def _errors(each: Call, usual: Iterable[type[DSageError]]) -> set[type[DSageError]]:
    """Return every error that a call may answer."""
    found = {*usual, *each.says.errors, DSageError}
    if usual is MACHINE and each.path not in OPEN_PATHS:
        found.add(TooOld)
    if each.says.auth:
        found |= {LoggedOut, NotAllowed}
    if each.method not in ("GET", "HEAD"):
        found |= {TooLarge, StorageFull}
    return found


def _success(each: Call, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    says = each.says
    status = says.status or (200 if says.gives is not None else 204)
    main: dict[str, Any] = {"description": each.summary, "headers": _headers()}
    if says.gives is not None:
        main["content"] = _content(says.gives, says.media, schema_of, says.schema)
    answers = {str(status): main}
    for other, text in says.also.items():
        answers[str(other)] = {"description": text, "headers": _headers()}
        if other == 206:
            answers[str(other)]["content"] = {OCTETS: {}}
    return answers


def _content(kind: Any, media: str, schema_of: Mapping[str, Any], twin: str = "") -> dict[str, Any]:
    if kind is bytes:
        return {media or OCTETS: {}}
    schema: dict[str, Any]
    if isinstance(kind, Sealed):
        inside = [schema_of[repr(part)] for part in kind.documents]
        payload = {"contentMediaType": JSON, "contentSchema": inside[0] if len(inside) == 1 else {"anyOf": inside}}
        schema = {"allOf": [schema_of[repr(Envelope)], {"properties": {"payload": payload}}]}
    else:
        schema = schema_of[repr(kind)]
    if twin:
        members = {"schema": {"const": twin}, "data": schema}
        schema = {"type": "object", "properties": members, "required": list(members)}
    return {media or wire.MEDIA_TYPE: {"schema": schema}}


def _refusals(kinds: Iterable[type[DSageError]]) -> dict[str, Any]:
    """Return the responses of errors by status, each with the codes that it may have."""
    by_status: dict[int, list[type[DSageError]]] = defaultdict(list)
    for kind in sorted(kinds, key=lambda kind: kind.code):
        by_status[kind.status].append(kind)
    answers = {}
    for status, found in sorted(by_status.items()):
        codes = {"properties": {"code": {"enum": [kind.code for kind in found]}, "status": {"const": status}}}
        answers[str(status)] = {
            "description": " ".join(f"`{kind.code}`: {title(kind)}" for kind in found),
            "headers": _headers("Retry-After") if status in WAITING else _headers(),
            "content": {MEDIA_TYPE: {"schema": {"allOf": [{"$ref": REF.format(name="Problem")}, codes]}}},
        }
    return answers


def _headers(*more: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*LIMITS, *more)}


def _variables(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)


def _tag(path: str) -> str:
    parts = [part for part in path.split("/") if part and part not in ("v1", "api")]
    return parts[0].partition(".")[0] if path.startswith("/v1/") else "pages"


def _named(each: Call) -> str:
    """Return a name for programs: the method and the words of the path."""
    words = re.findall(r"\w+", each.path)
    return each.method.lower() + "".join(word[:1].upper() + word[1:] for word in words if word != "v1")
