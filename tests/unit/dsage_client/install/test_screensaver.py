"""DSage as xscreensaver's picture: what a person's file says afterwards, and that all is as it was when they leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsage.cli.main import main
from dsage.errors import StorageFull, UsageError
from dsage.home import Home
from dsage_client.install import screensaver
from dsage_client.install.screensaver import BEFORE, FILE, Saver

USUAL = """*mode:  random
*programs:	      \\
	maze --root   \\n\\
- GL: gears --root  \\n
*pointerPollTime:	0:00:05
"""
OWN = """\
# XScreenSaver Preferences File
timeout:	0:10:00
lock:		True
mode:		random
selected:	7
programs:	      \\
  "Maze"  maze --root  \\n\\
- GL:  "Gears"  gears --root \\n\\

pointerHysteresis:	10
textLiteral:	caf\xe9
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "usual").write_text(USUAL)
    return tmp_path


def saver(home: Path, *, there: tuple[str, ...] = ("xscreensaver",)) -> Saver:
    return Saver(home, home / "client", which=lambda name: name if name in there else None, usual=home / "usual")


def settings(home: Path) -> dict[str, str]:
    """Read a file as xscreensaver does: a line that ends in a backslash goes on."""
    text = (home / FILE).read_text("utf-8", "surrogateescape").replace("\\\n", " ")
    pairs = (line.partition(":") for line in text.split("\n") if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def programs(home: Path) -> list[str]:
    return [" ".join(each.split()) for each in settings(home)["programs"].split("\\n") if each.strip()]


def test_it_is_chosen_before_a_persons_own_list_and_the_rest_stays(home: Path) -> None:
    own = OWN.encode("latin-1")
    (home / FILE).write_bytes(own)
    assert not saver(home).look().chosen
    assert saver(home).use().chosen
    first, *rest = programs(home)
    assert first.startswith('"DSage" ')
    assert first.endswith(f"saver --root --home {home}")
    assert rest == ['"Maze" maze --root', '- GL: "Gears" gears --root']
    found = settings(home)
    assert (found["mode"], found["selected"], found["timeout"], found["lock"]) == ("one", "0", "0:10:00", "True")
    assert b"caf\xe9" in (home / FILE).read_bytes()
    assert (home / BEFORE).read_bytes() == own
    assert saver(home).use().chosen
    assert programs(home)[1:] == rest
    assert saver(home).release() == [home / FILE, home / BEFORE]
    assert (home / FILE).read_bytes() == own
    assert not (home / BEFORE).exists()


def test_who_had_no_file_keeps_the_usual_list_and_has_none_afterwards(home: Path) -> None:
    assert saver(home).use().chosen
    assert programs(home)[1:] == ["maze --root", "- GL: gears --root"]
    assert not (home / BEFORE).exists()
    assert saver(home).release() == [home / FILE]
    assert not (home / FILE).exists()
    assert saver(home).release() == []


def test_what_was_changed_meanwhile_stays_and_only_ours_goes(home: Path) -> None:
    (home / FILE).write_text(OWN)
    saver(home).use()
    (home / FILE).write_text((home / FILE).read_text().replace("0:10:00", "0:20:00"))
    saver(home).release()
    assert programs(home) == ['"Maze" maze --root', '- GL: "Gears" gears --root']
    assert settings(home)["timeout"] == "0:20:00"
    assert settings(home)["mode"] == "random"
    assert not (home / BEFORE).exists()


def test_another_picture_that_was_chosen_since_is_seen_and_stays_chosen(home: Path) -> None:
    saver(home).use()
    (home / FILE).write_text((home / FILE).read_text().replace("selected:\t0", "selected:\t1"))
    assert not saver(home).look().chosen


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "\\",
        "a: b \\",
        "mode: one\nselected: 0\n",
        "mode: one\nselected: x\nprograms:",
        "programs:\\\n\\\n\\n\\\n",
        "\0",
    ],
)
def test_a_file_that_makes_no_sense_is_taken_as_it_is(home: Path, damaged: str) -> None:
    (home / FILE).write_text(damaged)
    assert not saver(home).look().chosen
    assert saver(home).use().chosen
    saver(home).release()
    assert not (home / FILE).exists() or (home / FILE).read_text() == damaged


def test_a_link_to_a_file_elsewhere_stays_a_link(home: Path) -> None:
    (home / "dotfiles").write_text(OWN)
    (home / FILE).symlink_to(home / "dotfiles")
    saver(home).use()
    assert (home / FILE).is_symlink()
    assert "DSage" in (home / "dotfiles").read_text()
    saver(home).release()
    assert (home / "dotfiles").read_text() == OWN


def test_where_it_cannot_be_it_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No screensaver is installed" in saver(home, there=()).look().why_not
    with pytest.raises(UsageError, match="No screensaver is installed"):
        saver(home, there=()).use()
    (home / "theme").touch()
    monkeypatch.setattr(screensaver, "THEME", home / "theme")
    assert "in the settings" in saver(home, there=("mate-screensaver",)).look().why_not
    monkeypatch.setattr("sys.platform", "win32")
    assert "This system" in saver(home).look().why_not
    assert not (home / FILE).exists()


def test_a_home_that_cannot_be_written_is_said(home: Path) -> None:
    (home / BEFORE).mkdir()
    (home / FILE).mkdir()
    with pytest.raises(StorageFull, match="cannot be written"):
        saver(home).use()


def test_leaving_puts_it_back(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DSAGE_HOME", str(home / "own"))
    (home / FILE).write_text(OWN)
    Saver(home, Home().client, which=lambda name: name).use()
    assert "DSage" in (home / FILE).read_text()
    assert main(["leave"]) == 0
    assert (home / FILE).read_text() == OWN
    assert f"{home / FILE} is as it was" in capsys.readouterr().out
