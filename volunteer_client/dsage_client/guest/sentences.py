"""What a client does and why, in one plain sentence: the same in tray, manager, command line and log."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from dsage_client.guest.reasons import Reason, Standing
from dsage_client.words import _, n_

LONGEST: Final = 80
"""Names and reports from elsewhere are cut at so many characters."""


def sentence(standing: Standing, *, now: float, zone: tzinfo | None = None) -> str:
    """Return a decision in one sentence of the language in force, without a full stop.

    It tells the local time at which computing goes on by itself, where that is known. `Standing.said` may name, under
    these keys: `projects` (what runs), `project`, `server`, `program`, `celsius`, `idle_s`, `since` (Unix seconds), and
    `words`, a report.
    """
    since = standing.said.get("since")
    facts = _Facts(
        standing=standing,
        since=earlier(since, now=now, zone=zone) if isinstance(since, int | float) and since <= now else None,
        when=None if standing.until is None else moment(standing.until, now=now, zone=zone),
    )
    return _SENTENCES[standing.reason](facts)


def moment(at: float, *, now: float, zone: tzinfo | None = None) -> str:
    """Return a moment to come (Unix seconds) as local time, to be put after "until": the hour if it is today,
    with the day if it is another one. Seconds are rounded up to the next minute."""
    at = math.ceil(at / 60 - 1e-4) * 60.0
    wall, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone).date()
    clock = f"{wall:%H:%M}"
    if wall.date() == today:
        return clock
    if wall.date() == today + timedelta(days=1):
        return _("tomorrow {clock}").format(clock=clock)
    if today < wall.date() < today + timedelta(days=7):
        return _("{day} {clock}").format(day=_day(wall.weekday()), clock=clock)
    return f"{wall:%Y-%m-%d} {clock}"


def earlier(at: float, *, now: float, zone: tzinfo | None = None) -> str:
    """Return a moment gone by (Unix seconds) as local time, to be put after "since": the hour if it was today, with the
    day if it was another one. Seconds are left out."""
    wall, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone).date()
    clock = f"{wall:%H:%M}"
    if wall.date() == today:
        return clock
    if wall.date() == today - timedelta(days=1):
        return _("yesterday {clock}").format(clock=clock)
    if today - timedelta(days=7) < wall.date() < today:
        return _("{day} {clock}").format(day=_day(wall.weekday()), clock=clock)
    return f"{wall:%Y-%m-%d} {clock}"


def lasting(seconds: float) -> str:
    """Return a duration in words: in minutes if it is made of them, else in seconds."""
    if seconds >= 60 and seconds % 60 == 0:
        minutes = round(seconds / 60)
        return n_("{n} minute", "{n} minutes", minutes).format(n=minutes)
    return n_("{n} second", "{n} seconds", round(seconds)).format(n=round(seconds))


def _day(weekday: int) -> str:
    return (_("Monday"), _("Tuesday"), _("Wednesday"), _("Thursday"), _("Friday"), _("Saturday"), _("Sunday"))[weekday]


def _clean(text: str) -> str:
    """Return words from elsewhere so that they fit into a sentence and cannot command a terminal."""
    plain = "".join(c if c.isprintable() else " " for c in text[: LONGEST + 1]).strip()
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What a sentence may tell."""

    standing: Standing
    when: str | None
    since: str | None

    def get(self, key: str) -> str:
        """Return what the decision names under a key, "" if nothing."""
        value = self.standing.said.get(key, "")
        return _clean(value) if isinstance(value, str) else f"{value:.0f}"


def _working(facts: _Facts) -> str:
    project = facts.get("projects") or facts.get("project")
    return _("Computing for {project}").format(project=project) if project else _("Computing")


def _no_work(facts: _Facts) -> str:
    if server := facts.get("server"):
        return _("Waiting: {server} has no work for this computer now").format(server=server)
    return _("Waiting: there is no work for this computer now")


def _connecting(facts: _Facts) -> str:
    server = facts.get("server")
    return _("Connecting to {server}").format(server=server) if server else _("Connecting")


def _server_away(facts: _Facts) -> str:
    server = facts.get("server") or _("the server")
    if facts.since and facts.when:
        return _("Waiting: {server} has not answered since {since}; next try {when}").format(
            server=server, since=facts.since, when=facts.when
        )
    if facts.when:
        return _("Waiting: {server} does not answer; next try {when}").format(server=server, when=facts.when)
    return _("Waiting: {server} does not answer").format(server=server)


