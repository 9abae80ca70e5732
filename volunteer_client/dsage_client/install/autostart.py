"""The files by which three systems start a client with the session, show it in their menus and open its links.

`files` is pure: it names every file with its contents, below the folder that it belongs to. The packages and the
command line write what it returns, and removing is removing what it returns.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import Final, Literal, TypeAlias

System: TypeAlias = Literal["linux", "macos", "windows"]
SYSTEMS: Final[tuple[System, ...]] = ("linux", "macos", "windows")

SCHEME: Final = "dsage"
"""Links of this kind are opened by the manager, which asks before it joins anything."""

AGENT: Final = ("join",)
HELPER: Final = ("tray",)
MANAGER: Final = ("manager",)

_ICON: Final = "dsage"
_NAME: Final = "DSage"
_ABOUT: Final = "Give this computer's idle time to research"
_ABOUT_DE: Final = "Die freie Zeit dieses Computers der Forschung geben"
_RUN: Final = r"HKEY_CURRENT_USER\Software\Microsoft\Windows\CurrentVersion\Run"
_CLASSES: Final = r"HKEY_CURRENT_USER\Software\Classes" + "\\" + SCHEME


@dataclass(frozen=True, slots=True)
class File:
    """A file below some folder: its text, or where it points to if it is a symbolic link."""

    path: PurePosixPath
    text: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where Linux looks for such files; `everyone` if every user of the computer gets them."""

    autostart: str = ".config/autostart"
    units: str = ".config/systemd/user"
    applications: str = ".local/share/applications"
    icons: str = ".local/share/icons/hicolor/scalable/apps"
    everyone: bool = False


PERSON: Final = Places()
"""Below somebody's home folder."""

EVERYONE: Final = Places(
    autostart="etc/xdg/autostart",
    units="usr/lib/systemd/user",
    applications="usr/share/applications",
    icons="usr/share/icons/hicolor/scalable/apps",
    everyone=True,
)
"""Below `/`, or a package's tree."""


def of_person(environ: dict[str, str]) -> Places:
    """Return the places of the person whose environment this is: XDG_CONFIG_HOME and XDG_DATA_HOME count."""
    config = environ.get("XDG_CONFIG_HOME") or ".config"
    data = environ.get("XDG_DATA_HOME") or ".local/share"
    return Places(
        autostart=f"{config}/autostart",
        units=f"{config}/systemd/user",
        applications=f"{data}/applications",
        icons=f"{data}/icons/hicolor/scalable/apps",
    )


def files(system: System, program: Sequence[str], places: Places = PERSON) -> list[File]:
    """Return what makes a system start the client that `program` calls: agent, session helper, menu entry, links.

    The paths are relative to a home folder (or to `/` with EVERYONE), unless `places` has absolute ones.
    On Windows it is one text that `reg import` takes, and another that takes it all back.
    """
    if system == "linux":
        return _linux(program, places)
    return _macos(program) if system == "macos" else _windows(program)


# -- Linux -------------------------------------------------------------------------------------------------------


def _linux(program: Sequence[str], places: Places) -> list[File]:
    unit = PurePosixPath(places.units, "dsage.service")
    made = [
        File(PurePosixPath(places.autostart, "dsage-tray.desktop"), _tray_entry(program, places)),
        File(unit, _unit(program, places)),
        File(PurePosixPath(places.applications, "dsage.desktop"), _menu_entry(program)),
        File(PurePosixPath(places.icons, f"{_ICON}.svg"), icon()),
    ]
    if not places.everyone:
        made.append(File(unit.parent / "default.target.wants" / unit.name, target=f"../{unit.name}"))
    return made


def icon() -> str:
    """Return the program's own picture, as SVG."""
    return resources.files(__package__).joinpath("dsage.svg").read_text("utf-8")


def _tray_entry(program: Sequence[str], places: Places) -> str:
    command = [*program, *HELPER]
    if places.everyone:
        # On a computer of several people only those who have joined a server get its icon.
        joined = '"${DSAGE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/dsage}"/client/servers/*/membership.json'
        used = f'for it in {joined}; do test -e "$it" && exec "$@"; done'
        command = ["/bin/sh", "-c", used, "dsage-tray", *command]
    return _desktop(
        Type="Application",
        Name=_NAME,
        Comment=_ABOUT,
        **{"Comment[de]": _ABOUT_DE},
        **_there(program),
        Exec=desktop_command(command),
        Icon=_ICON,
        Terminal="false",
        NoDisplay="true",
        **{"X-GNOME-Autostart-enabled": "true"},
    )


def _menu_entry(program: Sequence[str]) -> str:
    return _desktop(
        Type="Application",
        Name=_NAME,
        GenericName="Volunteer computing",
        **{"GenericName[de]": "Freiwilliges Rechnen"},
        Comment=_ABOUT,
        **{"Comment[de]": _ABOUT_DE},
        **_there(program),
        Exec=f"{desktop_command([*program, *MANAGER])} %u",
        Icon=_ICON,
        Terminal="false",
        Categories="Science;",
        Keywords="volunteer;grid;research;idle;",
        MimeType=f"x-scheme-handler/{SCHEME};",
        StartupNotify="false",
    )


