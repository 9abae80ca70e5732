"""`dsage admin publish-client`: what volunteers may install, and the signed notice of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import click

from dsage.cli.options import json_option
from dsage.cli.output import count, emit, say
from dsage.errors import UsageError
from dsage.home import Home
from dsage.trust.ceremony import open_root
from dsage.trust.envelope import Envelope, seal
from dsage.trust.release import Release, ReleasedFile
from dsage.wire import Package
from dsage_server.published import Published
from dsage_server.store import deeds
from dsage_server.store.place import existing, opened

DAY_S: Final = 86400.0
RELEASE_DAYS: Final = 400.0


@click.command("publish-client")
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
