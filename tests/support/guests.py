"""A computer nobody uses, at a known moment in a known place, and strategies for all others."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from dsage_client.guest.choices import Choices, Pause
from dsage_client.guest.preferences import DAYS, Part, Preferences, Window
from dsage_client.guest.seen import Presence, Seen

BERLIN: Final = ZoneInfo("Europe/Berlin")
UP: Final = 50_000.0
BOOT: Final = "this-boot"


def at(text: str, zone: ZoneInfo = BERLIN, *, fold: int = 0) -> float:
    """Return the Unix seconds of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


NOON: Final = at("2026-11-25T12:00")
"""A Wednesday."""


def there(idle_s: float | None = 0.0, **more: Any) -> tuple[Presence, ...]:
    """Return one session untouched for so long."""
    return (Presence(idle_s=idle_s, quality="event", sensor="test", **more),)


def seen(**more: Any) -> Seen:
    """Return a computer with four cores that nobody has used for an hour, with some things otherwise."""
    usual: dict[str, Any] = {
        "now": NOON, "up": UP, "cores": 4, "presence": there(3600.0), "others": 0.1, "memory": 0.5, "boot": BOOT,
    }  # fmt: skip
    return Seen(**usual | more)


clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
parts = st.builds(Part, cores=st.integers(0, 8), percent=st.integers(1, 100))
windows = st.builds(
    Window,
    days=st.sets(st.sampled_from(DAYS)).map(lambda days: tuple(sorted(days))),
    start=clocks,
    end=clocks,
    part=st.none() | parts,
)
schedules = st.lists(windows, max_size=3).map(tuple)
moments = st.floats(at("2026-01-01T00:00"), at("2027-12-31T00:00"))
shares = st.none() | st.floats(0, 1) | st.just(float("nan"))
presences = st.builds(
    Presence,
    idle_s=st.none() | st.floats(-10, 1e6),
    film=st.sampled_from(["", "mpv"]),
    full_screen=st.booleans(),
    locked=st.booleans(),
)
preferences = st.builds(
    Preferences,
    when=st.sampled_from(["idle", "always", "never"]),
    idle_after_s=st.sampled_from([1.0, 59.5, 180.0]),
    idle=parts,
    in_use=parts,
    hours=schedules,
    network_hours=schedules,
    on_battery=st.booleans(),
    others_percent=st.integers(1, 100),
    hottest_c=st.sampled_from([0.0, 60.0, 90.0]),
    full_screen=st.booleans(),
)


@st.composite
def computers(draw: st.DrawFn) -> Seen:
    """Draw a computer in any state."""
    return Seen(
        now=draw(moments),
        up=draw(st.floats(0, 1e7)),
        cores=draw(st.integers(0, 64)),
        presence=tuple(draw(st.lists(presences, max_size=3))),
        on_battery=draw(st.booleans()),
        others=draw(shares),
        memory=draw(shares),
        pressed=draw(st.booleans()),
        celsius=draw(st.none() | st.floats(0, 120)),
        apps=draw(st.frozensets(st.sampled_from(["quake", "Blender"]))),
        disk_full=draw(st.booleans()),
        awake_s=draw(st.none() | st.floats(0, 100)),
        boot=draw(st.sampled_from(["", "a", "b"])),
    )


@st.composite
def chosen(draw: st.DrawFn, now: float, up: float) -> Choices:
    """Draw what the owner chose before `now`."""
    ahead = st.none() | st.floats(-90000, 90000)
    pause = st.builds(
        Pause,
        boot=st.sampled_from(["", "a", "b"]),
        up=ahead.map(lambda s: None if s is None else up + s),
        until=ahead.map(lambda s: None if s is None else now + s),
    )
    return Choices(
        pause=draw(st.none() | pause),
        finish=draw(st.booleans()),
        always_until=draw(ahead.map(lambda s: None if s is None else now + s)),
    )