def _there(program: Sequence[str]) -> dict[str, str]:
    """Return what makes a desktop pass over the entry once the program has gone."""
    path = program[0].replace("\\", "\\\\")
    return {"TryExec": path} if path.startswith("/") and path.isprintable() else {}


def _desktop(**fields: str) -> str:
    return "[Desktop Entry]\n" + "".join(f"{name}={value}\n" for name, value in fields.items())


def desktop_command(arguments: Sequence[str]) -> str:
    """Return an Exec value. Source: Desktop Entry Specification 1.5, "The Exec key" and, over it, "Value types"."""
    quoted = []
    for argument in arguments:
        text = argument.replace("%", "%%")
        if not re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII):
            text = '"' + re.sub(r'(["`$\\])', r"\\\1", text) + '"'
        quoted.append(text)
    return " ".join(quoted).replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def _unit(program: Sequence[str], places: Places) -> str:
    # A package starts it in every session; only for people who have joined a server there is anything to do.
    joined = (
        "ConditionPathExistsGlob=%h/.local/share/dsage/client/servers/*/membership.json\n" if places.everyone else ""
    )
    return (
        "[Unit]\n"
        f"Description=DSage: {_ABOUT[0].lower()}{_ABOUT[1:]}\n"
        f"{joined}"
        "ConditionUser=!root\n"
        "StartLimitIntervalSec=1h\n"
        "StartLimitBurst=10\n"
        "\n"
        "[Service]\n"
        "Type=exec\n"
        f"ExecStart={unit_command([*program, *AGENT])}\n"
        "Restart=on-failure\n"
        "RestartSec=30\n"
        "KillMode=mixed\n"
        "TimeoutStopSec=20\n"
        "Delegate=yes\n"
        "CPUWeight=10\n"
        "IOWeight=10\n"
        "OOMPolicy=continue\n"
        "\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    )


def unit_command(arguments: Sequence[str]) -> str:
    """Return an ExecStart value. Source: systemd.syntax(7) "Quoting", systemd.service(5) "Command lines".

    Variables are put into arguments, not into the program's own path: there a `$` stands for itself.
    """
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "%": "%%"}
    quoted = []
    for position, argument in enumerate(arguments):
        if position:
            escapes["$"] = "$$"
        text = "".join(escapes.get(character, character) for character in argument)
        quoted.append(text if re.fullmatch(r"[\w@%$+=:,./-]+", text, re.ASCII) else f'"{text}"')
    return " ".join(quoted)


# -- macOS -------------------------------------------------------------------------------------------------------


def _macos(program: Sequence[str]) -> list[File]:
    agent = {
        "Label": "org.dsage.agent",
        "ProgramArguments": [*program, *AGENT],
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 30,
        "ProcessType": "Background",
        "LowPriorityIO": True,
    }
    helper = {
        "Label": "org.dsage.tray",
        "ProgramArguments": [*program, *HELPER],
        "RunAtLoad": True,
        "LimitLoadToSessionType": "Aqua",
        "ProcessType": "Interactive",
    }
    return [
        File(PurePosixPath(f"Library/LaunchAgents/{plist['Label']}.plist"), plistlib.dumps(plist).decode())
        for plist in (agent, helper)
    ]


# -- Windows -----------------------------------------------------------------------------------------------------


def _windows(program: Sequence[str]) -> list[File]:
    manager = f'{windows_command([*program, *MANAGER])} "%1"'
    on = (
        f"[{_RUN}]\n"
        f'"DSage agent"={_text(windows_command([*program, *AGENT]))}\n'
        f'"DSage"={_text(windows_command([*program, *HELPER]))}\n'
        f'\n[{_CLASSES}]\n@="URL:DSage"\n"URL Protocol"=""\n'
        f"\n[{_CLASSES}\\shell\\open\\command]\n@={_text(manager)}\n"
    )
    off = f'[{_RUN}]\n"DSage agent"=-\n"DSage"=-\n\n[-{_CLASSES}]\n'
    head = "Windows Registry Editor Version 5.00\n\n"
    folder = PurePosixPath("AppData/Local/DSage")
    return [File(folder / "autostart.reg", head + on), File(folder / "autostart-off.reg", head + off)]


def windows_command(arguments: Sequence[str]) -> str:
    """Return a command line as Windows programs split it. Source: "Parsing C command-line arguments", Microsoft."""
    quoted = []
    for argument in arguments:
        if argument and not re.search(r'[\s"]', argument):
            quoted.append(argument)
            continue
        text = re.sub(r'(\\*)"', r"\1\1\\" + '"', argument)
        quoted.append('"' + re.sub(r"(\\+)$", r"\1\1", text) + '"')
    return " ".join(quoted)


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
