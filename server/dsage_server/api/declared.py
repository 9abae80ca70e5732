"""What each call of the API says of itself, beside its handler: what it takes and gives, for whom, and what it refuses.

The summary is the handler's docstring. openapi.py makes the description of the whole API from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import msgspec
from aiohttp import hdrs, web

from dsage.errors import DSageError

JSON: Final = "application/json"
UNCHANGED: Final = "Nothing has changed since the ETag that was named."
IN_PARTS: Final = {206: "The part that was asked for.", 304: UNCHANGED}
OF_PARTS: Final = {"Range": "The one part that is wanted, in bytes.", "If-Range": "The ETag that the part must be of."}
HOST: Final = ("host",)
RESEARCHER: Final = ("researcher",)
DRIVER: Final = ("researcher", "driver")
"""Whose token opens a call."""
VARIABLE: Final = re.compile(r"\{(\w+)(?::(?:[^{}]|\{[^{}]*\})*)?\}")
"""A variable of a route, with the pattern that it may have."""
H = TypeVar("H", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Sealed:
    """A body that is an envelope around one of these signed documents."""

    documents: tuple[type[msgspec.Struct], ...]

    def __init__(self, *documents: type[msgspec.Struct]) -> None:
        object.__setattr__(self, "documents", documents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """What a call says. A body is a type of message, Sealed, or `bytes`; None is an empty one.

    `auth` are the roles whose token opens it, nobody's if empty; if it is `open`, whoever shows none is answered too,
    with what anybody may know. `scope` is what a researcher's API token must be for
    to open it too ("read" or "write"; empty: none does). `media` is that of the reply where it is neither a message
    nor bytes. `errors` are those beside the ones that each call may answer; `also` are further statuses, with what
    they mean. `schema` marks a page's twin: its reply is {"schema": ..., "data": ...}.
    """

    takes: Any = None
    gives: Any = None
    media: str = ""
    auth: tuple[str, ...] = ()
    open: bool = False
    scope: str = ""
    query: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names of request headers, with what they say."""
    status: int = 0
    errors: tuple[type[DSageError], ...] = ()
    also: Mapping[int, str] = field(default_factory=dict)
    schema: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call: where it is, and what it says."""

    method: str
    path: str
    summary: str
    says: Says


class Declared(Protocol):
    """A handler with a declaration."""

    says: Says


class Document(Protocol):
    """What a page shows: a struct with the name of its schema."""

    schema: str


def call(**said: Any) -> Callable[[H], H]:
    """Declare what a handler answers; the names are those of Says."""

    def declare(handler: H) -> H:
        handler.says = Says(**said)  # type: ignore[attr-defined]  # functions take any attribute
        return handler

    return declare


def calls_of(app: web.Application) -> Iterator[Call]:
    """Yield the calls that an application declares."""
    for path, route in _routes(app):
        says = getattr(route.handler, "says", None)
        if says is not None:
            yield Call(method=route.method, path=path, summary=_first(route.handler.__doc__), says=says)


def undeclared(app: web.Application) -> list[str]:
    """Return the routes of an application that say nothing of themselves."""
    return [f"{route.method} {path}" for path, route in _routes(app) if not hasattr(route.handler, "says")]


def twin(route: str, document: type[Any], query: Mapping[str, Any], summary: str = "") -> Call:
    """Return the call of a page's JSON twin: `route` is the page's, as aiohttp writes it, without the form.

    `document` is what the page shows, with the name of its `schema`; `query` has the types of its parameters.
    """
    path = VARIABLE.sub(r"{\1}", route) + ".json"
    says = Says(gives=document, media=JSON, query=query, also={304: UNCHANGED}, schema=document.schema)
    return Call(method=hdrs.METH_GET, path=path, summary=summary or _first(document.__doc__), says=says)


def _routes(app: web.Application) -> Iterator[tuple[str, web.AbstractRoute]]:
    """Yield routes with their paths; that aiohttp answers HEAD wherever there is a GET is not said each time."""
    for resource in app.router.resources():
        routes = list(resource)
        read = any(route.method == hdrs.METH_GET for route in routes)
        for route in routes:
            if not (read and route.method == hdrs.METH_HEAD):
                yield resource.canonical, route


def _first(text: str | None) -> str:
    return (text or "").strip().partition("\n\n")[0].replace("\n", " ").rstrip(".")
