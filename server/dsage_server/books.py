"""`dsage admin credit`: an operator proves the ledger, verifies its days, and corrects it."""

from __future__ import annotations

import dataclasses
import getpass
import time
from typing import Final

import click
from sqlalchemy import Connection

from dsage.cli.options import json_option
from dsage.cli.output import count, emit, say
from dsage.home import Home
from dsage_server.bookkeeping import prove
from dsage_server.store import daybook, deeds, ledger
from dsage_server.store.place import opened
from dsage_server.store.recount import LedgerWrong

SHOWN: Final = 50
"""Differences that are printed."""


@click.group("credit", short_help="Prove, verify and correct the credit ledger.")
def books() -> None:
    """Prove, verify and correct the credit ledger.

    The server may run meanwhile.
    """


@books.command()
@click.option("--repair", is_flag=True, help="Make the sums that differ what the ledger says.")
@json_option
def check(repair: bool, as_json: bool) -> None:
    """Count the ledger again and compare every sum with it.

    Volunteers, computers, teams, app versions, days, runs and house credit. Exit status 5 if a sum differs (and was not
    repaired). The server does this by itself once a day and says in its news if something is wrong.
    """
    with opened(Home().server) as store:
        found, left = prove(store, repair=repair)
    data = {"differences": [dataclasses.asdict(each) for each in found], "left": len(left)}
    emit("dsage.ledger-check/1", data, as_json, "\n".join(str(each) for each in found[:SHOWN]))
    say("Every sum equals the ledger." if not found else f"{count(len(found), 'sum')} differed, {len(left)} still do.")
    if left:
        raise LedgerWrong(
            f"{count(len(left), 'sum')} of credit differ from the ledger"
            if len(left) > 1
            else f"a sum differs: {left[0]}",
            hint="`dsage admin credit check --repair` counts them from the ledger.",
        )


@books.command()
@json_option
def verify(as_json: bool) -> None:
    """Compute the hash of every closed day again, and name the first that differs.

    Compare the hash of a day with one that somebody else kept: the pages publish them at /ledger.json. Exit status 5 if
    a day is not what its hash says.
    """
    with opened(Home().server) as store:
        changed = store.read_now(daybook.first_changed)
        newest = store.read_now(lambda c: daybook.days(c, 1))
    data = {
        "changed": None if changed is None else changed[0].number,
        "newest": None if not newest else dataclasses.asdict(newest[0]),
    }
    emit("dsage.ledger-verify/1", data, as_json, "" if not newest else f"{newest[0].number} {newest[0].hash}")
    if changed is not None:
        kept, now = changed
        raise LedgerWrong(
            f"day {kept.number} of the ledger ({daybook.date_of(kept.day)}) is not what its hash says: "
            f"{count(kept.entries, 'row')} worth {kept.amount_milli / 1000:g} credits were hashed, and there are now "
            f"{count(now.entries, 'row')} worth {now.amount_milli / 1000:g}",
            hint="Compare with a backup from after that day: its rows are the ones that were hashed.",
        )
    say("Every closed day is as it was." if newest else "No day is closed yet.")


@books.command()
@click.argument("replicas", metavar="COPY...", nargs=-1, required=True, type=click.IntRange(1))
@click.option("--reason", required=True, metavar="TEXT", help="Why, in a sentence that the volunteers read.")
@json_option
def reverse(replicas: tuple[int, ...], reason: str, as_json: bool) -> None:
    """Take back what was granted for copies of units, each once.

    COPY is the number of a copy, as on the unit's page. The answers stay what they are.
    """
    now = time.time()

    def take_back(connection: Connection) -> list[int]:
        taken = ledger.reverse(connection, replicas, reason, getpass.getuser(), now)
        if taken:
            copies = "1 copy" if len(taken) == 1 else f"{len(taken)} copies"
            deeds.record(connection, now, "operator", "took back", f"the credit of {copies}")
        return taken

    with opened(Home().server) as store:
        done = store.write_now(take_back)
    emit("dsage.ledger-reversed/1", done, as_json, "\n".join(map(str, done)))
    say(f"Taken back for {len(done)} of {len(set(replicas))}: the others have no grant, or it was taken back before.")


@books.command()
@click.argument("pseudonym")
@click.argument("credits_", metavar="CREDITS", type=float)
@click.option("--take", is_flag=True, help="Take it, instead of giving it.")
@click.option("--reason", required=True, metavar="TEXT", help="Why, in a sentence that the volunteer reads.")
@json_option
def correct(pseudonym: str, credits_: float, take: bool, reason: str, as_json: bool) -> None:
    """Give a volunteer credit that belongs to no copy, or take some.

    For what a fault of the server cost. It is a row of the ledger, with its reason and who wrote it.
    """
    if not 0 <= credits_ <= ledger.MOST_MILLI / 1000:
        raise click.BadParameter("that is no number of credits", param_hint="CREDITS")
    milli = round(credits_ * 1000) * (-1 if take else 1)
    now = time.time()

    def write(connection: Connection) -> int:
        deeds.record(connection, now, "operator", "took" if take else "gave", f"{credits_:g} credits by hand")
        return ledger.correct(connection, pseudonym, milli, reason, getpass.getuser(), now)

    with opened(Home().server) as store:
        row = store.write_now(write)
    emit("dsage.ledger-corrected/1", {"entry": row, "amount_milli": milli}, as_json, str(row))
