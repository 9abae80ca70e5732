"""Reading the status: whatever the file holds, there is a sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest
from desk_stand import idle_status

from dsage_client.guest.reasons import Reason
from dsage_client.saver.show import Show
from dsage_client.saver.status import MOST_BYTES, Reader


def test_the_status_is_read_and_read_again_when_it_changes(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    file = tmp_path / "status.json"
    file.write_bytes(msgspec.json.encode(idle_status(sentence="One")))
    assert reader.read()[1] == "One"
    other = tmp_path / "other"
    other.write_bytes(msgspec.json.encode(idle_status(sentence="Two")))
    other.replace(file)
    assert reader.read()[1] == "Two"


def test_without_a_status_nothing_runs(tmp_path: Path) -> None:
    status, sentence = Reader(tmp_path / "nowhere").read()
    assert status is None
    assert sentence.startswith("Not running")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe", b"[]", b'{"at": 1}', b'{"at": "x"}', b"9" * (MOST_BYTES + 1), b"[" * 100_000]
)
def test_a_damaged_status_is_a_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "status.json").write_bytes(data)
    status, sentence = Reader(tmp_path).read()
    assert status is None
    assert sentence == "What the client does cannot be read now"


def test_a_folder_in_its_place_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "status.json").mkdir()
    assert Reader(tmp_path).read()[0] is None


def test_the_status_of_a_client_that_was_killed_is_not_believed(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    (tmp_path / "status.json").write_bytes(msgspec.json.encode(idle_status(pid=child, sentence="Computing")))
    status, sentence = Reader(tmp_path).read()
    assert status is None
    assert sentence.startswith("Not running")


def test_fields_of_a_later_client_do_no_harm(tmp_path: Path) -> None:
    later = json.loads(msgspec.json.encode(idle_status(sentence="One"))) | {"more": [1]}
    (tmp_path / "status.json").write_text(json.dumps(later))
    assert Reader(tmp_path).read()[1] == "One"


@pytest.mark.parametrize(("screen", "calm"), [("full", False), ("calm", True)])
def test_the_preference_says_how_quickly_it_moves(tmp_path: Path, screen: str, calm: bool) -> None:
    (tmp_path / "status.json").write_bytes(msgspec.json.encode(idle_status(screen=screen, reason=Reason.WORKING)))
    show = Show(tmp_path, calm=False, names=True)
    show.moment(800, 600)
    assert show.calm is calm


def test_on_the_battery_it_hardly_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show = Show(tmp_path, calm=False, names=True)
    monkeypatch.setattr("dsage_client.saver.show.on_battery", lambda: True)
    assert show.wait_s() >= 5
    other = Show(tmp_path, calm=False, names=True)
    monkeypatch.setattr("dsage_client.saver.show.on_battery", lambda: False)
    assert other.wait_s() == pytest.approx(0.1)
    assert Show(tmp_path, calm=True, names=True).wait_s() > 0.3
