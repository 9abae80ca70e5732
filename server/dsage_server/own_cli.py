"""`dsage admin own-checks`: what the server computed itself, and how much it is to compute."""

from __future__ import annotations

import time
from functools import partial

import click
from sqlalchemy import Connection

from dsage.cli.options import json_option
from dsage.cli.output import emit
from dsage.home import Home
from dsage_server.store import deeds, own
from dsage_server.store.place import opened


@click.command("own-checks", short_help="Show what the server computed itself, or set how much.")
@click.option("--share", type=click.FloatRange(0, 1), metavar="SHARE", help="Of accepted answers; 0: compute nothing.")
@json_option
def own_checks(share: float | None, as_json: bool) -> None:
    """Show what the server computed itself, or set how much.

    Of units whose replication adapts and that cost no more than a minute: a share of those that were accepted, and
    those whose answers disagree. The server may run meanwhile, and takes note within seconds.
    """

    def change(connection: Connection, wanted: float) -> None:
        own.set_share(connection, wanted)
        about = f"how much the server checks itself to {wanted:.2%}"
        deeds.record(connection, time.time(), "operator", "set", about)

    with opened(Home().server) as store:
        if share is not None:
            store.write_now(partial(change, wanted=share))
        now = store.read_now(own.share)
        found = store.read_now(own.counted)
    data = {"share": now} | {what.partition(".")[2]: n for what, n in found.items()}
    lines = [f"share: {now:.2%}" if now else "off"] + [f"{n:,} {own.WORDS[what]}" for what, n in found.items()]
    emit("dsage.own-checks/1", data, as_json, "\n".join(lines))
