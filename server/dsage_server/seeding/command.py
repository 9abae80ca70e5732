"""`dsage admin seed-demo`: an operator fills an empty server with a made-up world, to look at."""

from __future__ import annotations

import dataclasses
import time
from typing import Final

import click

from dsage.cli.options import json_option
from dsage.cli.output import count, emit, say
from dsage.home import Home
from dsage.trust.ceremony import LAB, first_keys
from dsage.trust.keys import PrivateKey
from dsage_server.locking import only_one
from dsage_server.seeding.people import Size
from dsage_server.store.engine import Store
from dsage_server.store.migrate import upgrade
from dsage_server.store.place import existing, place_of

NAMES: Final = ["localhost", "127.0.0.1"]


@click.command("seed-demo")
@click.option(
    "--volunteers", type=click.IntRange(20), default=Size.volunteers, show_default=True, metavar="N",
    help="Volunteers, with a few computers each.",
)  # fmt: skip
@click.option(
    "--days", type=click.IntRange(7, 3650), default=Size.days, show_default=True, metavar="D",
    help="Days that the server has been running for.",
)  # fmt: skip
@click.option(
    "--ledger", type=click.IntRange(1000), default=Size.ledger, show_default=True, metavar="ROWS",
    help="Rows of credit, about.",
)  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Another one gives another world.")
@click.option("--empty-ok", is_flag=True, help="Make the server's keys and database first, if there is none here.")
@json_option
def seed_demo(volunteers: int, days: int, ledger: int, seed: int, empty_ok: bool, as_json: bool) -> None:
    """Fill an empty, stopped server with made-up volunteers, runs and credit.

    For looking at the pages, and for measuring them. Refuses a server that has volunteers or runs. Start it with `dsage
    serve` afterwards; nobody should join it, since the programs of its runs are not there.
    """
    home = Home()
    if empty_ok:
        home.server.mkdir(mode=0o700, parents=True, exist_ok=True)
    else:
        existing(home.server)
    with only_one(home.server):
        from dsage_server.seeding.filling import fill
        from dsage_server.seeding.works import Signers

        keys = first_keys(home, NAMES, "DSage", (LAB, "factor"))
        upgrade(place_of(home.server))
        signers = Signers(keys.root.server_id, keys.unit_key, PrivateKey.load(home.code_key(LAB)), seed)
        store = Store(place_of(home.server))
        try:
            made = fill(store, Size(volunteers, days, ledger), seed, time.time(), signers)
        finally:
            store.close()
    emit("dsage.seeded/1", dataclasses.asdict(made), as_json, str(home.server))
    say(
        f"{count(made.volunteers, 'volunteer')}, {count(made.hosts, 'computer')}, {count(made.runs, 'run')}, "
        f"{count(made.entries, 'row')} of credit, all made up. `dsage serve` shows them."
    )
