"""What three systems are told to start: compared with golden files, and read back as those systems read it."""

from __future__ import annotations

import os
import plistlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage_client.install import autostart, switch
from dsage_client.install.autostart import EVERYONE, PERSON, SYSTEMS, Places, System, files

GOLDEN = Path(__file__).parent / "golden"
PROGRAMS: dict[System, list[str]] = {
    "linux": ["/home/ada/my tools/bin/python", "-P", "-m", "dsage"],
    "macos": ["/Users/ada/my tools/bin/python", "-P", "-m", "dsage"],
    "windows": [r"C:\Users\Ada L\AppData\Local\DSage\python\pythonw.exe", "-P", "-m", "dsage"],
}
CASES: list[tuple[str, System, list[str], Places]] = [
    *((system, system, PROGRAMS[system], PERSON) for system in SYSTEMS),
    ("linux-everyone", "linux", ["/usr/bin/dsage"], EVERYONE),
]
WORDS = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\n\\\"$`%' "))
    .filter(bool),
    min_size=1,
    max_size=4,
)  # fmt: skip


@pytest.mark.parametrize(("name", "system", "program", "places"), CASES, ids=[case[0] for case in CASES])
def test_files_are_as_in_the_golden_folder(name: str, system: System, program: list[str], places: Places) -> None:
    made = {str(f.path): f"-> {f.target}" if f.target else f.text for f in files(system, program, places)}
    if os.environ.get("DSAGE_GOLDEN") == "write":
        shutil.rmtree(GOLDEN / name, ignore_errors=True)
        switch.write_all((f for f in files(system, program, places) if f.path.suffix != ".svg"), GOLDEN / name)
    assert {path: text for path, text in made.items() if not path.endswith(".svg")} == kept(GOLDEN / name)


