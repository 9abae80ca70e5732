"""Whether the owner's desktop was asked for little motion, as far as its files say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

LITTLE: Final = {
    "gtk-3.0/settings.ini": r"^\s*gtk-enable-animations\s*=\s*(0|false)\s*$",
    "gtk-4.0/settings.ini": r"^\s*gtk-enable-animations\s*=\s*(0|false)\s*$",
    "kdeglobals": r"^\s*AnimationDurationFactor\s*=\s*0(\.0*)?\s*$",
}
"""Files of the XDG configuration folder, and what in them asks for it."""


def reduced(environment: Mapping[str, str]) -> bool:
    """Whether GTK's or KDE's settings switch animations off."""
    home = Path(environment.get("HOME", "/"))
    folder = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    return any(
        re.search(pattern, _text(folder / name), re.MULTILINE | re.IGNORECASE) for name, pattern in LITTLE.items()
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
