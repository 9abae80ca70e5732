"""`dsage admin`: what an operator does with a server's data, on the server's own machine."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import click
from sqlalchemy import Connection

from dsage.bundle import pack
from dsage.cli.options import json_option, key_option
from dsage.cli.output import count, emit, say
from dsage.cli.safe import passphrase_option, read_passphrase
from dsage.errors import NotFound, UsageError
from dsage.home import Home
from dsage.researcher import Researcher, construct
from dsage.trust.ceremony import load_root, open_root, read
from dsage.trust.envelope import Envelope, seal
from dsage.trust.release import Release, ReleasedFile
from dsage.wire import Package
from dsage_server.blobs.place import known_blobs
from dsage_server.books import books
from dsage_server.fleet_cli import apps as apps_command
from dsage_server.fleet_cli import hosts as hosts_command
from dsage_server.notices_cli import announce, maintenance
from dsage_server.operating_cli import checks, deletions, health, limits, overview, share_told, web
from dsage_server.own_cli import own_checks
from dsage_server.published import Published
from dsage_server.requests_cli import approve, listing, refuse
from dsage_server.retention.archive import ARCHIVE, Archived, archive_due, archive_run
from dsage_server.retention.backup import Backup, back_up
from dsage_server.retention.restore import restore as put_back
from dsage_server.retention.restore import verify
from dsage_server.scheduling.terms import NEWCOMER
from dsage_server.seeding.command import seed_demo
from dsage_server.sentences import deeds as said
from dsage_server.settings import Quota, Settings
from dsage_server.store import deeds, hosts, house, quotas
from dsage_server.store.engine import Store
from dsage_server.store.place import MOVED, existing, opened, shown
from dsage_server.store.transfer import migrate_store
from dsage_server.store.welcome import numbers as running_welcomes
from dsage_server.teams import teams

DAY_S: Final = 86400.0
RELEASE_DAYS: Final = 400.0
WELCOME: Final = "welcome"
"""The project of the gallery that newcomers get a unit of."""

file_argument = click.argument("file", type=click.Path(path_type=Path))


@click.group(short_help="Look after a server: people, limits, news, credit, backups.")
def admin() -> None:
    """Look after a server: people, limits, news, credit, backups.

    Each command works on the server's own machine.
    """


@admin.command()
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@passphrase_option
@json_option
def backup(destination: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Write one encrypted file from which the server can be put back; it may run meanwhile.

    DEST is a new file, or a folder that gets one with the time in its name. The database, the blobs, the CA, the unit
    key and root.json are in it; the root key and code keys are not: keep those apart (`dsage keys export-root`).
    """
    made = back_up(Home(), destination, read_passphrase(passphrase_file, new=True))
    emit("dsage.backup/1", _described(made), as_json, str(made.path))
    say(f"{made.rows} rows and {made.files} files in {made.bytes} bytes. Without its passphrase nobody can open it.")


@admin.command()
@file_argument
@click.option("--home", type=click.Path(path_type=Path), help="Where to put the server (default: DSAGE_HOME).")
@click.option("--verify", "only_verify", is_flag=True, help="Only read it to its end and check everything.")
@click.option(
    "--root-key", type=click.Path(path_type=Path, dir_okay=False), help="The root key's file, to sign root.json again."
)
@passphrase_option
@json_option
def restore(
    file: Path, home: Path | None, only_verify: bool, root_key: Path | None, passphrase_file: Path | None, as_json: bool
) -> None:
    """Put a server back from a backup, where there is none.

    Everything is checked before it is put in place. Start it with `dsage serve`: leases that were open are extended by
    the time since the backup, and what was issued after it is never issued again with another meaning.
    """
    passphrase = read_passphrase(passphrase_file, new=False)
    if only_verify:
        found = verify(file, passphrase)
        emit("dsage.backup/1", _described(found), as_json, str(file))
        say(f"Whole: {found.rows} rows and {found.files} files of {_date(found.made)}.")
        return
    place = Home() if home is None else Home(home)
    found = put_back(file, passphrase, place, root_key=root_key)
    emit("dsage.backup/1", _described(found), as_json, str(place.server))
    say(f"The server of {_date(found.made)} is in {place.server}: {found.rows} rows, {found.files} files.")
    if root_key is None and not place.root_key.exists():
        say(
            f"Its root.json is version {found.root_version}. If it was signed again since the backup, put the newer one"
        )
        say(f"into {place.root_file}, or sign it above that: dsage keys renew --above VERSION --root-key FILE.")


