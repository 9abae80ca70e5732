"""`dsage keys backup` and `restore`: the keys of one person in one sealed file; and how a passphrase is asked for."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Final

import click
import msgspec

from dsage.cli.asking import NO_INPUT
from dsage.cli.options import json_option
from dsage.cli.output import emit, say
from dsage.errors import Conflict, NotFound, UsageError
from dsage.files import whole_file, write_whole
from dsage.home import Home
from dsage.trust.sealed import Damaged, SealedWriter, records

SCHEMA: Final = "dsage.keys/1"
PASSPHRASE_BYTES: Final = 4096
WHERE: Final = ("keys/*.key", "client/*.key", "server/unit.key")

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="Read the passphrase from the first line of this file instead of asking for it.",
)


class Kept(msgspec.Struct, frozen=True):
    """One key file of a home."""

    path: str
    pem: bytes


def read_passphrase(path: Path | None, *, new: bool) -> str:
    """Return the passphrase in a file, or ask for it (twice if `new`). Raises UsageError if it cannot be read."""
    if path is None and os.environ.get(NO_INPUT):
        raise UsageError("a passphrase is needed, and nobody is to be asked", hint="Name a --passphrase-file.")
    if path is None:
        return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True))
    try:
        with path.open("rb") as file:
            return file.read(PASSPHRASE_BYTES).decode().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the passphrase cannot be read from {path}: {error}") from None


@click.command()
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path, dir_okay=False))
@passphrase_option
@json_option
def backup(destination: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Write every private key of this home to one encrypted file.

    Root and code keys, a volunteer's client key, a server's unit key: whatever is here. `dsage keys restore` puts
    them back.
    """
    home = Home()
    found = [path for pattern in WHERE for path in sorted(home.folder.glob(pattern))]
    if not found:
        raise NotFound(f"there is no key in {home.folder}", hint="Set DSAGE_HOME to the home that has them.")
    if destination.exists():
        raise Conflict(f"{destination} is there already", hint="Choose another name.")
    passphrase = read_passphrase(passphrase_file, new=True)
    try:
        with whole_file(destination, private=True) as file:
            writer = SealedWriter(file, passphrase)
            for path in found:
                writer.write(msgspec.msgpack.encode(Kept(path.relative_to(home.folder).as_posix(), path.read_bytes())))
            writer.close()
    except OSError as error:
        raise UsageError(f"{destination} cannot be written: {error.strerror or error}") from None
    _told([path.relative_to(home.folder).as_posix() for path in found], destination, as_json)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@passphrase_option
@json_option
def restore(file: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Put the keys of a backup back into this home; a key that is here already is never replaced."""
    home = Home()
    passphrase = read_passphrase(passphrase_file, new=False)
    with file.open("rb") as stream:
        try:
            kept = [msgspec.msgpack.decode(record, type=Kept) for record in records(stream, passphrase)]
        except msgspec.DecodeError:
            raise Damaged("this is no backup of keys", hint="`dsage admin restore` puts a server back.") from None
    if not all(map(_is_key, kept)):
        raise Damaged("this backup names files that are no keys")
    other = [each.path for each in kept if _differs(home.folder / each.path, each.pem)]
    if other:
        raise Conflict(f"another key is here already: {', '.join(other)}", hint="Move it away first.")
    for each in kept:
        write_whole(home.folder / each.path, each.pem, private=True)
    _told([each.path for each in kept], home.folder, as_json)


def _is_key(kept: Kept) -> bool:
    path = PurePosixPath(kept.path)
    return len(path.parts) == 2 and any(path.match(pattern) for pattern in WHERE)


def _differs(path: Path, pem: bytes) -> bool:
    return path.exists() and path.read_bytes() != pem


def _told(names: list[str], place: Path, as_json: bool) -> None:
    say(f"{len(names)} keys: {', '.join(names)}")
    emit(SCHEMA, {"keys": names, "place": str(place)}, as_json, str(place))