def kept(folder: Path) -> dict[str, str]:
    """Return the golden files; those for Windows are kept as Windows reads them."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = f"-> {path.readlink()}"
        elif path.suffix == ".reg":
            found[str(path.relative_to(folder))] = path.read_bytes().decode("utf-16").replace("\r\n", "\n")
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_text()
    return found


# -- each system reads back the command that was meant ----------------------------------------------------------


def desktop_words(value: str) -> list[str]:
    """Read an Exec value as a desktop does: first the escapes of any value, then the quoting of a command."""
    text = re.sub(r"\\(.)", lambda m: {"s": " ", "n": "\n", "t": "\t", "r": "\r"}.get(m[1], m[1]), value)
    words = re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', text, re.DOTALL)
    return [re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL).replace("%%", "%") if quoted or not plain
            else plain.replace("%%", "%") for quoted, plain in words]  # fmt: skip


def unit_words(value: str) -> list[str]:
    """Read an ExecStart value as systemd does."""
    escapes = {"n": "\n", "t": "\t", "r": "\r"}
    program, *arguments = (
        re.sub(r"\\(.)", lambda m: escapes.get(m[1], m[1]), quoted or plain).replace("%%", "%")
        for quoted, plain in re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', value)
    )
    return [program, *(argument.replace("$$", "$") for argument in arguments)]


def windows_words(line: str) -> list[str]:
    """Split a command line by Microsoft's rules for C programs."""
    words, word, quoted, i = [], "", False, 0
    while i < len(line):
        slashes = len(line[i:]) - len(line[i:].lstrip("\\"))
        following = line[i + slashes : i + slashes + 1]
        if following == '"':
            word += "\\" * (slashes // 2)
            i += slashes + 1
            if slashes % 2:
                word += '"'
            else:
                quoted = not quoted
        elif slashes:
            word += "\\" * slashes
            i += slashes
        elif line[i] in " \t" and not quoted:
            words.append(word)
            word, i = "", i + 1
        else:
            word, i = word + line[i], i + 1
    return [*words, word]


@given(WORDS)
def test_a_desktop_reads_the_words_back(words: list[str]) -> None:
    assert desktop_words(autostart.desktop_command(words)) == words


@given(WORDS)
def test_systemd_reads_the_words_back(words: list[str]) -> None:
    value = autostart.unit_command(words)
    assert "\n" not in value
    assert unit_words(value) == words


@given(WORDS)
def test_windows_reads_the_words_back(words: list[str]) -> None:
    assert windows_words(autostart.windows_command(words)) == words


@given(WORDS)
def test_macos_reads_the_words_back(words: list[str]) -> None:
    readable = [word.replace("\n", " ").replace("\r", " ") for word in words]
    agent, tray = (plistlib.loads(file.text.encode()) for file in files("macos", readable))
    assert agent["ProgramArguments"] == [*readable, "join"]
    assert tray["ProgramArguments"] == [*readable, "tray"]


def test_taking_back_on_windows_names_all_that_was_set() -> None:
    on, off = (file.text for file in files("windows", PROGRAMS["windows"]))
    for name in re.findall(r'^"(DSage[^"]*)"=', on, re.MULTILINE):
        assert f'"{name}"=-\n' in off
    keys = {key for key in re.findall(r"^\[(.*)\]$", on, re.MULTILINE) if "\\Run" not in key}
    removed = re.findall(r"^\[-(.*)\]$", off, re.MULTILINE)
    assert keys
    assert all(any(key.startswith(gone) for gone in removed) for key in keys)


# -- programs of the systems say that they accept them -----------------------------------------------------------


@pytest.mark.skipif(shutil.which("desktop-file-validate") is None, reason="desktop-file-utils is not installed")
@pytest.mark.parametrize("places", [PERSON, EVERYONE], ids=["person", "everyone"])
def test_desktop_files_are_valid(tmp_path: Path, places: Places) -> None:
    written = switch.write_all(files("linux", PROGRAMS["linux"], places), tmp_path)
    entries = [str(path) for path in written if path.suffix == ".desktop"]
    assert len(entries) == 2
    done = subprocess.run(["desktop-file-validate", *entries], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("places", [PERSON, EVERYONE], ids=["person", "everyone"])
def test_systemd_accepts_the_unit(tmp_path: Path, places: Places) -> None:
    program = tmp_path / "my tools" / "ds$age 100%"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    written = switch.write_all(files("linux", [str(program)], places), tmp_path / "tree")
    unit = next(path for path in written if path.name == "dsage.service" and not path.is_symlink())
    command = ["systemd-analyze", "--user", "verify", "--man=no", str(unit)]
    environ = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    said = [line for line in done.stderr.splitlines() if "dsage" in line]
    assert (done.returncode, said) == (0, []), done.stderr


def test_the_tray_of_everyone_starts_only_for_people_who_have_joined(tmp_path: Path) -> None:
    program = tmp_path / "dsage"
    program.write_text('#!/bin/sh\necho "called with $*"\n')
    program.chmod(0o755)
    entry = next(f for f in files("linux", [str(program)], EVERYONE) if f.path.name == "dsage-tray.desktop")
    value = re.search(r"^Exec=(.*)$", entry.text, re.MULTILINE)
    assert value

    def started(**environ: str) -> str:
        command = desktop_words(value[1])
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environ).stdout

    home = tmp_path / "home"
    assert started(HOME=str(home)) == ""
    part = home / ".local/share/dsage/client/servers/abc"
    part.mkdir(parents=True)
    assert started(HOME=str(home)) == ""
    (part / "membership.json").write_text("{}")
    assert started(HOME=str(home)) == "called with tray\n"
    assert started(HOME=str(home), XDG_DATA_HOME=str(tmp_path / "other")) == ""
    assert started(HOME="/nonexistent", DSAGE_HOME=str(home / ".local/share/dsage")) == "called with tray\n"


def test_plain_commands_stay_readable() -> None:
    assert autostart.desktop_command(["/usr/bin/dsage", "join"]) == shlex.join(["/usr/bin/dsage", "join"])
    assert autostart.unit_command(["/usr/bin/dsage", "join"]) == "/usr/bin/dsage join"
