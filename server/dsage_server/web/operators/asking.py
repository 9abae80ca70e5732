"""What people ask to be signed: the operator's list. Nothing here signs; `dsage admin approve` does."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from sqlalchemy import Connection

from dsage.trust.keys import parse_public
from dsage_server.store import requests
from dsage_server.web.operators.machine import Machine
from dsage_server.web.page import Asked, Document


class Wish(msgspec.Struct, kw_only=True):
    """A request, and what grants it where there is no database: `command`. It is `signed` if root.json says so."""

    request: requests.Request
    command: str
    signed: bool


class Requests(Document, kw_only=True):
    """All requests, those that wait first."""

    schema: ClassVar[str] = "dsage.requests/1"
    requests: list[Wish]


def wishes(connection: Connection, _asked: Asked, machine: Machine | None) -> Requests:
    """Return what people ask for."""
    root = None if machine is None else machine.root()
    certified = {entry.key: set(entry.projects) for entry in ([] if root is None else root.code_keys)}
    found = []
    for each in requests.listed(connection):
        projects = " ".join(f"--project {project}" for project in each.projects)
        found.append(
            Wish(
                request=each, command=f"dsage keys certify {each.public} {projects} --name {each.name}",
                signed=set(each.projects) <= certified.get(parse_public(each.public), set()),
            )
        )  # fmt: skip
    return Requests(requests=found)
