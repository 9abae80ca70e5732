"""What an operator looks after now and then: erased accounts, limits and quotas, keys and their expiry."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from sqlalchemy import Connection

from dsage.trust.inventory import Line
from dsage_server.api.limits import BY_KEY, BY_NETWORK, VISITORS
from dsage_server.settings import Quota
from dsage_server.store import quotas
from dsage_server.store.departures import Departure, departures
from dsage_server.web.operators.machine import Machine
from dsage_server.web.page import Asked, Document


class Deletions(Document, kw_only=True):
    """Who had themselves erased; `waiting` counts those of whom something is still to go."""

    schema: ClassVar[str] = "dsage.deletions/1"
    waiting: int
    departures: list[Departure]


class Limit(msgspec.Struct, kw_only=True):
    """How often one caller may ask: `burst` requests at once, `rate_per_s` in the long run."""

    name: str
    rate_per_s: float
    burst: int


class Share(msgspec.Struct, kw_only=True):
    """What a researcher has and may have: runs, open_units, blob_bytes; `own` if it was set for this key."""

    name: str
    used: dict[str, int]
    allowed: dict[str, int]
    own: bool


class LimitsPage(Document, kw_only=True):
    """Who may ask how often, and have how much."""

    schema: ClassVar[str] = "dsage.limits/1"
    limits: list[Limit]
    quotas: list[Share]


class Keys(Document, kw_only=True):
    """Every key and certificate; `here` is whether they could be looked at."""

    schema: ClassVar[str] = "dsage.keys/1"
    here: bool
    keys: list[Line]


def deletions(connection: Connection, asked: Asked, _: Machine | None) -> Deletions:
    """Return who left."""
    found = departures(connection, asked.now)
    return Deletions(waiting=sum(not each.purged for each in found), departures=found)


def limits(connection: Connection, _asked: Asked, machine: Machine | None) -> LimitsPage:
    """Return the limits."""
    shares = []
    root = None if machine is None else machine.root()
    default = Quota() if machine is None else machine.settings.quota
    for entry in [] if root is None else root.code_keys:
        may = quotas.allowed(connection, entry.key, default)
        used = {what: quotas.used(connection, entry.key, what) for what in ("runs", "open_units", "blob_bytes")}
        allowed = {what: int(getattr(may, what)) for what in used}
        shares.append(Share(name=entry.name, used=used, allowed=allowed, own=bool(quotas.own(connection, entry.key))))
    return LimitsPage(
        limits=[
            Limit(name=each.name, rate_per_s=each.rate_per_s, burst=each.burst)
            for each in (BY_KEY, BY_NETWORK, VISITORS)
        ],
        quotas=sorted(shares, key=lambda share: share.name),
    )  # fmt: skip


def keys(_connection: Connection, asked: Asked, machine: Machine | None) -> Keys:
    """Return every key."""
    return Keys(here=machine is not None, keys=[] if machine is None else machine.keys(asked.now))