@admin.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=click.IntRange(1))
@click.option(
    "--older-than", type=click.FloatRange(0), metavar="DAYS", help="Every run that ended at least so many days ago."
)
@json_option
def archive(runs: tuple[int, ...], older_than: float | None, as_json: bool) -> None:
    """Move runs that are over from the database to a file each; the server may run meanwhile.

    Results, counts, credit and the ledger stay. The files are Parquet, or JSON lines where pyarrow is not installed,
    and hold everything that is needed to check the answers again.
    """
    if bool(runs) == (older_than is not None):
        raise UsageError("name the runs to archive, or say --older-than DAYS")
    home = Home()
    existing(home.server)
    done = asyncio.run(_archive(home, runs, older_than))
    files = [dataclasses.asdict(each) | {"file": str(each.file)} for each in done]
    emit("dsage.archive/1", files, as_json, "\n".join(str(each.file) for each in done))


@admin.command("migrate-store")
@click.argument("url")
@json_option
def migrate(url: str, as_json: bool) -> None:
    """Move a stopped server's data from SQLite to an empty PostgreSQL database.

    URL is postgresql://USER@HOST/DATABASE; give the password in PGPASSFILE, or in the URL. Every row is compared
    afterwards; then `dsage serve` uses the new store by itself. If this breaks off, run it again.
    """
    home = Home()
    rows = migrate_store(home.server, url, say)
    data = {"store": shown(url), "rows": rows}
    emit("dsage.migrate-store/1", data, as_json, shown(url))
    say(f"{sum(rows.values())} rows are there, and equal. The old file is {home.server / MOVED}: keep it until you")
    say("have seen the server run, then remove it.")


@admin.command("publish-client")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--news", default="", metavar="TEXT", help="One line on what is new, for the notice that clients show.")
@click.option(
    "--root-key", type=click.Path(path_type=Path, dir_okay=False), help="The root key's file, to sign the notice."
)
@json_option
def publish_client(files: tuple[Path, ...], news: str, root_key: Path | None, as_json: bool) -> None:
    """Offer these packages of the client on the page /join, in place of those offered before.

    Visitors see the SHA-256 of each beside it: publish it by another way too. Where the root key is at hand, it signs a
    notice of them: older clients then tell their owners of the newer one, and install nothing. Every server process
    that shows pages needs the files in its own folder. The server may run meanwhile.
    """
    home = Home()
    existing(home.server)
    published = Published.of(home.server)
    try:
        packages = published.publish(files)
        release, why = _release(home, root_key, packages, news)
        if release is not None:
            published.announce(release)
    except OSError as error:
        raise UsageError(f"{error.filename or 'a package'} cannot be published: {error.strerror}") from None
    about, hashes = f"{count(len(packages), 'package')} of the client", " ".join(each.sha256 for each in packages)
    with opened(home.server) as store:
        store.write_now(lambda c: deeds.record(c, time.time(), "operator", "published", about, hashes))
    emit("dsage.published/1", packages, as_json, "\n".join(f"{each.sha256}  {each.name}" for each in packages))
    say(f"{count(len(packages), 'package')} on the page /join, for people who open an invite link in a browser.")
    if release is None:
        say(f"Older clients are told nothing of it, because {why}.")


def _release(home: Home, root_key: Path | None, packages: list[Package], news: str) -> tuple[Envelope | None, str]:
    """Return the signed notice of these packages, or why there is none."""
    if root_key is None and not home.root_key.exists():
        return None, "the root key, which signs that, is not here: --root-key FILE names it"
    versions = {package.version for package in packages if package.version}
    if len(versions) != 1:
        return None, f"the names of the packages tell {len(versions)} versions, and a notice is of one"
    key, root = open_root(home, root_key, None)
    now = time.time()
    files = tuple(
        ReleasedFile(name=each.name, system=each.system, sha256=each.sha256, bytes=each.bytes) for each in packages
    )
    release = Release(
        server_id=root.server_id, number=int(now), version=versions.pop(), issued=now,
        expires=now + RELEASE_DAYS * DAY_S, files=files, news=news,
    )  # fmt: skip
    return seal(release, key), ""


@admin.command("welcome")
@click.option("--off", is_flag=True, help="Welcome nobody any more.")
@click.option("--project", metavar="NAME", help="The project to sign it for.  [default: one that your key is for]")
@key_option
@json_option
def welcome(off: bool, project: str | None, key: str | None, as_json: bool) -> None:
    """Have a first small unit ready for each computer that joins: it proves itself, and is paid within seconds.

    The server must run, and drives it; your code key signs it, for 90 days: say this again before they are over. Other
    computers get none of it, and no research waits for it.
    """
    home = Home()
    number, ended = asyncio.run(_welcome(home, key, project, off=off))
    emit("dsage.welcome/1", {"run": number, "ended": ended}, as_json, "" if number is None else str(number))
    if number is None:
        say("Newcomers are not welcomed any more." if ended else "Newcomers were not welcomed before, either.")
    else:
        say(f"Run {number} has a first unit ready for each computer that joins.")