def _in_use(facts: _Facts) -> str:
    idle_s = facts.standing.said.get("idle_s")
    if not isinstance(idle_s, int | float):
        return _("Waiting: somebody is using this computer")
    return _("Waiting until nobody has used this computer for {duration}").format(duration=lasting(idle_s))


def _film(facts: _Facts) -> str:
    program = facts.get("program")
    if program:
        return _("Waiting: {program} shows a film or a presentation").format(program=program)
    return _("Waiting: a film or a presentation is on")


def _exclusive_app(facts: _Facts) -> str:
    return _("Waiting: {program} needs the processor").format(program=facts.get("program") or _("another program"))


def _busy(facts: _Facts) -> str:
    if facts.when:
        return _("Waiting until {when}: other programs needed the processor").format(when=facts.when)
    return _("Waiting: other programs need the processor")


def _memory(facts: _Facts) -> str:
    if facts.when:
        return _("Waiting until {when}: memory was short").format(when=facts.when)
    return _("Waiting: memory is short")


def _hot(facts: _Facts) -> str:
    if celsius := facts.get("celsius"):
        return _("Waiting until this computer has cooled down: it is at {celsius} °C").format(celsius=celsius)
    return _("Waiting until this computer has cooled down")


def _disk(facts: _Facts) -> str:
    if facts.get("read_only"):
        return _("Waiting for new work: the disk may only be read")
    return _("Waiting for new work: the disk is full")


def _schedule(facts: _Facts) -> str:
    if facts.when:
        return _("Waiting until {when}: the hours that you chose begin then").format(when=facts.when)
    return _("Waiting: it is outside the hours that you chose")


def _network_hours(facts: _Facts) -> str:
    if facts.when:
        return _("Waiting for new work until {when}: the network hours that you chose begin then").format(
            when=facts.when
        )
    return _("Waiting for new work: it is outside the network hours that you chose")


def _paused(facts: _Facts) -> str:
    if facts.when:
        return _("Paused by you until {when}").format(when=facts.when)
    return _("Paused by you until you resume")


def _failing(facts: _Facts) -> str:
    project = facts.get("project") or _("a project")
    if facts.when:
        return _("Resting until {when}: five units of {project} failed in a row").format(
            project=project, when=facts.when
        )
    return _("Resting: five units of {project} failed in a row").format(project=project)


def _no_sandbox(facts: _Facts) -> str:
    if words := facts.get("words"):
        return _("Not computing: strangers' programs cannot be shut in safely here ({words})").format(words=words)
    return _("Not computing: strangers' programs cannot be shut in safely here")


def _too_old(facts: _Facts) -> str:
    server = facts.get("server") or _("the server")
    return _("Not computing: {server} needs a newer version of DSage; please update it").format(server=server)


def _trouble(facts: _Facts) -> str:
    if words := facts.get("words"):
        return _("Not computing: {words}").format(words=words)
    return _("Not computing: something went wrong; the log says what")


_SENTENCES: Final[dict[Reason, Callable[[_Facts], str]]] = {
    Reason.WORKING: _working,
    Reason.FINISHING: lambda facts: _("Finishing what is begun, then stopping"),
    Reason.NO_WORK: _no_work,
    Reason.CONNECTING: _connecting,
    Reason.SERVER_AWAY: _server_away,
    Reason.NOT_JOINED: lambda facts: _("Not computing: this computer has not joined a server yet"),
    Reason.IN_USE: _in_use,
    Reason.UNKNOWN_USE: lambda facts: _("Waiting: nothing here can tell whether somebody is using this computer"),
    Reason.FILM: _film,
    Reason.FULL_SCREEN: lambda facts: _("Waiting: a program fills the screen"),
    Reason.EXCLUSIVE_APP: _exclusive_app,
    Reason.WAKING: lambda facts: _("Waiting a moment: this computer has just woken up"),
    Reason.BATTERY: lambda facts: _("Waiting until this computer is plugged in"),
    Reason.BUSY: _busy,
    Reason.MEMORY: _memory,
    Reason.HOT: _hot,
    Reason.DISK: _disk,
    Reason.SCHEDULE: _schedule,
    Reason.NETWORK_HOURS: _network_hours,
    Reason.PAUSED: _paused,
    Reason.NEVER: lambda facts: _("Not computing: you chose never"),
    Reason.FINISHED: lambda facts: _("Stopped, as you asked: what was begun is finished"),
    Reason.FAILING: _failing,
    Reason.NO_SANDBOX: _no_sandbox,
    Reason.TOO_OLD: _too_old,
    Reason.TROUBLE: _trouble,
    Reason.STOPPED: lambda facts: _("Not running: start DSage to compute"),
}
