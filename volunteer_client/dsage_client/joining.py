"""A client's whole life: the sandbox's self-test, joining a server the first time, working, leaving."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

from dsage import __version__
from dsage.connection import Connection
from dsage.errors import SandboxRefused
from dsage.sandbox import Level, Report, offers, strongest
from dsage.sandbox.space import working_space
from dsage.trust.invite import Link
from dsage.wire import INPUTS, HostInfo
from dsage_client import membership
from dsage_client.agent import Agent
from dsage_client.events import Event, Tell
from dsage_client.membership import Membership
from dsage_client.runner import Runner, SandboxRunner
from dsage_client.session import Session
from dsage_client.settings import Settings

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


async def volunteer(
    settings: Settings, link: Link | None, tell: Tell, *, wrap: Callable[[Runner], Runner] | None = None
) -> int:
    """Run a client until a signal ends it, and return the signal's number.

    `wrap` may put another runner around the sandboxed one. Raises Conflict if another client uses the same
    folder, SandboxRefused before anything is sent if this machine cannot hold strangers' code, UsageError,
    InviteRefused, ServerAway and TrustError while joining, MustStop later.
    """
    with membership.locked(settings.lock_file):
        found = membership.known(settings, link)
        with working_space(settings.work) as work_dir:
            report = await strongest(work_dir, strangers=not settings.own_work)
            tell(_sandbox_event(report, own_work=settings.own_work))
            new = isinstance(found, Link)
            member = await _enrolled(settings, found) if isinstance(found, Link) else found
            text = f"{'joined' if new else 'back at'} {member.server.url} as {member.pseudonym}"
            tell(Event(kind="joined", text=text, data={"pseudonym": member.pseudonym, "new": new}))
            return await _work(settings, member, report, tell, wrap)


async def _enrolled(settings: Settings, link: Link) -> Membership:
    return await membership.enrol(settings, link, membership.client_key(settings), time.time())


async def _work(
    settings: Settings, member: Membership, report: Report, tell: Tell, wrap: Callable[[Runner], Runner] | None
) -> int:
    level = report.level
    if level is None:
        raise SandboxRefused(report.sentence)
    link, pem = member.server, member.ca_pem.encode() or None

    async def connect() -> Connection:
        return await Connection.open(link, ca_pem=pem)

    session = Session(
        connect,
        membership.client_key(settings),
        membership.load_chain(settings, link),
        lambda envelope: membership.save_root(settings, envelope),
        host_info(settings, level),
    )
    runner: Runner = SandboxRunner(
        level,
        settings.work.resolve(),
        niceness=settings.niceness,
        units_per_box=settings.units_per_box,
    )
    agent = Agent(settings, session, runner if wrap is None else wrap(runner), tell)
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        agent.stop()

    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        await agent.run()
    finally:
        await runner.close()
        for number in SIGNALS:
            loop.remove_signal_handler(number)
    return received[0] if received else 0


def host_info(settings: Settings, level: Level) -> HostInfo:
    """Return what this host offers: what apps may name in `needs`, disk, its tags."""
    return HostInfo(
        client=f"dsage/{__version__}",
        platform=f"{sys.platform}-{os.uname().machine}",
        cores=settings.slots,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        sandbox=level.value,
        offers=offers.offered(),
        disk_bytes=max(1, min(settings.input_bytes, shutil.disk_usage(settings.folder).free)),
        tags=list(settings.tags),
        features=[INPUTS],
    )


def _sandbox_event(report: Report, *, own_work: bool) -> Event:
    sentence = report.sentence
    if own_work and report.level is not Level.BUBBLEWRAP:
        sentence = f"WEAKER SANDBOX, for your own server's work only: {sentence}"
    level = None if report.level is None else report.level.value
    return Event(kind="sandbox", text=sentence, data={"level": level, "own_work": own_work})
