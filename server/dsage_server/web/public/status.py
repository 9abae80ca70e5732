"""The server at a glance."""

from __future__ import annotations

from typing import ClassVar, Final

from sqlalchemy import Connection

from dsage_server.store import views
from dsage_server.web.page import Asked, Document, Page
from dsage_server.web.public.lines import RunLine, run_line


class StatusPage(Document, kw_only=True):
    """The server at a glance."""

    schema: ClassVar[str] = "dsage.status/1"
    server_id: str
    name: str
    version: str
    time: float
    volunteers: int
    hosts_live: int
    units: dict[str, int]
    replicas: dict[str, int]
    runs: list[RunLine]


def status(connection: Connection, asked: Asked) -> StatusPage:
    """Return the server at a glance."""
    glance = views.status(connection, asked.server_id, asked.name, asked.now)
    return StatusPage(
        server_id=glance.server_id, name=glance.name, version=glance.version, time=glance.time,
        volunteers=glance.volunteers, hosts_live=glance.hosts_live, units=glance.units, replicas=glance.replicas,
        runs=[run_line(view) for view in glance.runs],
    )  # fmt: skip


PAGES: Final = (Page(template="status", route="/status", load=status, document=StatusPage, live=True),)
