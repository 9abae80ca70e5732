"""`dsage serve` and `dsage invite`, which needs little of what a server does: that is imported where one starts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

import click
from sqlalchemy import Connection

from dsage.cli.options import json_option
from dsage.cli.output import emit, say, table
from dsage.errors import NotFound, UsageError
from dsage.home import Home
from dsage.trust.ceremony import load_root, read
from dsage.trust.invite import Link
from dsage.trust.keys import key_hash
from dsage.trust.tls import spki_hash
from dsage_server.addresses import host_of, only_here, parse_address, visited
from dsage_server.settings import LOG_FORMS, Settings
from dsage_server.store import hosts, open_links
from dsage_server.store.engine import Store
from dsage_server.store.meta import recall
from dsage_server.store.place import existing

PORT: Final = 8470
PAGES_PORT: Final = 8471
DAY_S: Final = 86400.0
FOREVER_DAYS: Final = 3650.0

PER_HOUR: Final = 60
PER_NETWORK: Final = 5


@click.command(short_help="Run a project server.")
@click.option(
    "--listen",
    default=f":{PORT}",
    metavar="ADDR",
    show_default=True,
    help="HOST:PORT of the machine API; without HOST every address, IPv4 and IPv6; port 0 is any free one.",
)
@click.option("--public", default="", metavar="URL", help="https://HOST:PORT under which volunteers reach it.")
@click.option(
    "--pages",
    default=f"localhost:{PAGES_PORT}",
    metavar="ADDR",
    show_default=True,
    help="HOST:PORT of the public pages: plain HTTP, so put a proxy before them if not on localhost.",
)
@click.option(
    "--pages-url", default="", metavar="URL", help="Where visitors reach the pages, if a proxy stands before them."
)
@click.option(
    "--proxies", default="", metavar="LIST",
    help="Proxies on other computers, with commas: addresses or networks whose X-Forwarded-For says who calls.",
)  # fmt: skip
@click.option(
    "--tls-cert",
    type=click.Path(resolve_path=True, dir_okay=False),
    metavar="FILE",
    help="Show this certificate, with its chain, instead of one of the server's own CA; read again when it changes.",
)
@click.option(
    "--tls-key", type=click.Path(resolve_path=True, dir_okay=False), metavar="FILE", help="The key of --tls-cert."
)
@click.option(
    "--tls-ca",
    default="",
    metavar="CA",
    help="Whom clients believe about the certificate that they see: system, or the file of a CA that links then pin. "
    " [default: system with --tls-cert, else the server's own CA]",
)
@click.option(
    "--metrics",
    default="",
    metavar="ADDR",
    help="HOST:PORT where Prometheus may ask how the server stands (/metrics), best on localhost.  [default: nowhere]",
)
@click.option(
    "--traces",
    default="",
    metavar="URL",
    help="Send a span for each request to this OpenTelemetry collector, by OTLP over HTTP (needs the extra otel).",
)
@click.option(
    "--log-format",
    type=click.Choice(LOG_FORMS),
    default=LOG_FORMS[0],
    show_default=True,
    help="How the log is written: lines for people, or a JSON object a line.",
)
@click.option("--name", default="DSage", help="The server's name on its pages.")
@click.option(
    "--operator", default="", metavar="WHO", help="Who runs the server, as volunteers are told before they join."
)
@click.option(
    "--roles",
    default="",
    metavar="LIST",
    help="What this process does, with commas: api, validator, projector, sweeper, hosting; all of it by default. "
    "Fewer need PostgreSQL.",
)
@click.option(
    "--own-work",
    is_flag=True,
    help="Run the checks that apps bring along even in a weaker sandbox: every app here is my own.",
)
@click.option(
    "--store",
    default="",
    metavar="URL",
    envvar="DSAGE_STORE",
    help="A PostgreSQL database, postgresql://USER@HOST/DATABASE, that several servers may share; remembered. "
    "[default: SQLite in the server's folder]",
)
@click.option(
    "--blobs",
    default="",
    metavar="PLACE",
    help="Where bundles and inputs are kept: a directory, or s3://BUCKET/PREFIX?endpoint=URL with its keys in "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.  [default: in the server's folder]",
)
@click.option(
    "--held-calls",
    type=click.IntRange(min=0),
    default=20_000,
    show_default=True,
    envvar="DSAGE_HELD_CALLS",
    help="How many volunteers may wait on the server for work; those beyond ask again every now and then.",
)
@click.option(
    "--archive-after",
    type=click.FloatRange(0),
    default=0.0,
    metavar="DAYS",
    help="Move runs that ended so long ago from the database to a file each (0: never).  [default: 0]",
)
@click.option(
    "--approve-first-runs",
    is_flag=True,
    help="A new researcher's first run waits until another one approves it (`dsage project approve`).",
)
@json_option
def serve(
    listen: str, public: str, pages: str, pages_url: str, proxies: str, metrics: str, traces: str,
    log_format: str, tls_cert: str | None, tls_key: str | None, tls_ca: str,
    name: str, operator: str, roles: str, own_work: bool, store: str, blobs: str, held_calls: int, archive_after: float,
    approve_first_runs: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run a project server.

    The first start makes every key and says where they lie; later starts use them. Stop it by Ctrl-C: nothing that
    it acknowledged is lost, and volunteers wait until it is back.
    """  # fmt: skip
    from dsage_server.api.callers import parse_proxies
    from dsage_server.roles import parse as parse_roles
    from dsage_server.server import METRICS_PORT
    from dsage_server.starting import run

    home = Home()
    if public:
        host_of(public)
    if pages_url and not pages_url.startswith(("https://", "http://")):
        raise UsageError(f"{pages_url!r} is not the address of pages", hint="It looks like https://NAME.")
    address, port = parse_address(listen, PORT)
    pages_address, pages_port = parse_address(pages, PAGES_PORT)
    settings = Settings(
        folder=home.server, name=name, operator=operator, listen=address, port=port, public=public,
        pages=pages_address or "localhost", pages_port=pages_port, pages_url=pages_url.rstrip("/"),
        proxies=parse_proxies(proxies), metrics=metrics, traces=traces, log_format=log_format,
        tls_cert=tls_cert or "", tls_key=tls_key or "", tls_ca=tls_ca, sandbox_own=own_work, store=store,
        roles=parse_roles(roles),
        blobs=blobs, held_calls=held_calls, archive_after_days=archive_after,
        approve_first_runs=approve_first_runs,
    )  # fmt: skip
    if metrics:
        parse_address(metrics, METRICS_PORT)
    run(home, settings, as_json)


