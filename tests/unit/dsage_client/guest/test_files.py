"""What an owner wants and chose, in files: kept whole, and safe when they are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from guests import chosen, preferences
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage.errors import UsageError
from dsage_client.guest import choices as chosen_file
from dsage_client.guest import preferences as preferred_file
from dsage_client.guest.choices import Choices, Pause
from dsage_client.guest.preferences import Preferences

DAMAGE = [
    b"",
    b"{",
    b"\x00\xff",
    b"[]",
    b'{"when": "sometimes"}',
    b'{"nothing": 1}',
    b'{"finish": 3, "idle": 1}',
    b"[" * 9999,
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in a folder that is made when it is needed."""
    return tmp_path_factory.mktemp("home") / "new" / "file.json"


@settings(max_examples=15)
@given(preferences)
def test_preferences_come_back_as_they_were(file: Path, wanted: Preferences) -> None:
    wanted.save(file)
    assert preferred_file.load(file) == (wanted, "")
    assert file.stat().st_mode & 0o777 == 0o600


@settings(max_examples=15)
@given(st.data())
def test_choices_come_back_as_they_were(file: Path, data: st.DataObject) -> None:
    made = data.draw(chosen(1.7e9, 1000.0))
    made.save(file)
    assert chosen_file.load(file) == made


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_preferences_are_the_careful_ones_and_it_is_told(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "file").write_bytes(damage)
    found, sentence = preferred_file.load(tmp_path / "file")
    assert found == Preferences()
    assert "cannot be read" in sentence
    assert found.when == "idle"


@pytest.mark.parametrize("damage", DAMAGE[:4])
def test_damaged_choices_are_a_pause(tmp_path: Path, damage: bytes) -> None:
    """Whoever paused and lost the file must not find the computer at work."""
    (tmp_path / "file").write_bytes(damage)
    assert chosen_file.load(tmp_path / "file") == Choices(pause=Pause())


def test_files_that_are_not_there_or_are_folders(tmp_path: Path) -> None:
    assert preferred_file.load(tmp_path / "none") == (Preferences(), "")
    assert chosen_file.load(tmp_path / "none") == Choices()
    assert chosen_file.load(tmp_path) == Choices(pause=Pause())
    assert preferred_file.load(tmp_path)[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"idle_after_s": 0},
        {"idle_after_s": float("nan")},
        {"idle_after_s": float("inf")},
        {"hottest_c": -1},
        {"when": "sometimes"},
        {"in_use": {"percent": 0}},
        {"in_use": {"cores": -1}},
        {"hours": [{"days": ["mon"], "start": "24:00"}]},
        {"hours": [{"days": ["someday"]}]},
        {"hours": [{}] * 51},
        {"exclusive_apps": ["x" * 101]},
        {"shares": {"lab": -1}},
        {"colour": "red"},
    ],
)
def test_what_cannot_be_a_preference(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        Preferences().changed(changes)
    assert "dsage prefs" in caught.value.hint


def test_a_change_leaves_the_others() -> None:
    before = Preferences(when="always", idle_after_s=60.0)
    after = before.changed({"hours": [{"days": ["sat", "sun"], "part": {"percent": 20}}], "hottest_c": 80})
    assert (after.when, after.idle_after_s, after.hottest_c) == ("always", 60.0, 80.0)
    assert after.hours[0].days == ("sat", "sun")
    assert (after.hours[0].start, after.hours[0].end) == ("00:00", "00:00")
