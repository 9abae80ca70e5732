"""What is left in a home when its owner has left: nothing of the client, everything of anybody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsage.errors import Conflict
from dsage.home import Home
from dsage_client.install.leaving import leave
from dsage_client.install.switch import Switch
from dsage_client.membership import locked
from dsage_client.settings import Settings

PROGRAM = ["/opt/dsage"]


def everything(folder: Path) -> set[str]:
    """Return every file, link and folder below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    folder = tmp_path / "person"
    (folder / ".config").mkdir(parents=True)
    (folder / ".local" / "share").mkdir(parents=True)
    return folder


def used(person: Path) -> tuple[Home, Switch]:
    """Let a client be used: it starts with the session, and has keys, preferences and data."""
    home = Home(person / ".local/share/dsage")
    switch = Switch(person, system="linux", program=PROGRAM, everywhere=False)
    switch.on()
    part = Settings(folder=home.client).of("abc")
    part.held.mkdir(parents=True)
    (part.held / "1.json").write_text("{}")
    part.key_file.write_text("secret")
    (home.client / "preferences.json").write_text("{}")
    return home, switch


def test_erasing_leaves_nothing(person: Path) -> None:
    before = everything(person)
    home, switch = used(person)
    gone = leave(home, switch, erase=True)
    assert home.client in gone
    assert everything(person) == before


def test_leaving_keeps_what_is_needed_to_come_back(person: Path) -> None:
    home, switch = used(person)
    leave(home, switch)
    assert not switch.is_on()
    assert everything(person / ".config") == set()
    assert (home.client / "preferences.json").exists()
    assert (home.client / "servers/abc/client.key").exists()


def test_a_researchers_keys_stay(person: Path) -> None:
    home, switch = used(person)
    home.keys.mkdir()
    home.code_key("ada").write_text("secret")
    leave(home, switch, erase=True)
    assert everything(home.folder) == {"keys", "keys/code-ada.key"}


def test_what_refused_a_packages_start_goes_too(person: Path) -> None:
    before = everything(person)
    switch = Switch(person, system="linux", program=PROGRAM, everywhere=True)
    switch.off()
    leave(Home(person / ".local/share/dsage"), switch, erase=True)
    assert everything(person) == before


def test_nothing_is_removed_under_a_running_agent(person: Path) -> None:
    home, switch = used(person)
    with locked(Settings(folder=home.client).lock_file), pytest.raises(Conflict):
        leave(home, switch, erase=True)
    assert (home.client / "servers/abc/client.key").exists()


def test_a_client_on_another_disk_is_removed_there(person: Path, tmp_path: Path) -> None:
    home, switch = used(person)
    other = tmp_path / "disk"
    home.client.rename(other)
    home.client.symlink_to(other)
    leave(home, switch, erase=True)
    assert not other.exists()
    assert not home.folder.exists()


def test_leaving_twice_is_no_error(person: Path) -> None:
    home, switch = used(person)
    leave(home, switch, erase=True)
    assert leave(home, switch, erase=True) == []
