"""Hosts and app versions: how their copies end, who was found lying, who stands out."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import Connection

from dsage_server.store import fleet
from dsage_server.web.operators.machine import Machine
from dsage_server.web.page import Asked, Document

COPIES = 20_000


class Hosts(Document, kw_only=True):
    """Hosts: all that were here lately, or the `flagged`."""

    schema: ClassVar[str] = "dsage.hosts/1"
    which: str
    hosts: list[fleet.Line]


class OneHost(Document, kw_only=True):
    """One host, by app version."""

    schema: ClassVar[str] = "dsage.host/1"
    host: fleet.Line


class Apps(Document, kw_only=True):
    """How the latest copies ended, by app version and kind of computer, and what is odd about app versions."""

    schema: ClassVar[str] = "dsage.apps/1"
    copies: int
    cells: list[fleet.Cell]
    odd: dict[str, list[fleet.Oddity]]


def hosts(connection: Connection, asked: Asked, _: Machine | None) -> Hosts:
    """Return the hosts."""
    which = asked.query["show"]
    return Hosts(which=which, hosts=fleet.lines(connection, asked.now, flagged=which == "flagged"))


def host(connection: Connection, asked: Asked, _: Machine | None) -> OneHost:
    """Return one host. Raises NotFound."""
    return OneHost(host=fleet.one(connection, asked.number, asked.now))


def apps(connection: Connection, _asked: Asked, _: Machine | None) -> Apps:
    """Return how copies end."""
    return Apps(copies=COPIES, cells=fleet.cells(connection, COPIES), odd=fleet.apps_odd(connection))
