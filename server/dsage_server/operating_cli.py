"""`dsage admin overview`, `health`, `checks`, `deletions`, `limits` and `web`: the operator's pages, in a terminal."""

from __future__ import annotations

import time
from typing import Final, TypeVar

import click
from sqlalchemy import Connection

from dsage.cli.options import json_option
from dsage.cli.output import count, date, emit, say, size, table
from dsage.errors import NotFound
from dsage.home import Home
from dsage_server.people_cli import share_told
from dsage_server.settings import Settings
from dsage_server.store import visits
from dsage_server.store.attention import Glance, Matter
from dsage_server.store.meta import recall
from dsage_server.store.place import opened
from dsage_server.web.operators import checks as checks_page
from dsage_server.web.operators import overview as overview_page
from dsage_server.web.operators import upkeep
from dsage_server.web.operators.desk import Load
from dsage_server.web.operators.machine import Machine
from dsage_server.web.page import Asked, Document

WORDS: Final = {
    "silent": "the server has not said for a while that it lives (dsage serve)",
    "late": "credit is added up late",
    "maintenance": "there is maintenance: no work is given out (dsage admin maintenance --off)",
    "requests": "{n} waiting for your signature (dsage admin requests)",
    "odd apps": "{n} app versions odd on many computers (dsage admin apps)",
    "outlying hosts": "{n} hosts that stand out (dsage admin hosts --flagged)",
    "lying hosts": "{n} hosts found lying (dsage admin hosts --flagged)",
    "failed runs": "{n} runs failed within a day (dsage ls --all --state failed)",
    "taken back": "{n} copies whose credit was taken back within a day (dsage admin checks)",
    "disk": "only {n} % of the disk is free",
    "keys": "{n} keys or certificates that end soon (dsage keys status)",
}
"""What to say of each matter."""
D = TypeVar("D", bound=Document)


@click.command(short_help="Show what needs attention, and what goes on.")
@json_option
def overview(as_json: bool) -> None:
    """Show what needs attention, and what goes on."""
    found = _read(overview_page.overview, overview_page.Overview)
    lines = [told(matter) for matter in found.matters] or ["Nothing needs attention."]
    emit(found.schema, found, as_json, "\n".join([*lines, "", *_goes_on(found.glance)]))


@click.command(short_help="Show how the server's parts, its database and its disk are.")
@json_option
def health(as_json: bool) -> None:
    """Show how the server's parts, its database and its disk are."""
    found = _read(overview_page.health, overview_page.Health)
    rows = [
        [part.name, part.state, "" if part.since_s is None else f"{part.since_s:,.0f} s", part.day]
        for part in found.parts
    ]
    lines = [table(["PART", "STATE", "SINCE", "DAY"], rows), "", *_goes_on(found.glance)]
    for each in found.processes:
        lines.append(
            f"process {each.number} ({each.roles}): {'lives' if each.alive else 'gone'}, seen {date(each.seen)}"
        )
    if found.disk is not None:
        lines.append(
            f"database {size(found.disk.database)}; {size(found.disk.free)} of {size(found.disk.total)} are free"
        )
    emit(found.schema, found, as_json, "\n".join(lines))


@click.command(short_help="Show what checks of answers found, and credit that was taken back.")
@json_option
def checks(as_json: bool) -> None:
    """Show what checks of answers found, and credit that was taken back."""
    found = _read(checks_page.checks, checks_page.Checks)
    rows = [
        [
            date(row.at), row.volunteer, f"{row.credit:,.3f}", "-" if row.host is None else str(row.host),
            "-" if row.run is None else str(row.run), row.actor, row.reason,
        ]
        for row in found.corrections
    ]  # fmt: skip
    lines = [
        f"the server's own checks: {', '.join(f'{n:,} {what}' for what, n in found.own.items())}",
        f"copies of known answers: {', '.join(f'{n:,} {state}' for state, n in found.known.items()) or 'none'}; "
        f"{found.known_waiting:,} to go out, {found.last_words:,} last words to confirm",
    ]
    if rows:
        lines += ["", table(["WHEN", "VOLUNTEER", "CREDIT", "HOST", "RUN", "BY", "REASON"], rows)]
    emit(found.schema, found, as_json, "\n".join(lines))


