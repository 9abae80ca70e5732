"""Switching the start with the session on and off: what `autostart.files` names is written or removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from dsage.errors import StorageFull
from dsage.files import write_whole
from dsage_client.install.autostart import PERSON, File, Places, System, files, of_person

TREE: Final = Path("/usr/lib/dsage")
"""Where the Debian package keeps the program."""
COMMAND_S: Final = 10.0
"""How long the desktop's own programs may take; without them everything holds from the next login on."""


def this_system() -> System:
    """Return what this computer is; anything with XDG folders counts as Linux."""
    others: dict[str, System] = {"darwin": "macos", "win32": "windows"}
    return others.get(sys.platform, "linux")


def this_program() -> list[str]:
    """Return the command line that calls this very installation."""
    if packaged():
        return ["/usr/bin/dsage"]
    python = sys.executable
    if sys.platform == "win32":
        python = str(Path(python).with_name("pythonw.exe"))
    return [python, "-P", "-m", "dsage"]


def packaged() -> bool:
    """Say whether a system's package brought this program, and with it the start in every session."""
    return Path(sys.prefix) == TREE


class Switch:
    """The start with the session of one person, below `home`."""

    def __init__(
        self,
        home: Path,
        *,
        system: System | None = None,
        program: list[str] | None = None,
        environ: dict[str, str] | None = None,
        everywhere: bool | None = None,
    ) -> None:
        """`everywhere` says whether a package starts it already for everyone; found out if not given."""
        self._home = home
        self._system = this_system() if system is None else system
        self._places = PERSON if environ is None else of_person(environ)
        self._everywhere = packaged() if everywhere is None else everywhere
        self._files = files(self._system, this_program() if program is None else program, self._places)

    def on(self) -> list[Path]:
        """Start with the session from now on; return the files that were written. Raises StorageFull."""
        if self._everywhere:
            removed = self._remove(self._refusals())
            tell_desktop(self._places, self._home)
            return removed
        written = [self._write(file) for file in self._files]
        if self._system == "windows":
            _registry(written[0])
        tell_desktop(self._places, self._home)
        return written

    def off(self) -> list[Path]:
        """Start no more; return the files that were removed, or that refuse what a package starts for everyone.

        Systemd is not told: it would take what runs for a unit without settings, and kill it when the session ends.
        Raises StorageFull.
        """
        if self._system == "windows":
            for file in self._files:
                self._write(file)
            _registry(self._home / self._files[1].path)
        changed = self.clear()
        if self._everywhere:
            changed = [self._write(file) for file in self._refusals()]
        tell_menus(self._places, self._home)
        return changed

    def clear(self) -> list[Path]:
        """Remove every file of this person's that starts or refuses a start; return those that were there."""
        return self._remove([*self._files, *self._refusals()])

    def is_on(self) -> bool:
        """Say whether the client starts with this person's session."""
        if self._everywhere:
            return not any(os.path.lexists(self._home / file.path) for file in self._refusals())
        return all(os.path.lexists(self._home / file.path) for file in self._files)

    def _refusals(self) -> list[File]:
        """Return what says no for one person to what a package starts for everyone (Linux only)."""
        if self._system != "linux":
            return []
        entry, unit = self._files[0].path, self._files[1].path
        return [File(entry, "[Desktop Entry]\nType=Application\nHidden=true\n"), File(unit, target="/dev/null")]

    def _write(self, file: File) -> Path:
        path = self._home / file.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if file.target:
                path.unlink(missing_ok=True)
                path.symlink_to(file.target)
            else:
                write_whole(path, encoded(file))
        except OSError as error:
            raise StorageFull(f"{path} cannot be written: {error.strerror}") from error
        return path

    def _remove(self, wanted: Iterable[File]) -> list[Path]:
        gone = []
        for path in dict.fromkeys(self._home / file.path for file in wanted):
            with suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                gone.append(path)
            prune(path.parent, self._home)
        return gone


def encoded(file: File) -> bytes:
    """Return the bytes of a file: texts for Windows' registry are UTF-16 with its line ends."""
    if file.path.suffix == ".reg":
        return b"\xff\xfe" + file.text.replace("\n", "\r\n").encode("utf-16-le")
    return file.text.encode()


def prune(folder: Path, top: Path) -> None:
    """Remove a folder and those above it as long as they are empty; what every home has below `top` stays."""
    kept = {top, *(top / name for name in (".config", ".local", ".local/share", "Library", "AppData", "AppData/Local"))}
    while folder not in kept and folder.is_relative_to(top):
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def write_all(wanted: Iterable[File], prefix: Path) -> list[Path]:
    """Write files below a package's tree, readable by all. Raises OSError."""
    written = []
    for file in wanted:
        path = prefix / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.target:
            path.symlink_to(file.target)
        else:
            path.write_bytes(encoded(file))
        written.append(path)
    return written


def tell_desktop(places: Places, home: Path) -> None:
    """Let the running session notice: units are read again, and who opens which links.

    Missing programs are no error: the next login reads everything anyway.
    """
    _quietly("systemctl", "--user", "daemon-reload")
    tell_menus(places, home)


def tell_menus(places: Places, home: Path) -> None:
    """Let the running session notice who opens which links."""
    applications = home / places.applications
    if applications.is_dir():
        _quietly("update-desktop-database", str(applications))
        cache = applications / "mimeinfo.cache"
        with suppress(OSError):
            if cache.read_text() == "[MIME Cache]\n":
                cache.unlink()
        prune(applications, home)


def _registry(file: Path) -> None:
    _quietly("reg.exe", "import", str(file))


def _quietly(program: str, *arguments: str) -> None:
    if found := shutil.which(program):
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run([found, *arguments], capture_output=True, timeout=COMMAND_S, check=False)
