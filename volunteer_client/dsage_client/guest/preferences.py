"""What the owner of a computer wants of it: the preferences, and the file that keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from dsage.errors import UsageError
from dsage.files import write_whole

Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]
Clock = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Name = Annotated[str, msgspec.Meta(max_length=100)]

Windows = Annotated[tuple["Window", ...], msgspec.Meta(max_length=50)]

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the computer units may have: `cores` 0 means every core, and `percent` is of each core's time."""

    cores: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    percent: Percent = 100


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours of local time on some days of the week: from `start` to `end` (if that is not later: of the next day).

    Inside it `part` replaces both parts of the preferences, if it is given.
    """

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = DAYS
    start: Clock = "00:00"
    end: Clock = "00:00"
    part: Part | None = None


class Preferences(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The preferences of one computer. Durations are in seconds, sizes in bytes; 0 means no limit where it says so.

    `when`: `idle` computes while nobody is at the computer, `always` also beside its owner (with `in_use`), `never`
    not at all. `idle_after_s` is how long nobody must have touched anything. `hours` are when computing is allowed and
    `network_hours` when units and answers may travel; none means at any time. `network_bytes_s` limits the rate (0: no
    limit). `others_percent` is how much of all cores other programs may use before units stop, `memory_percent` how
    much of the memory units may have. `hottest_c` stops them at that temperature (0: never). `exclusive_apps` are
    names of programs beside which nothing is computed, and `full_screen` says that any program that fills the screen
    is such a one. `disk_bytes` is for input files of units. `shares` are how much of the computer each server gets
    against the others, by its id (100 if it is not named), and `refused` the projects that get nothing, as
    "server/project". `screen` is what the screensaver shows; `language` "" is that of the session.
    """

    when: Literal["idle", "always", "never"] = "idle"
    idle_after_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 180.0
    idle: Part = Part()
    in_use: Part = Part()
    hours: Windows = ()
    on_battery: bool = False
    others_percent: Percent = 50
    memory_percent: Percent = 50
    hottest_c: Annotated[float, msgspec.Meta(ge=0, le=150)] = 90.0
    exclusive_apps: tuple[Name, ...] = ()
    full_screen: bool = False
    disk_bytes: Annotated[int, msgspec.Meta(ge=0)] = 4 << 30
    network_hours: Windows = ()
    network_bytes_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    shares: dict[Name, Annotated[int, msgspec.Meta(ge=0, le=1000)]] = {}
    refused: tuple[Name, ...] = ()
    screen: Literal["full", "calm"] = "full"
    language: Name = ""

    def changed(self, changes: dict[str, Any]) -> Preferences:
        """Return these preferences with some fields replaced, as plain data. Raises UsageError for what cannot be."""
        unknown = changes.keys() - set(self.__struct_fields__)
        if unknown:
            raise UsageError(
                f"there is no preference {', '.join(sorted(unknown))}", hint="`dsage prefs` shows all of them."
            )
        try:
            return msgspec.convert(msgspec.to_builtins(self) | changes, Preferences)
        except msgspec.ValidationError as error:
            raise UsageError(f"this preference cannot be: {error}", hint="`dsage prefs` shows all of them.") from None

    def save(self, path: Path) -> None:
        """Write them, whole. Raises OSError."""
        write_whole(path, msgspec.json.format(msgspec.json.encode(self)), private=True)


def load(path: Path) -> tuple[Preferences, str]:
    """Return what is kept in a file, and what is wrong with it ("" if nothing).

    If it is damaged, the preferences are the careful ones that a new computer has.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Preferences), ""
    except FileNotFoundError:
        return Preferences(), ""
    except (OSError, msgspec.DecodeError) as error:
        return Preferences(), f"{path} cannot be read ({error}); the usual preferences hold until new ones are saved"
