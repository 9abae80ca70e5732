"""A client's whole life: the sandbox's self-test, joining servers, working, leaving."""

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
from dsage.errors import SandboxRefused
from dsage.files import keeping
from dsage.sandbox import Level, Report, offers, strongest
from dsage.sandbox.space import working_space
from dsage.trust.invite import Link
from dsage.wire import AGREEMENT, INPUTS, PERTURBED, HostInfo
from dsage_client import membership, parts
from dsage_client.door import serving
from dsage_client.door.words import Newcomer
from dsage_client.events import Event, Tell
from dsage_client.guest.preferences import Preferences
from dsage_client.idle.here import here
from dsage_client.install.switch import packaged
from dsage_client.membership import Membership
from dsage_client.readings import Readings
from dsage_client.runner import Room, Runner, SandboxRunner
from dsage_client.settings import Settings
from dsage_client.station import Station

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


async def volunteer(
    settings: Settings,
    link: Link | None,
    tell: Tell,
    *,
    newcomer: Newcomer | None = None,
    wrap: Callable[[Runner], Runner] | None = None,
) -> int:
    """Run a client until a signal ends it, and return the signal's number; 0 if its owner ended it.

    `newcomer` is how it joins where it must. `wrap` may put another runner around the sandboxed one. Raises Conflict
    if another client uses the same folder, SandboxRefused before anything is sent if this machine cannot hold
    strangers' code, UsageError, InviteRefused, ServerAway and TrustError while joining, MustStop later.
    """
    with membership.locked(settings.lock_file):
        found = parts.choose(settings, link)
        with working_space(settings.work) as work_dir:
            with keeping(settings.work):
                report = await strongest(work_dir, strangers=not settings.own_work)
            tell(_sandbox_event(report, own_work=settings.own_work))
            if report.level is None:
                raise SandboxRefused(report.sentence)
            members = [(own, await _member(own, wanted, tell, newcomer)) for own, wanted in found]
            runner: Runner = SandboxRunner(
                report.level,
                settings.work.resolve(),
                niceness=settings.niceness,
                units_per_box=settings.units_per_box,
            )
            level = report.level
            station = Station(
                settings,
                runner if wrap is None else wrap(runner),
                Readings(settings.shared),
                tell,
                lambda own, preferences: host_info(own, level, preferences),
                sandbox=level.value,
                sensor=here,
            )
            async with serving.opened(settings.shared, station):
                return await _until_signal(station, members, new=any(isinstance(wanted, Link) for _, wanted in found))


async def _member(own: Settings, wanted: Membership | Link, tell: Tell, newcomer: Newcomer | None) -> Membership:
    """Return a membership, joining first where there is none."""
    new = isinstance(wanted, Link)
    member = (
        await membership.enrol(own, wanted, membership.client_key(own), time.time(), newcomer)
        if isinstance(wanted, Link)
        else wanted
    )
    text = f"{'joined' if new else 'back at'} {member.server.url} as {member.pseudonym}"
    tell(Event(kind="joined", text=text, data={"pseudonym": member.pseudonym, "new": new}))
    if new and not packaged():
        tell(Event(kind="hint", text="`dsage autostart on` starts this with your session; `dsage tray` shows an icon"))
    return member


async def _until_signal(station: Station, members: list[tuple[Settings, Membership]], *, new: bool) -> int:
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        station.end()

    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        await station.run(members, welcome=new)
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
    return received[0] if received else 0


def host_info(settings: Settings, level: Level, preferences: Preferences | None = None) -> HostInfo:
    """Return what this host offers: what apps may name in `needs`, memory and disk, its tags, what it refuses."""
    wishes = preferences or Preferences()
    server = settings.folder.name
    return HostInfo(
        client=f"dsage/{__version__}",
        platform=f"{sys.platform}-{os.uname().machine}",
        cores=settings.slots,
        memory_bytes=Room.of_host(wishes.memory_percent).memory_bytes,
        sandbox=level.value,
        offers=offers.offered(),
        disk_bytes=max(1, min(parts.disk_bytes(settings, wishes), shutil.disk_usage(settings.folder).free)),
        tags=list(settings.tags),
        features=[INPUTS, AGREEMENT, PERTURBED],
        refuses=[name.partition("/")[2] for name in wishes.refused if name.startswith(f"{server}/")],
    )


def _sandbox_event(report: Report, *, own_work: bool) -> Event:
    sentence = report.sentence
    if own_work and report.level is not Level.BUBBLEWRAP:
        sentence = f"WEAKER SANDBOX, for your own server's work only: {sentence}"
    level = None if report.level is None else report.level.value
    return Event(kind="sandbox", text=sentence, data={"level": level, "own_work": own_work})
