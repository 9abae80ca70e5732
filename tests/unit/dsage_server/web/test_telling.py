"""The server's sentences in a visitor's language: found in English texts, and said anew."""

from __future__ import annotations

import pytest

from dsage_server.sentences import news, reasons
from dsage_server.web.speech import speech_of
from dsage_server.web.telling import Telling, coded

ENGLISH = Telling(speech_of("en"))
GERMAN = Telling(speech_of("de"))
PSEUDO = Telling(speech_of("en-XA"))


def test_commands_are_set_as_code() -> None:
    assert coded("run `a <b>` now") == "run <code>a &lt;b&gt;</code> now"
    assert coded("an odd ` one <b>") == "an odd ` one &lt;b&gt;"


def test_english_stays_as_the_tables_have_it() -> None:
    for text in (
        "run 5 (A picture (b) of `x`) was submitted", "run 3 is failed: ValueError: x; archived on 2026-01-02, file f",
        "run 3 12 failed units are tried again", "somebody wrote this",
    ):  # fmt: skip
        assert ENGLISH.plain(text) == text


@pytest.mark.parametrize(
    ("text", "german"),
    [
        (news.SUBMITTED(run=5, title="Tiles"), "Lauf 5 (Tiles) wurde eingereicht"),
        (news.DISAGREE(unit=7, n=2), "Einheit 7: 2 Antworten widersprechen sich, darum wird noch jemand gefragt"),
        (news.RETRIED(run=1, n=1), "Lauf 1: 1 misslungene Einheit wird noch einmal versucht"),
        (news.RETRIED(run=1, n=4), "Lauf 1: 4 misslungene Einheiten werden noch einmal versucht"),
        ("its app version was revoked; archived on 2026-01-02, file run-1.jsonl",
         "die Fassung seiner App wurde widerrufen; archiviert am 2026-01-02, Datei run-1.jsonl"),
        (news.GIVEN_UP(unit=3, why="it failed once on one volunteer's computer, last with: an error"),
         "Einheit 3 wurde aufgegeben: sie misslang einmal auf dem Computer von jemandem, zuletzt mit: ein Fehler"),
        ("unit 3.1 failed: an error (unit_failed)", "Einheit 3.1 misslang: ein Fehler (unit_failed)"),
        ("gave 1,234.5 credits by hand", "hat von Hand 1.234,5 Gutschriften gegeben"),
        (reasons.TOO_LARGE(bytes="12,345", command="`dsage results 3`"),
         "12.345 Bytes sind zu viel für eine Seite: `dsage results 3` holt sie"),
    ],
)  # fmt: skip
def test_what_the_tables_have_in_english_is_told_in_german(text: str, german: str) -> None:
    assert GERMAN.plain(text) == german


def test_what_people_wrote_is_escaped_and_left_alone_in_a_direction_of_its_own() -> None:
    told = PSEUDO.html(news.SUBMITTED(run=5, title="<b>Tiles %(run)d</b>"))
    assert '<bdi translate="no">&lt;b&gt;Tiles %(run)d&lt;/b&gt;</bdi>' in told
    assert "submitted" not in told
    assert PSEUDO.html("<i>") == '<bdi translate="no">&lt;i&gt;</bdi>'


def test_a_command_in_a_sentence_is_code_and_its_number_stands_in_it() -> None:
    assert "<code>dsage resume 7</code>" in GERMAN.html(reasons.PAUSED(run=7))
    assert "<code>dsage results 3</code>" in GERMAN.html(reasons.TOO_LARGE(bytes="1,000", command="`dsage results 3`"))


def test_what_begins_a_page_has_a_capital() -> None:
    assert ENGLISH.opening("there is no run 7") == "There is no run 7"
    assert ENGLISH.opening("'x' is not a number of hours").startswith("<bdi")
    assert ENGLISH.opening("<x") == "&lt;x"
