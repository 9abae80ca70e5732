"""Where to draw: what xscreensaver, its like, Windows and people say on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dsage.errors import UsageError


@dataclass(frozen=True, slots=True)
class Where:
    """What to do: draw into a `window`, over the whole screen, into a window of one's own (`try`), or `settings`."""

    kind: Literal["window", "full", "try", "settings"]
    window: int = 0


def where(
    environment: Mapping[str, str],
    *,
    window_id: str = "",
    root: bool = False,
    full_screen: bool = False,
    slashed: Sequence[str] = (),
) -> Where:
    """Return what was asked for. `slashed` is Windows' way: /s, /p HWND, /c or /c:HWND; nothing there means settings.

    Raises UsageError for what is none of it.
    """
    if slashed:
        return _slashed(slashed)
    if window_id:
        return Where("window", _number(window_id))
    if full_screen:
        return Where("full")
    if given := environment.get("XSCREENSAVER_WINDOW", ""):
        return Where("window", _number(given))
    if root:
        raise UsageError(
            "--root draws into the window that XSCREENSAVER_WINDOW names, and that is not set",
            hint="Let xscreensaver start it, or use --full-screen.",
        )
    return Where("try")


def _slashed(words: Sequence[str]) -> Where:
    switch, _, joined = words[0].partition(":")
    rest = [joined] if joined else list(words[1:])
    match switch.lower():
        case "/s" if not rest:
            return Where("full")
        case "/p" if len(rest) == 1:
            return Where("window", _number(rest[0]))
        case "/c" if len(rest) <= 1:
            return Where("settings")
    raise UsageError(f"{' '.join(words)!r} is not understood", hint="Windows says /s, /p HWND or /c.")


def _number(text: str) -> int:
    """Return a window's number, hexadecimal or decimal. Raises UsageError."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}", text) and (
        number := int(text, 0 if "x" in text.lower() else 10)
    ):
        return number
    raise UsageError(f"{text[:40]!r} is not the number of a window")