@click.command(short_help="Make a link that lets volunteers join.")
@click.option(
    "--uses", type=click.IntRange(1, 100_000), help="How many may join by it.  [default: 1, or any with --public]"
)
@click.option(
    "--days", type=click.FloatRange(0.001, FOREVER_DAYS), default=7.0, show_default=True, help="How long it is good."
)
@click.option("--public", is_flag=True, help="A link to publish: anybody may join by it, so many an hour.")
@click.option(
    "--per-hour",
    type=click.IntRange(1),
    default=PER_HOUR,
    show_default=True,
    help="How many may join by a public link.",
)
@click.option(
    "--per-network", type=click.IntRange(1), default=PER_NETWORK, show_default=True,
    help="How many of them from one network: /24 of IPv4, /48 of IPv6.",
)  # fmt: skip
@click.option(
    "--verifiable-only/--any-work",
    default=None,
    help="What they get: units whose answers prove themselves, or any.  [default: any, or the former with --public]",
)
@click.option("--list", "listing", is_flag=True, help="Show the public links and how many joined by each.")
@click.option("--revoke", type=click.IntRange(1), metavar="N", help="Withdraw public link N.")
@click.option("--qr", is_flag=True, help="Draw the link for a camera, too.")
@json_option
def invite(
    uses: int | None, days: float, public: bool, per_hour: int, per_network: int, verifiable_only: bool | None,
    listing: bool, revoke: int | None, qr: bool, as_json: bool,
) -> None:  # fmt: skip
    """Make a link that lets volunteers join.

    Send it to people over a channel that they trust: it names the keys by which their computers will know this
    server, and carries a code that is used up when they join. Opened in a browser it leads to a page that explains
    everything, if the server's pages are public and have a certificate (--pages-url https://NAME).
    """
    home = Home()
    if listing or revoke is not None:
        _public_links(home, revoke, as_json)
        return
    if public and uses is not None:
        raise UsageError("anybody may join by a public link: leave --uses out", hint="--per-hour N limits it.")
    only = public if verifiable_only is None else verifiable_only
    if public:
        link, number = make_public_link(home, per_hour, per_network, days * DAY_S, verifiable_only=only)
    else:
        link, number = make_invite(home, uses or 1, days * DAY_S, verifiable_only=only), None
    here = only_here(link.url)
    if here:
        say(f"This link works only on this computer, because it leads to {host_of(link.url)}.")
        say("For one that works elsewhere, start the server with --public https://NAME:PORT.")
    elif not link.page:
        say("Opened in a browser this link shows a warning, because browsers do not know the server's own certificate")
        say("authority. With --pages-url https://NAME it would lead to the page that explains how to join.")
    data = {"link": str(link), "days": days, "only_here": here, "verifiable_only": only}
    data |= {"uses": uses or 1} if number is None else {"number": number, "per_hour": per_hour}
    emit("dsage.invite/1", data, as_json, str(link))
    if qr:
        import segno

        segno.make(str(link), micro=False, error="l").terminal(out=sys.stderr, compact=True)
    if number is None:
        say(f"Good for {uses or 1} volunteer{'s' if (uses or 1) > 1 else ''} and {days:g} days: dsage join 'LINK'")
    else:
        say(
            f"Public link {number}, for {days:g} days: {per_hour} an hour may join by it, {per_network} of one network."
        )
        say("It stands on the server's page /join, for whoever comes without a link.")
        say(f"`dsage invite --list` counts them, and `dsage invite --revoke {number}` withdraws it.")
    if only:
        say("Who joins by it gets units whose answers prove themselves, until `dsage admin trust PSEUDONYM`.")


