"""`dsage admin`: what an operator does with a server's data, on the server's own machine."""

from __future__ import annotations

from functools import partial
from pkgutil import resolve_name
from typing import Final

import click

from dsage.cli.later import Later, imported

PLACES: Final = {
    "announce": "notices_cli:announce",
    "approve": "requests_cli:approve",
    "apps": "fleet_cli:apps",
    "archive": "retention.command:archive",
    "backup": "retention.command:backup",
    "checks": "operating_cli:checks",
    "credit": "books:books",
    "deletions": "operating_cli:deletions",
    "health": "operating_cli:health",
    "hosts": "fleet_cli:hosts",
    "house": "people_cli:own_accounts",
    "limits": "operating_cli:limits",
    "maintenance": "notices_cli:maintenance",
    "migrate-store": "retention.command:migrate",
    "overview": "operating_cli:overview",
    "own-checks": "own_cli:own_checks",
    "publish-client": "publishing_cli:publish_client",
    "quota": "people_cli:quota",
    "refuse": "requests_cli:refuse",
    "requests": "requests_cli:listing",
    "restore": "retention.command:restore",
    "seed-demo": "seeding.command:seed_demo",
    "team": "teams:teams",
    "trust": "people_cli:trust",
    "web": "operating_cli:web",
    "welcome": "welcoming_cli:welcome",
}
"""Where each command is, below this package."""
TEXTS: Final = {
    "announce": "Tell all visitors of the pages something, or list what is told.",
    "approve": "Certify the key of a request, with the root key.",
    "apps": "Show how copies of each app version end, by kind of computer.",
    "archive": "Move runs that are over from the database to a file each; the server may run meanwhile.",
    "backup": "Write one encrypted file from which the server can be put back; it may run meanwhile.",
    "checks": "Show what checks of answers found, and credit that was taken back.",
    "credit": "Prove, verify and correct the credit ledger.",
    "deletions": "Show who had their account erased, and what is still to go.",
    "health": "Show how the server's parts, its database and its disk are.",
    "hosts": "Show how hosts do, who was found lying and who stands out.",
    "house": "Say which volunteers' accounts are a researcher's own.",
    "limits": "Show how often one may ask, and what researchers may have.",
    "maintenance": "Give out no work for a while, or again.",
    "migrate-store": "Move a stopped server's data from SQLite to an empty PostgreSQL database.",
    "overview": "Show what needs attention, and what goes on.",
    "own-checks": "Show what the server computed itself, or set how much.",
    "publish-client": "Offer these packages of the client on the page /join, in place of those offered before.",
    "quota": "Show what researchers may have at a time and have, or change it for one of them.",
    "refuse": "Refuse a request.",
    "requests": "List who asks that their key be certified.",
    "restore": "Put a server back from a backup, where there is none.",
    "seed-demo": "Fill an empty, stopped server with made-up volunteers, runs and credit.",
    "team": "List teams, rename one or close one.",
    "trust": "Give volunteers any unit, who joined by a link for units whose answers prove themselves.",
    "web": "Print a link to the operator's pages, good for a minute.",
    "welcome": "Have a first small unit ready for each computer that joins: it proves itself, and is paid within "
    "seconds.",
}
"""The first sentence of each one's help (compared by a test)."""


def _load(name: str) -> click.Command:
    return imported(f"admin {name}", partial(resolve_name, f"dsage_server.{PLACES[name]}"))


@click.group(
    cls=Later, texts=TEXTS, load=_load, short_help="Look after a server: people, limits, news, credit, backups."
)
def admin() -> None:
    """Look after a server: people, limits, news, credit, backups.

    Each command works on the server's own machine.
    """
