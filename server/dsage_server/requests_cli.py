"""`dsage admin requests`, `approve` and `refuse`: what people ask the operator to sign."""

from __future__ import annotations

import time
from pathlib import Path

import click

from dsage.cli.options import json_option
from dsage.cli.output import count, date, emit, say, table
from dsage.errors import Conflict
from dsage.home import Home
from dsage.trust import ceremony
from dsage_server.store import requests
from dsage_server.store.place import opened

number_argument = click.argument("number", metavar="N", type=click.IntRange(1))


@click.command("requests", short_help="List who asks that their key be certified.")
@json_option
def listing(as_json: bool) -> None:
    """List who asks that their key be certified.

    They ask on the page /certify. Compare the fingerprint with them by another way: whoever has the key then runs code
    on volunteers' computers.
    """
    with opened(Home().server) as store:
        found = store.read_now(requests.listed)
    rows = [[str(r.id), r.state, r.name, ", ".join(r.projects), r.fingerprint, date(r.made)] for r in found]
    headings = ["N", "STATE", "NAME", "PROJECTS", "FINGERPRINT", "ASKED"]
    emit("dsage.requests/1", found, as_json, table(headings, rows) if rows else "")
    say(f"{count(sum(r.state == requests.WAITING for r in found), 'request')} waiting.")


@click.command(short_help="Certify the key of a request, with the root key.")
@number_argument
@click.option(
    "--days",
    type=click.FloatRange(0.05, 3650),
    default=ceremony.CODE_KEY_DAYS,
    show_default=True,
    help="How long it is good.",
)
@click.option(
    "--root-key", type=click.Path(path_type=Path, dir_okay=False), help="The root key's file, if it is kept elsewhere."
)
@json_option
def approve(number: int, days: float, root_key: Path | None, as_json: bool) -> None:
    """Certify the key of a request, with the root key.

    It does what `dsage keys certify` does with what request N says; the server takes the new root.json over within
    seconds. The root key signs, and nothing that the server has.
    """
    home, now = Home(), time.time()
    with opened(home.server) as store:
        found, key = store.read_now(lambda c: requests.one(c, number))
        if found.state != requests.WAITING:
            raise Conflict(f"request {number} was {found.state} already", hint="`dsage admin requests` lists them.")
        _, root = ceremony.open_root(home, root_key, None)
        entries = ceremony.certified(root, key, found.name, found.projects, days)
        signed = ceremony.read(ceremony.sign_root(home, root_key=root_key, code_keys=entries))
        store.write_now(lambda c: requests.decide(c, number, requests.APPROVED, "", now))
    data = {"request": number, "name": found.name, "projects": found.projects, "root_version": signed.version}
    emit("dsage.approved/1", data, as_json, str(home.root_file))
    wanted = ", ".join(found.projects)
    say(f"Version {signed.version} of root.json certifies {found.fingerprint} ({found.name}) for {wanted}.")


@click.command(short_help="Refuse a request.")
@number_argument
@click.option("--reason", default="", metavar="TEXT", help="Why; everybody can read it in the audit log.")
@json_option
def refuse(number: int, reason: str, as_json: bool) -> None:
    """Refuse a request.

    The same key cannot ask again for a month.
    """
    now = time.time()
    with opened(Home().server) as store:
        store.write_now(lambda c: requests.decide(c, number, requests.REFUSED, reason[:300], now))
    emit("dsage.refused/1", {"request": number}, as_json, str(number))
