"""`dsage keys`: make keys, certify and revoke them, see what expires, move the root key away."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import click

from dsage.cli import safe
from dsage.cli.asking import sure
from dsage.cli.options import yes_option
from dsage.cli.output import emit, say, table
from dsage.errors import Conflict, UsageError
from dsage.home import Home, is_plain
from dsage.trust import ceremony, proving
from dsage.trust.inventory import Line, inventory
from dsage.trust.invite import SYSTEM_CA
from dsage.trust.keys import PrivateKey, fingerprint, parse_public, public_text
from dsage.trust.tls import spki_hash

SCHEMA: Final = "dsage.keys/1"
MAX_PUBLIC_FILE_BYTES: Final = 4096

as_json_option = click.option("--json", "as_json", is_flag=True, help="Write one JSON document to standard output.")
root_key_option = click.option(
    "--root-key", type=click.Path(path_type=Path, dir_okay=False), help="The root key's file, if it was moved away."
)
root_file_option = click.option(
    "--root-file", type=click.Path(path_type=Path, dir_okay=False), help="root.json, if it is not this home's."
)


@click.group()
def keys() -> None:
    """Make, certify and revoke keys.

    The root key says which other keys count; code keys sign researchers' programs; the unit key, the only one that
    a server needs, signs work units. After a change, copy root.json to the server if it was signed elsewhere.
    """


@keys.command()
@click.argument("role", type=click.Choice(["root", "code", "unit"]))
@click.option("--name", default="", help="Name of a code key (default: lab).")
@as_json_option
def new(role: str, name: str, as_json: bool) -> None:
    """Make a key and print its public half.

    A code or unit key counts once the root key has certified it (`dsage keys certify`).
    """
    home = Home()
    if name and role != "code":
        raise UsageError(f"a {role} key has no name", hint="--name is for code keys.")
    if role == "root" and home.root_file.exists():
        raise Conflict(
            f"{home.root_file} already names a root key; another one would be a new server to every volunteer",
            hint="Set DSAGE_HOME to a new folder for a new server.",
        )
    path = {"root": home.root_key, "unit": home.unit_key}.get(role) or home.code_key(name or ceremony.LAB)
    key = PrivateKey.generate()
    key.save(path)
    say(f"The {role} key is in {path}. Nobody else may see that file; keep a copy in a safe place.")
    if role == "code":
        say("Send the line below to the server's operator, and compare the fingerprint by another way:")
        say(f"  {fingerprint(key.public)}")
    data = {"role": role, "file": str(path), "public": public_text(key.public), "fingerprint": fingerprint(key.public)}
    emit(SCHEMA, data, as_json, public_text(key.public))


@keys.command()
@click.argument("server_id", metavar="SERVER")
@click.option("--name", default="", help="Name of the code key (default: lab).")
@as_json_option
def prove(server_id: str, name: str, as_json: bool) -> None:
    """Print a line that proves that you have a code key, for one server.

    The page /certify of a server says its SERVER, and takes the line, with which you ask its operator to certify your
    key. It is good for an hour, once, and there alone.
    """
    path = Home().code_key(name or ceremony.LAB)
    key = PrivateKey.load(path)
    line = proving.prove(key, server_id, time.time())
    say(f"This proves for an hour that you have the key {fingerprint(key.public)} ({path}). Paste it into the page:")
    data = {"role": "code", "proof": line, "public": public_text(key.public), "fingerprint": fingerprint(key.public)}
    emit(SCHEMA, data, as_json, line)


@keys.command()
@click.argument("public_or_file")
@click.option("--project", "projects", multiple=True, help="A project that the key may sign for; repeatable.")
@click.option("--name", default="", help="Whose key it is (default: the key's file name, else its fingerprint).")
@click.option("--days", type=click.FloatRange(0.05, 3650), default=ceremony.CODE_KEY_DAYS, show_default=True)
@click.option("--unit", is_flag=True, help="Certify a server's unit key instead of a code key.")
@click.option("--ca", is_flag=True, help='Accept a CA by its certificate\'s file, or every public one by "system".')
@root_key_option
@root_file_option
@as_json_option
def certify(
    public_or_file: str,
    projects: tuple[str, ...],
    name: str,
    days: float,
    unit: bool,
    ca: bool,
    root_key: Path | None,
    root_file: Path | None,
    as_json: bool,
) -> None:
    """Sign a new root.json that names this key. Certifying a key again renews it."""
    home = Home()
    if unit + ca + bool(projects) != 1:
        raise UsageError("certify a code key with --project, a unit key with --unit, or an authority with --ca")
    if ca:
        wanted = _read_authority(public_or_file)
        _, root = ceremony.open_root(home, root_key, root_file)
        accepted = ceremony.accepting(root, wanted)
        _sign(home, root_key, root_file, as_json, f"accepts the authority {wanted[:16]}", ca_keys=accepted)
        return
    public, stem = _read_public(public_or_file)
    for project in projects:
        if not is_plain(project):
            raise UsageError(f"{project!r} cannot be the name of a project", hint="Use letters, digits, . _ and -.")
    _, root = ceremony.open_root(home, root_key, root_file)
    known = next((entry.name for entry in root.code_keys if entry.key == public), "")
    changes: dict[str, Any]
    if unit:
        if public in root.revoked_keys:
            raise Conflict(f"the key {fingerprint(public)} was revoked", hint="Make a new key.")
        changes = {"unit_keys": [*(key for key in root.unit_keys if key != public), public]}
    else:
        label = name or known or stem or fingerprint(public)
        changes = {"code_keys": ceremony.certified(root, public, label, projects, days)}
    _sign(home, root_key, root_file, as_json, f"certifies {fingerprint(public)}", **changes)


@keys.command()
@click.option("--above", type=click.IntRange(0, 1 << 31), default=0, help="Choose a version above this one.")
@root_key_option
@root_file_option
@as_json_option
def renew(above: int, root_key: Path | None, root_file: Path | None, as_json: bool) -> None:
    """Sign root.json again, for another year.

    After a server was put back from an older backup, volunteers may have seen a later root.json than the one in it;
    one with a version --above that is believed by everybody.
    """
    _sign(Home(), root_key, root_file, as_json, "renews it", above=above)


@keys.command("replace-root")
@yes_option
@root_file_option
@as_json_option
def replace_root(yes: bool, root_file: Path | None, as_json: bool) -> None:
    """Make a new root key because the old one is lost or stolen.

    The server stays what it is: accounts, credit, runs and certified keys. But nobody can tell this change from a
    thief's, so each volunteer and researcher has to be given a new link by a way that they trust. Restart the server.
    """
    sure("everybody will have to join and log in again by new links", yes)
    home = Home()
    root = ceremony.read(ceremony.replace_root(home, root_file))
    say(f"Version {root.version} of root.json is signed by a new root key, {fingerprint(root.root_key)}.")
    say("Restart the server, then send new invites; researchers log in again with its new link.")
    data = {"root_version": root.version, "file": str(home.root_key), "public": public_text(root.root_key)}
    emit(SCHEMA, data, as_json, str(home.root_key))


@keys.group()
def revoke() -> None:
    """Withdraw an app version or a key, for good."""


@revoke.command("app")
@click.argument("app_hash", metavar="HASH")
@root_key_option
@root_file_option
@as_json_option
def revoke_app(app_hash: str, root_key: Path | None, root_file: Path | None, as_json: bool) -> None:
    """Withdraw an app version: clients stop its units at their next contact."""
    if len(app_hash) != 64 or not set(app_hash) <= set("0123456789abcdef"):
        raise UsageError("an app version is named by its SHA-256: 64 hexadecimal digits")
    home = Home()
    _, root = ceremony.open_root(home, root_key, root_file)
    revoked = sorted({*root.revoked_apps, app_hash})
    _sign(home, root_key, root_file, as_json, f"revokes app {app_hash[:12]}", revoked_apps=revoked)


@revoke.command("key")
@click.argument("public_or_file", metavar="PUBLIC")
@root_key_option
@root_file_option
@as_json_option
def revoke_key(public_or_file: str, root_key: Path | None, root_file: Path | None, as_json: bool) -> None:
    """Withdraw a code or unit key: nothing that it signed is believed any more."""
    home = Home()
    public, _ = _read_public(public_or_file)
    _, root = ceremony.open_root(home, root_key, root_file)
    changes = ceremony.without_key(root, public)
    _sign(home, root_key, root_file, as_json, f"revokes {fingerprint(public)}", **changes)


@keys.command()
@root_file_option
@as_json_option
def status(root_file: Path | None, as_json: bool) -> None:
    """Show every key and certificate of this home: role, place, fingerprint, expiry."""
    home = Home()
    lines = inventory(home, root_file or home.root_file, time.time())
    version = next((line.version for line in lines if line.version), None)
    beside = home.root_key.exists() and home.unit_key.exists()
    for line in lines:
        if line.warning:
            say(f"Warning: {line.warning}")
    if beside:
        say(
            "The root key lies beside the server: whoever takes this machine can pass foreign programs to "
            "volunteers. Move it away with `dsage keys export-root DEST`."
        )
    data = {"home": str(home.folder), "root_version": version, "root_key_beside_server": beside, "keys": lines}
    emit(SCHEMA, data, as_json, _as_table(lines))


@keys.command("export-root")
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@as_json_option
def export_root(destination: Path, as_json: bool) -> None:
    """Move the root key away from the server, to a file or folder that you can take with you."""
    home = Home()
    key = PrivateKey.load(home.root_key)
    target = destination / home.root_key.name if destination.is_dir() else destination
    key.save(target)
    if PrivateKey.load(target).public != key.public:
        raise UsageError(f"{target} does not give back what was written", hint="Choose another place.")
    home.root_key.unlink()
    say(f"The root key is now in {target} and no longer here. Keep two copies, away from this machine.")
    say(f"Use it when needed, at least once a year: `dsage keys certify ... --root-key {target}`, `revoke` likewise.")
    for path in sorted(home.keys.glob("code-*.key")):
        say(f"The code key {path} can still sign programs for its projects: move it to its researcher's computer.")
    emit(SCHEMA, {"file": str(target), "public": public_text(key.public)}, as_json, str(target))


keys.add_command(safe.backup)
keys.add_command(safe.restore)


def _sign(home: Home, root_key: Path | None, root_file: Path | None, as_json: bool, what: str, **changes: Any) -> None:
    envelope = ceremony.sign_root(home, root_key=root_key, root_file=root_file, **changes)
    root = ceremony.read(envelope)
    path = root_file or home.root_file
    say(f"Version {root.version} of root.json {what}.")
    emit(SCHEMA, {"root_version": root.version, "file": str(path), "expires": root.expires}, as_json, str(path))


def _read_public(text: str) -> tuple[bytes, str]:
    """Return a raw public key and the name that its file suggests, from the key itself, a text or a key file."""
    path = Path(text)
    if not path.is_file():
        return parse_public(text), ""
    stem = path.stem.removeprefix("code-")
    with path.open("rb") as file:
        content = file.read(MAX_PUBLIC_FILE_BYTES)
    if content.startswith(b"-----BEGIN"):
        return PrivateKey.load(path).public, stem
    return parse_public(content.decode(errors="replace")), stem


def _read_authority(text: str) -> str:
    """Return how root.json names an authority: the hash of the key in a certificate's file, or "system"."""
    if text == SYSTEM_CA:
        return text
    try:
        return spki_hash(Path(text).read_bytes())
    except OSError as error:
        raise UsageError(
            f"{text} cannot be read: {error.strerror}", hint="Give a certificate's file, or system."
        ) from None


def _as_table(lines: list[Line]) -> str:
    rows = [[line.role, line.name, line.fingerprint, line.until, line.where] for line in lines]
    return table(["ROLE", "NAME", "FINGERPRINT", "VALID UNTIL", "WHERE"], rows)