@click.command(short_help="Show who had their account erased, and what is still to go.")
@json_option
def deletions(as_json: bool) -> None:
    """Show who had their account erased, and what is still to go."""
    found = _read(upkeep.deletions, upkeep.Deletions)
    rows = [
        [
            str(each.volunteer), date(each.at), "gone" if each.purged else "going", str(each.copies), str(each.logins),
            str(each.marks), "" if each.files_until is None else date(each.files_until),
        ]
        for each in found.departures
    ]  # fmt: skip
    headings = ["ACCOUNT", "ERASED", "STATE", "COPIES OUT", "LOGINS", "MARKS", "IN FILES UNTIL"]
    emit(found.schema, found, as_json, table(headings, rows) if rows else "")
    say(f"{count(len(rows), 'account')}; of {found.waiting} something is still to go.")


@click.command(short_help="Show how often one may ask, and what researchers may have.")
@json_option
def limits(as_json: bool) -> None:
    """Show how often one may ask, and what researchers may have.

    What researchers may have is changed by `dsage admin quota`.
    """
    found = _read(upkeep.limits, upkeep.LimitsPage)
    lines = [f"each {each.name}: {each.burst:,} at once, {each.rate_per_s:,g} a second" for each in found.limits]
    for share in found.quotas:
        has = ", ".join(share_told(what, share.used[what], may) for what, may in share.allowed.items())
        lines.append(f"{share.name}: {has}")
    emit(found.schema, found, as_json, "\n".join(lines))


@click.command(short_help="Print a link to the operator's pages, good for a minute.")
@click.option("--log-out", is_flag=True, help="Make no link: log every browser of the operator's out.")
@json_option
def web(log_out: bool, as_json: bool) -> None:
    """Print a link to the operator's pages, good for a minute.

    It logs one browser in, once, and the login ends after two weeks without a visit. Pages that are served without TLS
    open on this computer only.
    """
    now = time.time()
    if log_out:
        with opened(Home().server) as store:
            gone = store.write_now(lambda c: visits.end(c, visits.Role.OPERATOR, ""))
        emit("dsage.logged-out/1", {"browsers": gone}, as_json, str(gone))
        say("No browser is logged in as the operator any more, and no link is open.")
        return
    with opened(Home().server) as store:
        pages = store.read_now(lambda c: recall(c, "pages_url"))
        if not pages:
            raise NotFound("this server has never shown pages", hint="Run `dsage serve` first.")
        code = store.write_now(lambda c: visits.make_link(c, visits.Role.OPERATOR, "", now))
    link = f"{pages}/login/{code}"
    emit("dsage.web/1", {"link": link, "seconds": visits.LINK_S}, as_json, link)
    say("Open it within a minute; whoever does is the operator in that browser.")


def told(matter: Matter) -> str:
    """Return a matter in words."""
    return ("! " if matter.urgent else "  ") + WORDS[matter.what].format(n=f"{matter.n:,}")


def _read(load: Load, kind: type[D]) -> D:
    """Return what a page of the operator shows, of the server of this home. Raises NotFound."""
    home = Home()
    with opened(home.server) as store:
        machine = Machine(home, Settings(folder=home.server))

        def look(connection: Connection) -> Document:
            asked = Asked(now=time.time(), server_id="", name="")
            return load(connection, asked, machine)

        found = store.read_now(look)
    assert isinstance(found, kind)
    return found


def _goes_on(found: Glance) -> list[str]:
    return [
        f"{count(found.hosts_hour, 'computer')} of {count(found.people_hour, 'volunteer')} within an hour",
        f"{count(found.open_units, 'open unit')}, copies out: {found.copies_out:,}, to be judged: {found.unjudged:,}",
        f"{count(found.unfolded, 'row')} of credit in no sum yet",
    ]
