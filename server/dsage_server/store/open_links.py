"""Links that anybody may use: each account made by one is counted, and so many an hour are made, in all and for one
network.

Of a network only a hash under the link's own code is kept, and for an hour. Of the codes only hashes are kept, but for
the newest link, which is there to be published: the join page shows it to whoever comes without one.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from dsage.errors import Busy, InviteRefused, NotFound
from dsage_server.store import deeds
from dsage_server.store.meta import recall, remember
from dsage_server.store.schema import open_link, open_use

HOUR_S: Final = 3600.0
PREFIX_BITS: Final = {4: 24, 6: 48}
"""What counts as one network, by version of IP: what one household or small firm is given at most."""
SHOWN: Final = "public link"
"""Where the number and the text of the link are remembered that the join page shows."""
MARK: Final = "open-"
"""Begins the codes of such links, so that no other code is looked for among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLink:
    """A link for anybody as its operator sees it: `used` accounts so far, `lately` of them within the last hour."""

    number: int
    per_hour: int
    per_prefix: int
    used: int
    lately: int
    created: float
    expires: float
    revoked: float | None
    verifiable_only: bool


def code_hash(code: str) -> str:
    """Return what the server stores of a code."""
    return hashlib.sha256(code.encode()).hexdigest()


def make(
    connection: Connection, *, per_hour: int, per_prefix: int, valid_s: float, now: float, verifiable_only: bool = True
) -> tuple[int, str]:
    """Create a link by which so many accounts an hour are made, in all and from one network; return number and code."""
    code = MARK + secrets.token_urlsafe(12)
    number = (connection.execute(select(func.max(open_link.c.number))).scalar() or 0) + 1
    connection.execute(
        insert(open_link).values(
            code_hash=code_hash(code), number=number, per_hour=per_hour, per_prefix=per_prefix, used=0, created=now,
            expires=now + valid_s, verifiable_only=verifiable_only,
        )
    )  # fmt: skip
    deeds.record(connection, now, "operator", "made", f"public link {number}")
    return number, code


def use(connection: Connection, code: str, peer: str, now: float) -> bool | None:
    """Count one account that is made by a code; return whether it is for units whose answers prove themselves only,
    None if no link has this code.

    Raises InviteRefused if the link does not hold any more, Busy with the time to wait if its hour is full.
    """
    if not code.startswith(MARK):
        return None
    row = connection.execute(
        select(open_link).where(open_link.c.code_hash == code_hash(code)).with_for_update()
    ).first()
    if row is None:
        return None
    if row.revoked is not None:
        raise InviteRefused("this link was withdrawn by the people who gave it out")
    if row.expires < now:
        raise InviteRefused("this link has run out of time")
    connection.execute(delete(open_use).where(open_use.c.number == row.number, open_use.c.at <= now - HOUR_S))
    prefix = hmac.digest(code.encode(), network(peer).encode(), "sha256").hex()[:32]
    near = open_use.c.prefix == prefix
    _check(connection, row.number, row.per_prefix, now, "from your network", near)
    _check(connection, row.number, row.per_hour, now, "by this link")
    connection.execute(insert(open_use).values(number=row.number, prefix=prefix, at=now))
    connection.execute(update(open_link).where(open_link.c.number == row.number).values(used=row.used + 1))
    only: bool = row.verifiable_only
    return only


def links(connection: Connection, now: float) -> list[OpenLink]:
    """Return every link for anybody, the newest first."""
    counted = select(open_use.c.number, func.count()).where(open_use.c.at > now - HOUR_S).group_by(open_use.c.number)
    lately: dict[int, int] = dict(connection.execute(counted).all())
    rows = connection.execute(select(open_link).order_by(open_link.c.number.desc())).all()
    return [
        OpenLink(
            number=row.number, per_hour=row.per_hour, per_prefix=row.per_prefix, used=row.used,
            lately=lately.get(row.number, 0), created=row.created, expires=row.expires, revoked=row.revoked,
            verifiable_only=row.verifiable_only,
        )
        for row in rows
    ]  # fmt: skip


def revoke(connection: Connection, number: int, now: float) -> None:
    """Let a link take in nobody any more; who has joined by it stays. Raises NotFound."""
    here = open_link.c.number == number
    held = connection.execute(update(open_link).where(here, open_link.c.revoked.is_(None)).values(revoked=now)).rowcount
    if held:
        deeds.record(connection, now, "operator", "withdrew", f"public link {number}")
    elif connection.execute(select(open_link.c.number).where(here)).first() is None:
        raise NotFound(f"there is no public link {number}", hint="`dsage invite --list` shows those that there are.")


def show(connection: Connection, number: int, link: str) -> None:
    """Remember the text of a link for the join page, in place of an older one."""
    remember(connection, SHOWN, f"{number} {link}")


def shown(connection: Connection, now: float) -> str:
    """Return the link that the join page shows; empty if there is none, or it takes in nobody any more."""
    number, _, link = (recall(connection, SHOWN) or "0").partition(" ")
    good = select(open_link.c.number).where(
        open_link.c.number == int(number), open_link.c.revoked.is_(None), open_link.c.expires > now
    )
    return link if connection.execute(good).first() else ""


def network(peer: str) -> str:
    """Return the network that an address counts for; addresses that make no sense are one network."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address, PREFIX_BITS[address.version]), strict=False))


def _check(connection: Connection, number: int, most: int, now: float, where: str, *besides: object) -> None:
    """Raise Busy if `most` have come within the hour already."""
    times = (
        select(open_use.c.at)
        .where(open_use.c.number == number, open_use.c.at > now - HOUR_S, *besides)  # type: ignore[arg-type]
        .order_by(open_use.c.at.desc())
        .limit(1)
        .offset(max(0, most - 1))
    )
    full = connection.execute(times).scalar()
    if most < 1 or full is not None:
        wait_s = HOUR_S if full is None else full + HOUR_S - now
        minutes = max(1, math.ceil(wait_s / 60))
        raise Busy(
            f"{most} computers joined {where} within the last hour, and no more are taken in",
            hint=f"Try again in {minutes} minute{'s' if minutes > 1 else ''}.",
            retry_s=wait_s,
        )
