"""What a run came to, on a sheet to print: what was asked, what came of it, and how many helped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dsage_server.web.certificate import Line, date, sheet, wrapped
from dsage_server.web.public.lines import RunLine
from dsage_server.web.speech import Speech

LINES: Final = 14
"""Lines of a summary that find room; longer ones stand whole on the run's page."""


def svg(line: RunLine, server: str, address: str, speech: Speech) -> str:
    """Return the card of a run; `address` is where it can be looked at."""
    return sheet(line.title, _lines(line, server, address, speech), speech)


def _lines(line: RunLine, server: str, address: str, speech: Speech) -> Iterator[Line]:
    _, n_ = speech.words.gettext, speech.words.ngettext
    ends = {"done": _("It is done."), "failed": _("It failed."), "cancelled": _("It was cancelled.")}
    place = {"server": server, "run": line.run, "project": line.project}
    yield "small", _("%(server)s: run %(run)d of the project %(project)s") % place, 44
    yield from wrapped("title", line.title, 40, 38)
    yield from wrapped("text", line.about, 84, 26)
    yield "text", "", 10
    told = [each for part in line.summary.splitlines() for each in wrapped("code", part, 84, 20)]
    yield from told[:LINES]
    yield "text", "", 18
    right, people = line.units.get("valid", 0), line.volunteers
    found = n_("%(n)s unit of work was found right.", "%(n)s units of work were found right.", right)
    helped = n_("%(n)s volunteer helped.", "%(n)s volunteers helped.", people)
    yield "text", f"{found % {'n': speech.count(right)}} {helped % {'n': speech.count(people)}}", 26
    worth = _("%(n)s credits: minutes of work on one core of the reference machine.")
    yield "text", worth % {"n": speech.digits(f"{line.credit:,.1f}")}, 26
    yield "text", ends.get(line.state) or _("It goes on."), 40
    days = {"day": date(line.created), "end": "" if line.finished is None else date(line.finished)}
    lasted = (
        _("Submitted on %(day)s (UTC)") if line.finished is None else _("Submitted on %(day)s, ended on %(end)s (UTC)")
    )
    yield "small", lasted % days, 22
    yield from wrapped("small", address, 100, 20)
