"""`dsage admin quota`, `trust` and `house`: what people may have, and whom the operator vouches for."""

from __future__ import annotations

import time
from functools import partial

import click
from sqlalchemy import Connection

from dsage.cli.options import json_option
from dsage.cli.output import count, emit, say, size
from dsage.errors import NotFound, UsageError
from dsage.home import Home
from dsage.trust.ceremony import load_root, read
from dsage_server.sentences import deeds as said
from dsage_server.settings import Quota
from dsage_server.store import deeds, hosts, house, quotas
from dsage_server.store.place import opened


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--runs", type=click.IntRange(0), metavar="N", help="Runs that may be open.")
@click.option("--open-units", type=click.IntRange(0), metavar="N", help="Units that may wait or be computed.")
@click.option("--blob-bytes", type=click.IntRange(0), metavar="N", help="Bytes of input files, answers and programs.")
@click.option("--clear", is_flag=True, help="Let the server's settings hold again.")
@json_option
def quota(
    name: str | None, runs: int | None, open_units: int | None, blob_bytes: int | None, clear: bool, as_json: bool
) -> None:
    """Show what researchers may have at a time and have, or change it for one of them.

    NAME is what the researcher's code key is certified under (`dsage keys status`). The server may run meanwhile, and
    takes note within seconds.
    """
    given = {"runs": runs, "open_units": open_units, "blob_bytes": blob_bytes}
    limits = {what: limit for what, limit in given.items() if limit is not None}
    if (limits or clear) and name is None:
        raise UsageError("whose quota is to be changed?", hint="dsage admin quota NAME --runs N")
    if limits and clear:
        raise UsageError("--clear and a new limit are one too many")
    home = Home()
    with opened(home.server) as store:
        keys = _named(home, name)
        if name is not None and (limits or clear):
            store.write_now(partial(_set_quota, name=name, key=keys[name], limits=limits))
        shown = {who: store.read_now(partial(_quota, key=key)) for who, key in sorted(keys.items())}
    lines = [
        f"{who}: " + ", ".join(share_told(what, *has) for what, has in each.items()) for who, each in shown.items()
    ]
    data = {who: {w: {"used": u, "allowed": a} for w, (u, a) in each.items()} for who, each in shown.items()}
    emit("dsage.quota/1", data, as_json, "\n".join(lines))


@click.command()
@click.argument("pseudonyms", metavar="PSEUDONYM...", nargs=-1, required=True)
@click.option("--withdraw", is_flag=True, help="Give them units whose answers prove themselves, and no others.")
@json_option
def trust(pseudonyms: tuple[str, ...], withdraw: bool, as_json: bool) -> None:
    """Give volunteers any unit, who joined by a link for units whose answers prove themselves.

    It holds for all computers of their account. The server may run meanwhile, and takes note within a minute or so.
    """

    def change(connection: Connection) -> None:
        for name in pseudonyms:
            hosts.trust(connection, name, not withdraw)
        did = "withdrew trust in" if withdraw else "vouched for"
        deeds.record(connection, time.time(), "operator", did, count(len(pseudonyms), "volunteer"))

    with opened(Home().server) as store:
        store.write_now(change)
    data = {name: {"verifiable_only": withdraw} for name in pseudonyms}
    emit("dsage.trust/1", data, as_json, "\n".join(pseudonyms))
    say("They get only units whose answers prove themselves." if withdraw else "They get any unit that fits.")


@click.command("house")
@click.argument("name")
@click.argument("pseudonyms", metavar="[PSEUDONYM]...", nargs=-1)
@click.option("--off", is_flag=True, help="They are not, or not any more.")
@json_option
def own_accounts(name: str, pseudonyms: tuple[str, ...], off: bool, as_json: bool) -> None:
    """Say which volunteers' accounts are a researcher's own.

    NAME is what the researcher's code key is certified under. On runs of that key these accounts earn house credit, in
    no public sum, until a second person has approved one of its runs (`dsage project approve`). The server may run.
    """
    home = Home()
    key = _named(home, name)[name]

    def change(connection: Connection) -> None:
        house.link(connection, key, pseudonyms, off=off)
        if pseudonyms:
            about = f"{count(len(pseudonyms), 'account')} as {'not ' if off else ''}belonging to {name}"
            deeds.record(connection, time.time(), "operator", "noted", about)

    with opened(home.server) as store:
        store.write_now(change)
        found = store.read_now(partial(house.accounts, researcher=key))
    emit("dsage.house/1", {name: found}, as_json, "\n".join(found))


def share_told(what: str, has: int, may: int) -> str:
    """Return how much a researcher has, and may have, of what `quotas.WORDS` names."""
    words = quotas.WORDS[what][0]
    if what == "blob_bytes":
        return f"{size(has)} of {size(may)} for {words.removeprefix('bytes of ')}"
    return f"{has:,} of {may:,} {words}"


def _named(home: Home, name: str | None) -> dict[str, bytes]:
    """Return the code keys of all researchers, or of one, by name. Raises NotFound."""
    keys = {entry.name: entry.key for entry in read(load_root(home.root_file)).code_keys}
    if name is None:
        return keys
    if name not in keys:
        raise NotFound(
            f"no code key is certified under the name {name!r}", hint=f"There are: {', '.join(sorted(keys))}."
        )
    return {name: keys[name]}


def _set_quota(connection: Connection, name: str, key: bytes, limits: dict[str, int]) -> None:
    """Set some limits for a researcher; none of them lets the server's settings hold again."""
    if limits:
        quotas.change(connection, key, limits)
    else:
        quotas.clear(connection, key)
    detail = ", ".join(f"{limit:,} {quotas.WORDS[what][0]}" for what, limit in limits.items())
    deeds.record(connection, time.time(), "operator", "changed", f"what {name} may have", detail or said.USUAL())


def _quota(connection: Connection, key: bytes) -> dict[str, tuple[int, int]]:
    """Return what a researcher has, and may have."""
    limits = quotas.allowed(connection, key, Quota())
    return {what: (quotas.used(connection, key, what), getattr(limits, what)) for what in quotas.WORDS}
