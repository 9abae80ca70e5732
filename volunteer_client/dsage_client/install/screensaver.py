"""Making DSage a person's screensaver: xscreensaver's own list of pictures, and how it was before.

What the person had stays: their list behind ours, their file in a backup, and both as they were when they leave.
Source of the format: xscreensaver(1), "Configuration"; a line that ends in a backslash goes on, and each picture ends
in the two characters backslash and n.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dsage.errors import StorageFull, UsageError
from dsage.files import write_whole
from dsage.home import Home
from dsage_client.door.words import Screensaver
from dsage_client.install.switch import packaged, this_program
from dsage_client.words import _

FILE: Final = ".xscreensaver"
BEFORE: Final = ".xscreensaver.before-dsage"
USUAL: Final = Path("/etc/X11/app-defaults/XScreenSaver")
"""The list of pictures that xscreensaver has where a person has none of their own."""
THEME: Final = Path("/usr/share/applications/screensavers/dsage-saver.desktop")
OURS: Final = re.compile(r'^[-\s]*"DSage"\s.*\bsaver --root\b')
OTHERS: Final = ("mate-screensaver", "xfce4-screensaver")
"""Screensavers that have the package's theme, and take the choice of it in their own settings only."""


class Saver:
    """The screensaver of the person in `home`, whose client keeps its things in `folder`."""

    def __init__(
        self,
        home: Path,
        folder: Path,
        *,
        which: Callable[[str], str | None] = shutil.which,
        usual: Path = USUAL,
    ) -> None:
        self._file = home / FILE
        self._before = home / BEFORE
        self._folder = folder
        self._which = which
        self._usual = usual

    def look(self) -> Screensaver:
        """Return whether DSage is the person's screensaver, or why it cannot be."""
        if why_not := self._why_not():
            return Screensaver(why_not=why_not)
        return Screensaver(chosen=_is_chosen(_read(self._file)))

    def use(self) -> Screensaver:
        """Make it so, and keep a copy of what was. Raises UsageError where it cannot be, StorageFull."""
        if why_not := self._why_not():
            raise UsageError(why_not, hint=_("The full-screen view works without."))
        text = _read(self._file)
        if not _is_chosen(text):
            try:
                if self._file.exists() and not self._before.exists():
                    write_whole(self._before, self._file.read_bytes(), private=True)
                self._write(self._with_ours(text))
            except OSError as error:
                raise StorageFull(f"{self._file} cannot be written: {error.strerror}") from error
        return self.look()

    def release(self) -> list[Path]:
        """Make the screensaver what it was; return the files that were changed. Raises StorageFull."""
        text, before = _read(self._file), _read(self._before)
        changed = []
        try:
            if any(OURS.match(line) for line in text.split("\n")):
                if text != self._with_ours(before):
                    self._write(_without_ours(text))
                elif before:
                    self._write(before)
                else:
                    self._file.unlink()
                changed.append(self._file)
            if self._before.exists():
                self._before.unlink()
                changed.append(self._before)
        except OSError as error:
            raise StorageFull(f"{error.filename or self._file} cannot be changed: {error.strerror}") from error
        return changed

    def _why_not(self) -> str:
        if sys.platform == "win32" or sys.platform == "darwin":
            return _("This system takes no screensaver of DSage yet.")
        if self._which("xscreensaver"):
            return ""
        if THEME.exists() and any(map(self._which, OTHERS)):
            return _(
                "Choose DSage in the settings of this desktop's own screensaver: it lets no program choose itself."
            )
        return _("No screensaver is installed that shows the pictures of others. xscreensaver is one that does.")

    def _with_ours(self, text: str) -> str:
        entries = _entries(_without_ours(text, mode=None))
        listed = next((each for each in entries if _name(each) == "programs"), None)
        if listed is None:
            listed = next((each for each in _entries(_read(self._usual)) if _name(each) == "*programs"), "programs:")
        rest = listed.partition(":")[2].lstrip(" \t\\\n")
        ours = f'  "DSage"  {self._command()} \\n\\'
        kept = [each.rstrip("\\") for each in entries if _name(each) not in ("programs", "mode", "selected", "")]
        return "\n".join(
            [*kept, "mode:\tone", "selected:\t0", "programs:\t\\", f"{ours}\n{rest}" if rest else ours, ""]
        )

    def _command(self) -> str:
        if packaged() and self._folder == Home().client:
            return "dsage-saver --root"
        where = [] if self._folder == Home().client else ["--home", str(self._folder.parent)]
        return shlex.join([*this_program(), "saver", "--root", *where])

    def _write(self, text: str) -> None:
        write_whole(self._file.resolve(), text.encode("utf-8", "surrogateescape"), private=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _entries(text: str) -> list[str]:
    """Return the settings of a file, each with the lines on which it goes on."""
    found: list[str] = []
    going_on = False
    for line in text.rstrip("\n").split("\n"):
        if going_on:
            found[-1] += "\n" + line
        else:
            found.append(line)
        going_on = line.endswith("\\") and not line.lstrip().startswith(("!", "#"))
    return found


def _name(entry: str) -> str:
    return entry.partition(":")[0].strip().lower()


def _setting(text: str, name: str) -> str:
    return next((each.partition(":")[2].strip() for each in _entries(text) if _name(each) == name), "")


def _programs(text: str) -> list[str]:
    """Return the pictures of a file, in their order."""
    joined = _setting(text, "programs").replace("\\\n", " ")
    return [each.strip() for each in joined.split("\\n") if each.strip(" \t\\")]


def _is_chosen(text: str) -> bool:
    programs, selected = _programs(text), _setting(text, "selected")
    if _setting(text, "mode").lower() != "one" or not selected.isdecimal() or int(selected) >= len(programs):
        return False
    return OURS.match(programs[int(selected)]) is not None


def _without_ours(text: str, *, mode: str | None = "random") -> str:
    """Return a file's text without our picture; if that was the chosen one, pictures change as `mode` says."""
    chosen = mode is not None and _is_chosen(text)
    lines = [line for line in text.split("\n") if not OURS.match(line)]
    if chosen:
        lines = [f"mode:\t{mode}" if _name(line) == "mode" else line for line in lines if _name(line) != "selected"]
    return "\n".join(lines)