async def _welcome(home: Home, key: str | None, project: str | None, *, off: bool) -> tuple[int | None, list[int]]:
    """Make a new welcome run, unless it is to be `off`, and end those before it; return their numbers."""
    store = Store(existing(home.server))
    try:
        before = store.read_now(running_welcomes)
    finally:
        store.close()
    number = None
    async with await Researcher.open(home, key_name=key) as api:
        if not off:
            packed = pack(WELCOME)
            function = construct(packed.function, {})
            number = await api.submit(packed, function, {}, project=project, hosted=True, tags=[NEWCOMER], priority=100)
        for run in before:
            await api.cancel(run)
    return number, before


@admin.command()
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
    store = Store(existing(home.server))
    try:
        keys = _named(home, name)
        if name is not None and (limits or clear):
            store.write_now(partial(_set_quota, name=name, key=keys[name], limits=limits))
        shown = {who: store.read_now(partial(_quota, key=key)) for who, key in sorted(keys.items())}
    finally:
        store.close()
    lines = [
        f"{who}: " + ", ".join(share_told(what, *has) for what, has in each.items()) for who, each in shown.items()
    ]
    data = {who: {w: {"used": u, "allowed": a} for w, (u, a) in each.items()} for who, each in shown.items()}
    emit("dsage.quota/1", data, as_json, "\n".join(lines))


@admin.command()
@click.argument("pseudonyms", metavar="PSEUDONYM...", nargs=-1, required=True)
@click.option("--withdraw", is_flag=True, help="Give them units whose answers prove themselves, and no others.")
@json_option
def trust(pseudonyms: tuple[str, ...], withdraw: bool, as_json: bool) -> None:
    """Give volunteers any unit, who joined by a link for units whose answers prove themselves.

    It holds for all computers of their account. The server may run meanwhile, and takes note within a minute or so.
    """
    store = Store(existing(Home().server))

    def change(connection: Connection) -> None:
        for name in pseudonyms:
            hosts.trust(connection, name, not withdraw)
        did = "withdrew trust in" if withdraw else "vouched for"
        deeds.record(connection, time.time(), "operator", did, count(len(pseudonyms), "volunteer"))

    try:
        store.write_now(change)
    finally:
        store.close()
    data = {name: {"verifiable_only": withdraw} for name in pseudonyms}
    emit("dsage.trust/1", data, as_json, "\n".join(pseudonyms))
    say("They get only units whose answers prove themselves." if withdraw else "They get any unit that fits.")


@admin.command("house")
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
    store = Store(existing(home.server))

    def change(connection: Connection) -> None:
        house.link(connection, key, pseudonyms, off=off)
        if pseudonyms:
            about = f"{count(len(pseudonyms), 'account')} as {'not ' if off else ''}belonging to {name}"
            deeds.record(connection, time.time(), "operator", "noted", about)

    try:
        store.write_now(change)
        found = store.read_now(partial(house.accounts, researcher=key))
    finally:
        store.close()
    emit("dsage.house/1", {name: found}, as_json, "\n".join(found))


admin.add_command(books)
admin.add_command(hosts_command)
admin.add_command(apps_command)
admin.add_command(own_checks)
for each in (overview, health, checks, deletions, limits, web, listing, approve, refuse):
    admin.add_command(each)
admin.add_command(announce)
admin.add_command(maintenance)
admin.add_command(teams)
admin.add_command(seed_demo)


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


async def _archive(home: Home, runs: tuple[int, ...], older_than: float | None) -> list[Archived]:
    store = Store(existing(home.server))
    blobs = known_blobs(Settings(folder=home.server), store, read(load_root(home.root_file)).server_id)
    done: list[Archived] = []

    def note(connection: Connection) -> None:
        for each in done:
            deeds.record(connection, time.time(), "operator", "archived", f"run {each.run}")

    try:
        if older_than is not None:
            before = time.time() - older_than * DAY_S
            done += await archive_due(blobs, home.server / ARCHIVE, time.time, before)
        for number in runs:
            done.append(await archive_run(blobs, home.server / ARCHIVE, number, time.time))
            say(f"Run {number}: {done[-1].units} units and {done[-1].replicas} copies.")
        return done
    finally:
        store.write_now(note)
        store.close()


def _described(found: Backup) -> dict[str, object]:
    return dataclasses.asdict(found) | {"path": str(found.path)}


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
