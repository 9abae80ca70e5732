"""What a client says of itself: the status that tray, manager, screensaver and command line show, from its parts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Final

import msgspec

from dsage import __version__
from dsage.errors import TooOld
from dsage.sandbox import processes
from dsage.sandbox.launch import outermost
from dsage_client.conduct import Conduct
from dsage_client.door.words import Device, Membership, Running, Status
from dsage_client.gate import Gate
from dsage_client.guest.preferences import Preferences
from dsage_client.guest.reasons import Reason, Standing, Work
from dsage_client.guest.seen import Presence
from dsage_client.guest.sentences import sentence
from dsage_client.jobs import Job
from dsage_client.parts import Part

ORDER: Final = (Reason.NO_WORK, Reason.CONNECTING, Reason.FAILING, Reason.SERVER_AWAY)
"""Of several servers that have no work, the one that is nearest to having some speaks for all."""


def client(conduct: Conduct, parts: list[Part], gate: Gate, *, sandbox: str, viewed: float) -> Status:
    """Return what a whole client does now, and why. `viewed` is when the full-screen view was last asked for."""
    now = time.time()
    at_work = [unit for part in parts for unit in running(part)]
    standing = as_seen(conduct.standing, parts, at_work, now)
    for unit in at_work:
        unit.held = not gate.open
    preferences, choices = conduct.preferences, conduct.choices
    return Status(
        at=now,
        version=__version__,
        pid=os.getpid(),
        work=standing.work,
        reason=standing.reason,
        sentence=sentence(standing, now=now),
        since=conduct.since,
        until=standing.until,
        paused=choices.pause is not None,
        finishing=choices.finish,
        presence=None if conduct.seen is None else nearest(conduct.seen.presence),
        idle_after_s=preferences.idle_after_s,
        in_use_stops=preferences.when != "always" and choices.always_until is None,
        cores=gate.cores,
        percent=standing.percent,
        running=at_work,
        servers=[membership(part, preferences, conduct.standing, now) for part in parts],
        boxes=[(pid, start) for pid in outermost() if (start := processes.started(pid)) is not None],
        sandbox=sandbox,
        notice=next((part.notice for part in parts if part.notice), ""),
        screen=preferences.screen,
        language=preferences.language,
        helped=bool(conduct.sessions),
        viewed=viewed,
    )


def as_seen(standing: Standing, parts: Iterable[Part], running: list[Running], now: float) -> Standing:
    """Return a decision as people see it: where work is allowed and none is there, the servers say why."""
    if running:
        return msgspec.structs.replace(standing, said=standing.said | {"projects": ", ".join(titles(running))})
    if _withheld(standing):
        return standing
    whys = sorted(
        (why(part, now) for part in parts),
        key=lambda why: ORDER.index(why.reason) if why.reason in ORDER else len(ORDER),
    )
    return whys[0] if whys else Standing(work=Work.RUN, reason=Reason.NOT_JOINED)


def why(part: Part, now: float, held: Standing | None = None) -> Standing:
    """Return why one server's part does nothing, or that it works; while all is `held`, that is why."""
    name = part.name
    if part.ended is not None:
        reason = Reason.TOO_OLD if isinstance(part.ended.__cause__, TooOld) else Reason.TROUBLE
        words = f"{part.ended.message}. {part.ended.hint}"
        return Standing(work=Work.LEAVE, reason=reason, said={"server": name, "words": words})
    if held is not None and held.work is not Work.RUN:
        return held
    if at_work := running(part):
        return Standing(work=Work.RUN, reason=Reason.WORKING, said={"projects": ", ".join(titles(at_work))})
    if held is not None and _withheld(held):
        return held
    reason, words, delay_s = part.agent.why
    reason = Reason.CONNECTING if reason is Reason.WORKING else reason
    until = None if delay_s is None else now + delay_s
    said: dict[str, str | float] = {"server": name, "words": words}
    if (since := part.agent.away_since) is not None:
        said["since"] = since
    return Standing(work=Work.RUN, reason=reason, said=said, until=until)


def _withheld(standing: Standing) -> bool:
    """Whether it is for this computer's own sake that nothing new comes, whatever the servers have."""
    return standing.work is not Work.RUN or standing.reason is not Reason.WORKING


def running(part: Part) -> list[Running]:
    """Return what runs for one server."""
    return [_running(part.server, job) for job in part.agent.slots.running() if job.proven is not None]


def titles(running: list[Running]) -> list[str]:
    """Return what runs is called, each once."""
    return sorted({unit.title or unit.project for unit in running})


def membership(part: Part, preferences: Preferences, held: Standing, now: float) -> Membership:
    """Return what the owner is shown of one server."""
    seen, server, account = why(part, now, held), part.server, part.account
    shown = Membership(
        server=server,
        name=part.name,
        url=part.member.server.url,
        pages=part.about.pages_url if part.about else "",
        pseudonym=part.member.pseudonym,
        reason=seen.reason,
        sentence=sentence(seen, now=now),
        share=preferences.shares.get(server, 100),
        connected=part.agent.connected,
        refused=[name.partition("/")[2] for name in preferences.refused if name.startswith(f"{server}/")],
    )
    if account is not None:
        shown.granted, shown.pending = account.granted_milli / 1000, account.pending_milli / 1000
        shown.shown = account.privacy
        shown.team, shown.page, shown.projects = account.team, account.page, account.projects
        shown.devices = [Device(name=each.name, seen=each.seen or 0.0, here=each.here) for each in account.devices]
    return shown


def nearest(presence: tuple[Presence, ...]) -> Presence | None:
    """Return the session whose user was there last; one that knows nothing counts as used."""
    return min(presence, key=lambda each: each.idle_s or 0.0, default=None)


def _running(server: str, job: Job) -> Running:
    assert job.proven is not None
    manifest = job.proven.manifest
    scene = job.shows.get("scene", "")
    return Running(
        server=server,
        unit=job.unit,
        project=manifest.project,
        title=manifest.title,
        fraction=job.fraction,
        cpu_s=job.cpu_s,
        since=time.time() - (time.monotonic() - (job.started or time.monotonic())),
        scene=scene if isinstance(scene, str) else "",
        shows={name: fact for name, fact in job.shows.items() if name != "scene"},
    )