def make_invite(home: Home, uses: int, valid_s: float, *, verifiable_only: bool = False) -> Link:
    """Return a link by which `uses` volunteers may join the server of this home, running or not. Raises NotFound."""

    def make(connection: Connection, now: float) -> str:
        return hosts.make_invite(connection, uses, valid_s, now, verifiable_only=verifiable_only)

    return _link(home, make)


def make_public_link(
    home: Home, per_hour: int, per_prefix: int, valid_s: float, *, verifiable_only: bool = True
) -> tuple[Link, int]:
    """Return a link by which anybody may join, so many an hour in all and of one network, and its number; the join
    page shows it."""
    numbers: list[int] = []

    def make(connection: Connection, now: float) -> str:
        number, code = open_links.make(
            connection, per_hour=per_hour, per_prefix=per_prefix, valid_s=valid_s, now=now,
            verifiable_only=verifiable_only,
        )  # fmt: skip
        numbers.append(number)
        return code

    link = _link(home, make)
    store = Store(existing(home.server))
    try:
        store.write_now(lambda connection: open_links.show(connection, numbers[-1], str(link)))
    finally:
        store.close()
    return link, numbers[-1]


def _link(home: Home, make_code: Callable[[Connection, float], str]) -> Link:
    """Return a link to the server of this home with a code; to its pages, if people can open those in a browser."""
    database = existing(home.server)
    root = read(load_root(home.root_file))
    own = spki_hash((home.tls / "ca.pem").read_bytes())
    store = Store(database)
    try:
        known = store.read_now(lambda c: {name: recall(c, name) for name in ("url", "ca", "pages_url")})
        url, pages = known["url"], known["pages_url"] or ""
        if url is None:
            raise NotFound("this server has never run", hint="Run `dsage serve` first.")
        now = time.time()
        code = store.write_now(lambda connection: make_code(connection, now))
    finally:
        store.close()
    page = pages if pages.startswith("https://") and visited(pages) else ""
    return Link(url, root.server_id, known["ca"] or own, key_hash(root.root_key), code, page)


def _public_links(home: Home, revoke: int | None, as_json: bool) -> None:
    store, now = Store(existing(home.server)), time.time()
    try:
        if revoke is not None:
            store.write_now(lambda connection: open_links.revoke(connection, revoke, now))
        found = store.read_now(lambda connection: open_links.links(connection, now))
    finally:
        store.close()
    rows = [
        [
            str(link.number), f"{link.used:,}", f"{link.lately:,} of {link.per_hour:,}", f"{link.per_prefix:,}",
            "verifiable" if link.verifiable_only else "any",
            "withdrawn" if link.revoked else f"{max(0.0, link.expires - now) / DAY_S:.1f} days",
        ]
        for link in found
    ]  # fmt: skip
    text = table(["link", "joined", "this hour", "of one network", "work", "good for"], rows) if rows else ""
    emit("dsage.public-links/1", found, as_json, text)
    if not rows:
        say("There is no public link: `dsage invite --public` makes one.")
