"""`dsage admin announce` and `dsage admin maintenance`: what all visitors are told, and when no work is given out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import click

from dsage.cli.options import json_option
from dsage.cli.output import date, emit, say, table
from dsage.errors import UsageError
from dsage.home import Home
from dsage_server.store import announcements
from dsage_server.store.announcements import MAINTENANCE, Notice
from dsage_server.store.place import opened

HOUR_S: Final = 3600.0
LONGEST_HOURS: Final = 24.0 * 366

hours_option = click.option(
    "--hours",
    type=click.FloatRange(0.01, LONGEST_HOURS),
    metavar="H",
    help="How long it holds; else until it is ended.",
)
later_option = click.option(
    "--later", type=click.FloatRange(0, LONGEST_HOURS), default=0.0, metavar="H", help="Begin in so many hours."
)


@click.command(short_help="Tell all visitors of the pages something, or list what is told.")
@click.argument("text", metavar="[TEXT]", required=False)
@hours_option
@later_option
@click.option("--end", type=click.IntRange(1), metavar="N", help="End announcement N now.")
@json_option
def announce(text: str | None, hours: float | None, later: float, end: int | None, as_json: bool) -> None:
    """Tell all visitors of the pages something, or list what is told.

    TEXT stands on top of every page; what stands in `backticks` is shown as a command. The server may run meanwhile.
    """
    if text is not None and end is not None:
        raise UsageError("announce something, or end an announcement: one at a time")
    now = time.time()
    with opened(Home().server) as store:
        if text is not None:
            begins, ends = _span(now, hours, later)
            store.write_now(lambda c: announcements.announce(c, text, now, begins=begins, ends=ends))
        elif end is not None:
            store.write_now(lambda c: announcements.withdraw(c, end, now))
        found = store.read_now(announcements.newest)
    _show(found, now, as_json)


@click.command(short_help="Give out no work for a while, or again.")
@click.argument("reason", metavar="[REASON]", required=False)
@click.option("--off", is_flag=True, help="Give out work again.")
@hours_option
@later_option
@json_option
def maintenance(reason: str | None, off: bool, hours: float | None, later: float, as_json: bool) -> None:
    """Give out no work for a while, or again.

    Volunteers' clients are told REASON and when to come back; what they have goes on, and their results are taken. It
    stands on top of every page, too. The server may run meanwhile, and takes note within seconds. To stop it then,
    wait until no copy is out (`dsage admin overview`).
    """
    if off and (reason is not None or hours is not None or later):
        raise UsageError("--off ends all maintenance: leave the rest out")
    now = time.time()
    with opened(Home().server) as store:
        if off:
            ended = store.write_now(lambda c: announcements.end_maintenance(c, now))
            say("Work is given out again." if ended else "There was no maintenance.")
        else:
            begins, ends = _span(now, hours, later)
            said = MAINTENANCE if reason is None else reason
            store.write_now(lambda c: announcements.announce(c, said, now, begins=begins, ends=ends, maintenance=True))
        found = [each for each in store.read_now(announcements.newest) if each.maintenance]
    _show(found, now, as_json)


def _span(now: float, hours: float | None, later: float) -> tuple[float, float | None]:
    begins = now + later * HOUR_S
    return begins, None if hours is None else begins + hours * HOUR_S


def _show(found: Sequence[Notice], now: float, as_json: bool) -> None:
    rows = [
        [
            str(each.id), each.state(now), date(each.begins), "" if each.ends is None else date(each.ends),
            "maintenance" if each.maintenance else "", each.text,
        ]
        for each in found
    ]  # fmt: skip
    text = table(["N", "STATE", "FROM", "UNTIL", "", "TEXT"], rows) if rows else ""
    emit("dsage.announcements/1", found, as_json, text)
