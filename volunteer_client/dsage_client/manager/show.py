"""The manager's pages as HTML: the Jinja environment and its filters.

Everything is escaped unless a template says otherwise, and no template does. A block whose name starts with `live_` is
a part that changes while the page is open; the element around it has the block's name as its id.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from dsage import __version__
from dsage.assets import Asset
from dsage_client.addresses import web_address
from dsage_client.guest import sentences
from dsage_client.guest.preferences import DAYS
from dsage_client.guest.reasons import Reason
from dsage_client.manager import forms, schedule
from dsage_client.words import _, language, n_

TEMPLATES: Final = Path(__file__).parent / "templates"
STATIC: Final = Path(__file__).parent / "static"
LIVE: Final = "live_"

WORKING: Final = frozenset({Reason.WORKING, Reason.FINISHING})
CHOSEN: Final = frozenset({Reason.PAUSED, Reason.NEVER, Reason.FINISHED})
CARE: Final = frozenset({Reason.BATTERY, Reason.HOT, Reason.MEMORY, Reason.DISK, Reason.BUSY, Reason.SERVER_AWAY})
TROUBLE: Final = frozenset({Reason.FAILING, Reason.NO_SANDBOX, Reason.TOO_OLD, Reason.TROUBLE, Reason.STOPPED})


class Show:
    """The templates, with what all pages share."""

    def __init__(self, assets: dict[str, Asset]) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, auto_reload=False, extensions=["jinja2.ext.i18n"],
        )  # fmt: skip
        i18n: Any = self._environment
        i18n.install_gettext_callables(_, n_, newstyle=True)
        self._environment.filters |= {
            "clock": clock, "iso": iso, "credit": credit, "percent": percent, "lasting": lasting, "told": told,
            "web": web_address, "result": result,
        }  # fmt: skip
        self._environment.globals |= {
            "version": __version__, "assets": assets, "look": look, "numbers": forms.NUMBERS, "share": forms.SHARE,
            "days": DAYS, "day_names": schedule.day_names, "long_day_names": schedule.long_day_names,
            "spans": schedule.spans, "hours_said": schedule.said, "languages": forms.languages, "language": language,
        }  # fmt: skip

    def page(self, template: str, context: dict[str, Any]) -> str:
        """Return a whole page."""
        return self._environment.get_template(f"{template}.html").render(context)

    def fragments(self, template: str, context: dict[str, Any]) -> dict[str, str]:
        """Return the parts of a page that change, by the id of the element that holds each."""
        page = self._environment.get_template(f"{template}.html")
        parents = [page, self._environment.get_template("base.html")]
        blocks = {name: block for one in reversed(parents) for name, block in one.blocks.items()}
        return {
            name: "".join(block(page.new_context(context)))
            for name, block in blocks.items()
            if name.startswith(LIVE)
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is shown: a word, a colour and a shape that tells it without colour."""

    word: str
    tone: str
    shape: str


def look(reason: Reason) -> Look:
    """Return how a reason is shown."""
    if reason in WORKING:
        return Look(_("working"), "good", "play")
    if reason in CHOSEN:
        return Look(_("paused"), "calm", "pause")
    if reason in TROUBLE:
        return Look(_("trouble"), "bad", "cross")
    if reason in CARE:
        return Look(_("waiting"), "watch", "bars")
    return Look(_("waiting"), "busy", "clock")


def result(status: str) -> Look:
    """Return how the end of a unit is shown."""
    return {
        "done": Look(_("done"), "good", "check"),
        "failed": Look(_("failed"), "bad", "cross"),
        "returned": Look(_("handed back"), "calm", "dash"),
        "aborted": Look(_("withdrawn"), "calm", "dash"),
    }.get(status, Look(status, "calm", "dash"))


@pass_context
def clock(context: Context, at: float) -> str:
    """Return a moment in the local time of this computer, as short as it can be told from `now` of the page."""
    now = context["now"]
    return sentences.moment(at, now=now) if at > now else sentences.earlier(at, now=now)


def iso(at: float) -> str:
    """Return a moment as ISO 8601 with its distance from UTC, to the second."""
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")


def credit(amount: float | None) -> str:
    """Return credits: two decimals below a thousand, none above; a dash while the server has not told."""
    if amount is None:
        return "–"
    return f"{amount:,.2f}" if abs(amount) < 1000 else f"{amount:,.0f}"


def percent(share: float) -> str:
    """Return a share as a percentage that says 100 only when all is done."""
    return "100 %" if share >= 1 else f"{min(max(share, 0) * 100, 99.9):.1f} %"


def lasting(seconds: float) -> str:
    """Return a duration in its two largest units."""
    whole = round(max(seconds, 0))
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((index for index, (number, _unit) in enumerate(parts) if number), len(parts) - 1)
    return " ".join(f"{number:,} {unit}" for number, unit in parts[first : first + 2] if number) or "0 s"


def told(sentence: str) -> Markup:
    """Return a sentence with the commands that stand `in backticks` set as code."""
    parts = [escape(part) for part in sentence.split("`")]
    if len(parts) % 2 == 0:
        return escape(sentence)
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))
