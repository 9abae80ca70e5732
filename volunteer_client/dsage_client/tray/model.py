"""What the tray shows, as plain data made from the agent's status: a look, a title and a menu of wishes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dsage_client.door.words import Status
from dsage_client.guest.reasons import Reason
from dsage_client.words import _


class Look(StrEnum):
    """The icon's state. Each has a shape of its own."""

    WORKING = "working"
    WAITING = "waiting"  # until the computer is idle, the hour comes, a server has work
    PAUSED = "paused"  # by the owner
    HELD = "held"  # battery, heat, other programs
    TROUBLE = "trouble"  # somebody must do something
    AWAY = "away"  # no agent runs


class Do(StrEnum):
    """What an item of the menu does."""

    MANAGER = "manager"
    PAGE = "page"  # the volunteer's own, at a server
    PAUSE = "pause"
    RESUME = "resume"
    ALWAYS = "always"
    FINISH = "finish"
    VIEW = "view"
    START = "start"  # the agent
    QUIT = "quit"
    STOP = "stop"  # the agent too


@dataclass(frozen=True, slots=True)
class Wish:
    """What the owner wants; `what` is how long to pause, or at which server."""

    do: Do
    what: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A line of the menu: a separator if it has no label, a submenu if it has `items`. A `wish` makes it clickable.

    Its `id` is the same in every menu it stands in, above 0. `checked` is None for what cannot be ticked.
    """

    id: int
    label: str = ""
    wish: Wish | None = None
    items: tuple[Item, ...] = ()
    default: bool = False
    checked: bool | None = None

    @property
    def enabled(self) -> bool:
        """Whether it can be picked."""
        return self.wish is not None or bool(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """All that the tray shows at one moment. `default` is what a click on the icon itself wants."""

    look: Look
    title: str
    items: tuple[Item, ...]
    default: Wish | None

    def find(self, id: int) -> Item | None:
        """Return the item with this id, if it stands in the menu."""
        return next((item for item in walk(self.items) if item.id == id), None)


LOOKS: Final = {
    Look.WORKING: (Reason.WORKING, Reason.FINISHING),
    Look.WAITING: (
        Reason.NO_WORK, Reason.CONNECTING, Reason.SERVER_AWAY, Reason.IN_USE, Reason.UNKNOWN_USE, Reason.FILM,
        Reason.FULL_SCREEN, Reason.WAKING, Reason.SCHEDULE, Reason.NETWORK_HOURS,
    ),
    Look.PAUSED: (Reason.PAUSED, Reason.NEVER, Reason.FINISHED),
    Look.HELD: (Reason.EXCLUSIVE_APP, Reason.BATTERY, Reason.BUSY, Reason.MEMORY, Reason.HOT, Reason.DISK),
    Look.TROUBLE: (Reason.NOT_JOINED, Reason.FAILING, Reason.NO_SANDBOX, Reason.TOO_OLD, Reason.TROUBLE),
    Look.AWAY: (Reason.STOPPED,),
}  # fmt: skip
_LOOK_OF: Final = {reason: look for look, reasons in LOOKS.items() for reason in reasons}

LONGEST: Final = 160
"""How many characters of a sentence a menu shows."""

SENTENCE, MANAGER, PAUSE, ALWAYS, FINISH, VIEW, QUIT, QUIT_TRAY, QUIT_ALL, START, PAGE = range(1, 12)
_RULES: Final = 20  # ids of the separators begin here
_PAUSES: Final = 30  # and of the pauses
_PAGES: Final = 40  # and of one's pages at several servers


def face(status: Status | None, *, can_view: bool = False, can_start: bool = False) -> Face:
    """Return what the tray shows for a status; None means that no agent answers.

    `can_view` says whether there is a full-screen view, `can_start` whether the agent can be started from here.
    """
    if status is None:
        return _away(can_start)
    said = _plain(status.sentence)
    manager = Wish(Do.MANAGER)
    items = (
        Item(id=SENTENCE, label=said),
        Item(id=MANAGER, label=_("Open Manager"), wish=manager, default=True),
        *_own_page(status),
        Item(id=_RULES),
        _pause_or_resume(status),
        Item(
            id=ALWAYS,
            label=_("Compute beside me today"),
            wish=Wish(Do.ALWAYS) if status.in_use_stops else None,
            checked=not status.in_use_stops,
        ),
        _finish_or_not(status),
        *((Item(id=VIEW, label=_("Full-screen view"), wish=Wish(Do.VIEW)),) if can_view else ()),
        Item(id=_RULES + 1),
        Item(
            id=QUIT,
            label=_("Quit"),
            items=(
                Item(id=QUIT_TRAY, label=_("Quit tray only"), wish=Wish(Do.QUIT)),
                Item(id=QUIT_ALL, label=_("Quit and stop computing"), wish=Wish(Do.STOP)),
            ),
        ),
    )
    return Face(look=_LOOK_OF[status.reason], title=said, items=items, default=manager)


def walk(items: tuple[Item, ...]) -> Iterator[Item]:
    """Yield these items and all below them, in the order of the menu."""
    for item in items:
        yield item
        yield from walk(item.items)


def _plain(sentence: str) -> str:
    """A sentence may name what a server or an app called something: one line of it, and no more than fits a menu."""
    line = "".join(c if c.isprintable() else " " for c in sentence[: LONGEST + 1])
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def _own_page(status: Status) -> tuple[Item, ...]:
    """The way to one's own page: nowhere, at the one server, or at one of several."""
    label = _("Open My Page")
    if len(status.servers) < 2:
        return tuple(Item(id=PAGE, label=label, wish=Wish(Do.PAGE, each.server)) for each in status.servers)
    pages = tuple(
        Item(id=_PAGES + number, label=_plain(each.name or each.url), wish=Wish(Do.PAGE, each.server))
        for number, each in enumerate(status.servers)
    )
    return (Item(id=PAGE, label=label, items=pages),)


def _pause_or_resume(status: Status) -> Item:
    if status.paused or status.reason is Reason.FINISHED:
        return Item(id=PAUSE, label=_("Resume"), wish=Wish(Do.RESUME))
    pauses = (
        (_("30 minutes"), "30m"),
        (_("1 hour"), "1h"),
        (_("3 hours"), "3h"),
        (_("Until tomorrow"), "tomorrow"),
        (_("Until I resume"), ""),
    )
    return Item(
        id=PAUSE,
        label=_("Pause"),
        items=tuple(
            Item(id=_PAUSES + number, label=label, wish=Wish(Do.PAUSE, what))
            for number, (label, what) in enumerate(pauses)
        ),
    )


def _finish_or_not(status: Status) -> Item:
    if status.finishing:
        return Item(id=FINISH, label=_("Go on after the current task"), wish=Wish(Do.RESUME))
    return Item(id=FINISH, label=_("Finish current task and stop"), wish=Wish(Do.FINISH))


def _away(can_start: bool) -> Face:
    said = _("DSage does not run on this computer")
    start = Wish(Do.START) if can_start else None
    items = (
        Item(id=SENTENCE, label=said),
        *((Item(id=START, label=_("Start computing"), wish=start, default=True),) if start else ()),
        Item(id=_RULES),
        Item(id=QUIT_TRAY, label=_("Quit"), wish=Wish(Do.QUIT)),
    )
    return Face(look=Look.AWAY, title=said, items=items, default=None)
