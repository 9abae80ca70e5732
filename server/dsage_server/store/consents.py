"""What volunteers agreed that others may see: each thing apart, all off at first, and every change is remembered.

The texts that people agree to stand on their page (templates/me_privacy.html); whoever changes what one means raises
its version here, and those who agreed to the older one are asked again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, insert, literal, select, update

from dsage_server.store import credit
from dsage_server.store.schema import consent, credit_sum, event, volunteer

LEADERBOARD: Final = "leaderboard"
DISCOVERIES: Final = "discoveries"
DEVICES: Final = "devices"
EXPORT: Final = "export"
COUNTRY: Final = "country"
CONSENTS: Final = {LEADERBOARD: 1, DISCOVERIES: 1, DEVICES: 1, EXPORT: 1, COUNTRY: 1}
"""What may be agreed to, each with the version of its text."""
MOST_HISTORY: Final = 1000


class Held(NamedTuple):
    """What a volunteer lets others see now; `country` is an ISO 3166 code, "" if it is not told."""

    leaderboard: bool = False
    discoveries: bool = False
    devices: bool = False
    export: bool = False
    country: str = ""


class Change(NamedTuple):
    """Somebody agreed (`given`) to a version of a text, or took that back; `at` in Unix seconds, `said` a country."""

    what: str
    given: bool
    version: int
    at: float
    said: str


def held(connection: Connection, number: int) -> Held:
    """Return what a volunteer lets others see."""
    row = connection.execute(_HELD.where(volunteer.c.id == number)).one()
    return Held(*row)


def choose(
    connection: Connection, number: int, wishes: Mapping[str, bool | str], now: float, *, read: bool = False
) -> Held:
    """Let others see what a volunteer wishes, and no more; what the wishes do not name stays as it is.

    Every way to change a consent leads here. `read` says that the present texts stood beside the switches: what is on
    is then agreed to anew if its text has changed. Statistics sites are told for a while whom to forget.
    """
    connection.execute(select(volunteer.c.id).where(volunteer.c.id == number).with_for_update()).one()
    before = held(connection, number)
    wished: dict[str, Any] = {name: wishes[name] for name in CONSENTS if name in wishes}
    after = before._replace(**wished)
    anew = outdated(history(connection, number)) if read else set[str]()
    if after == before and not anew:
        return before
    columns: dict[str, Any] = {
        "public": after.discoveries, "devices": after.devices, "exported": after.export, "country": after.country,
    }  # fmt: skip
    if after.export is not before.export:
        columns["withdrawn"] = None if after.export else now
    connection.execute(update(volunteer).where(volunteer.c.id == number).values(**columns))
    credit.show(connection, number, after.leaderboard)
    if not (after.leaderboard or after.discoveries):
        _unmention(connection, number)
    _remember(connection, number, before, after, now, anew)
    return after


def joined(connection: Connection, number: int, shown: Held, now: float) -> None:
    """Remember what somebody agreed to when they joined."""
    _remember(connection, number, Held(), shown, now)


def history(connection: Connection, number: int) -> list[Change]:
    """Return what a volunteer agreed to and took back, newest first."""
    columns = [consent.c[name] for name in Change._fields]
    query = select(*columns).where(consent.c.volunteer_id == number).order_by(consent.c.id.desc()).limit(MOST_HISTORY)
    return [Change(*row) for row in connection.execute(query)]


def outdated(changes: list[Change]) -> set[str]:
    """Return what was agreed to in a version that is not the present one, from a history, newest first."""
    newest: dict[str, Change] = {}
    for change in changes:
        newest.setdefault(change.what, change)
    return {name for name, last in newest.items() if last.given and last.version != CONSENTS.get(name)}


def _remember(
    connection: Connection, number: int, before: Held, after: Held, now: float, anew: Collection[str] = ()
) -> None:
    rows = [
        {
            "volunteer_id": number, "what": name, "given": bool(value), "version": CONSENTS[name], "at": now,
            "said": value if isinstance(value, str) else "",
        }
        for name, value in after._asdict().items()
        if value != getattr(before, name) or name in anew
    ]  # fmt: skip
    if rows:
        connection.execute(insert(consent), rows)


def _unmention(connection: Connection, number: int) -> None:
    """Take a pseudonym out of the news that mention it."""
    name = connection.execute(select(volunteer.c.pseudonym).where(volunteer.c.id == number)).scalar_one()
    connection.execute(
        update(event)
        .where(event.c.text.contains(name, autoescape=True))
        .values(text=func.replace(event.c.text, literal(name), literal("a volunteer")))
    )


_HELD = select(
    credit_sum.c.public, volunteer.c.public.label("named"), volunteer.c.devices, volunteer.c.exported,
    volunteer.c.country,
).join(credit_sum, credit_sum.c.volunteer_id == volunteer.c.id)  # fmt: skip
