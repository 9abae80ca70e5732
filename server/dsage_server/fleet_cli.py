"""`dsage admin hosts` and `dsage admin apps`: how copies end on each host and of each app version, and what is odd."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import click

from dsage.cli.options import json_option
from dsage.cli.output import colour, count, emit, hanging, say, table
from dsage.home import Home
from dsage_server.store import fleet
from dsage_server.store.place import opened

NAMED: Final = 12
"""Digits of an app version's hash that are shown."""
WIDE: Final = 28
"""Characters of what a volunteer's computer or a researcher says that are shown."""
COPIES: Final = 20_000


@click.command("hosts", short_help="Show how hosts do, who was found lying and who stands out.")
@click.argument("host", metavar="[ID]", type=click.IntRange(1), required=False)
@click.option("--flagged", is_flag=True, help="Only those that stand out or were found lying.")
@json_option
def hosts(host: int | None, flagged: bool, as_json: bool) -> None:
    """Show how hosts do, who was found lying and who stands out.

    With ID one host, by app version, with all that was ever odd about it. LOST copies were never answered; CHECKS are
    answers that others confirmed, as far as they count still; AUDIT is the share of its units that others compute as
    well. What stands out is no proof: such a host is checked more often, and keeps its credit.
    """
    now = time.time()
    with opened(Home().server) as store:
        found = (
            store.read_now(lambda c: fleet.lines(c, now, flagged=flagged))
            if host is None
            else [store.read_now(lambda c: fleet.one(c, host, now))]
        )
    if host is not None:
        emit("dsage.host/1", found[0], as_json, _detail(found[0]))
        return
    emit("dsage.hosts/1", found, as_json, _listed(found))
    odd, liars = sum(bool(each.odd) for each in found), sum(each.lies > 0 for each in found)
    say(f"{count(len(found), 'host')}. Standing out: {odd}. Found lying: {liars}.")


@click.command("apps", short_help="Show how copies of each app version end, by kind of computer.")
@click.option(
    "--copies",
    type=click.IntRange(1, 1_000_000),
    default=COPIES,
    show_default=True,
    help="Look at so many, the latest.",
)
@json_option
def apps(copies: int, as_json: bool) -> None:
    """Show how copies of each app version end, by kind of computer.

    What fails, or is wrong, on all kinds is the app's fault; on one kind, look at what is different there; on a single
    host, see `dsage admin hosts`. LOST copies were never answered; AWAY ones are out, wait, or were not needed.
    """
    with opened(Home().server) as store:
        cells, odd = store.read_now(lambda c: (fleet.cells(c, copies), fleet.apps_odd(c)))
    emit("dsage.apps/1", {"cells": cells, "odd": odd}, as_json, _cells(cells, odd))


def _listed(found: Sequence[fleet.Line]) -> str:
    if not found:
        return ""
    headings = ["HOST", "VOLUNTEER", "PLATFORM", "CLIENT", *_COUNTS, "CHECKS", "LIES", "AUDIT"]
    rows = [
        [
            str(each.host), _clean(each.volunteer), _clean(each.platform), _clean(each.client), *_counts(each),
            f"{each.checks:,.0f}", str(each.lies), _share(each.audit),
        ]
        for each in found
    ]  # fmt: skip
    first, *lines = _table(headings, rows, left=(1, 2, 3)).splitlines()
    shown = [first]
    for each, line in zip(found, lines, strict=True):
        shown += [colour(line, "red") if each.lies else line, *_oddities(each.odd)]
    return "\n".join(shown)


def _detail(each: fleet.Line) -> str:
    seen = "never" if each.last_seen is None else _date(each.last_seen)
    shown = [
        f"host {each.host} of {_clean(each.volunteer)}, {_clean(each.platform)}, {_clean(each.client)}, seen {seen}",
        ", ".join(f"{n} {what.lower()}" for what, n in zip(_COUNTS, _counts(each), strict=True)),
    ]
    if each.parts:
        rows = [
            [
                part.app[:NAMED],
                _clean(part.title),
                *_counts(part),
                f"{part.checks:,.1f}",
                str(part.lies),
                _share(part.audit),
            ]
            for part in each.parts
        ]
        shown += ["", _table(["APP", "TITLE", *_COUNTS, "CHECKS", "LIES", "AUDIT"], rows, left=(0, 1))]
    if each.odd:
        shown += ["", *_oddities(each.odd)]
    return "\n".join(shown)


def _cells(cells: Sequence[fleet.Cell], odd: dict[str, list[fleet.Oddity]]) -> str:
    if not cells:
        return ""
    rows = [
        [
            each.app[:NAMED],
            _clean(each.title),
            _clean(each.platform),
            *_counts(each),
            f"{each.away:,}",
            _clean(each.mostly),
        ]
        for each in cells
    ]
    headings = ["APP", "TITLE", "PLATFORM", *_COUNTS, "AWAY", "MOSTLY"]
    first, *lines = _table(headings, rows, left=(0, 1, 2, len(headings) - 1)).splitlines()
    shown = [first]
    for n, line in enumerate(lines):
        shown.append(line)
        if n + 1 == len(cells) or cells[n + 1].app != cells[n].app:
            shown += _oddities(odd.get(cells[n].app, ()))
    return "\n".join(shown)


_COUNTS: Final = ["RIGHT", "WRONG", "ERRORS", "LOST"]


def _counts(each: fleet.Line | fleet.Part | fleet.Cell) -> list[str]:
    return [f"{n:,}" for n in (each.right, each.wrong, each.errors, each.lost)]


def _oddities(odd: Iterable[fleet.Oddity]) -> list[str]:
    shown = []
    for each in odd:
        until = "" if each.ended is None else f" to {_date(each.ended)}"
        where = f" ({each.app[:NAMED]})" if each.app else ""
        head = colour(f"    ! {each.kind}", "yellow" if each.ended is None else "white")
        shown.append(hanging(head, f", {_date(each.began)}{until}{where}: {each.sentence}"))
    return shown


def _table(headings: list[str], rows: list[list[str]], left: Sequence[int]) -> str:
    """Return a table whose numbers stand under each other by their last digit."""
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    lines = [[cell if n in left else cell.rjust(widths[n]) for n, cell in enumerate(row)] for row in [headings, *rows]]
    return table(lines[0], lines[1:])


def _share(share: float) -> str:
    return "all" if share >= 1.0 else f"{share:.0%}"


def _clean(text: str) -> str:
    """Return what somebody else wrote, fit to be shown on a terminal."""
    shown = "".join([each if each.isprintable() else " " for each in text])
    return shown if len(shown) <= WIDE else shown[: WIDE - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
