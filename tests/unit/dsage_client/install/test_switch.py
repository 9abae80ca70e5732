"""Starting with the session, switched on and off in a home: what is written, what is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dsage_client.install.autostart import SYSTEMS, System
from dsage_client.install.switch import Switch

PROGRAM = ["/opt/dsage", "-m", "dsage"]


def everything(folder: Path) -> set[str]:
    """Return every file, link and folder below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture(autouse=True)
def _no_desktop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / ".config" / "autostart").mkdir(parents=True)
    (folder / ".config" / "autostart" / "other.desktop").write_text("[Desktop Entry]\n")
    for usual in (".local/share", "Library", "AppData/Local"):
        (folder / usual).mkdir(parents=True)
    return folder


@pytest.mark.parametrize("system", SYSTEMS)
def test_on_and_clear_leave_what_was_there(home: Path, system: System) -> None:
    before = everything(home)
    switch = Switch(home, system=system, program=PROGRAM, everywhere=False)
    assert not switch.is_on()
    written = switch.on()
    assert written
    assert switch.is_on()
    assert set(switch.clear()) == set(written)
    assert not switch.is_on()
    assert everything(home) == before
    assert switch.clear() == []


def test_the_unit_is_wanted_by_the_session(home: Path) -> None:
    Switch(home, system="linux", program=PROGRAM, everywhere=False).on()
    wanted = home / ".config/systemd/user/default.target.wants/dsage.service"
    assert "ExecStart=/opt/dsage -m dsage join\n" in wanted.read_text()


def test_folders_of_the_environment_count(home: Path, tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data")}
    before = everything(home)
    switch = Switch(home, system="linux", program=PROGRAM, environ=environ, everywhere=False)
    switch.on()
    assert everything(home) == before
    assert (tmp_path / "config/autostart/dsage-tray.desktop").is_file()
    assert (tmp_path / "data/applications/dsage.desktop").is_file()
    assert switch.is_on()


def test_one_person_may_refuse_what_a_package_starts_for_everyone(home: Path) -> None:
    before = everything(home)
    switch = Switch(home, system="linux", program=["/usr/bin/dsage"], everywhere=True)
    assert switch.is_on()
    switch.off()
    assert not switch.is_on()
    assert "Hidden=true" in (home / ".config/autostart/dsage-tray.desktop").read_text()
    assert os.readlink(home / ".config/systemd/user/dsage.service") == "/dev/null"
    switch.on()
    assert switch.is_on()
    assert everything(home) == before


def test_off_removes_what_on_wrote(home: Path) -> None:
    before = everything(home)
    switch = Switch(home, system="linux", program=PROGRAM, everywhere=False)
    switch.on()
    switch.off()
    assert everything(home) == before
