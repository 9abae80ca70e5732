"""Every decision has one sentence, in every language, and it says when computing goes on."""

from __future__ import annotations

import re

import pytest
from guests import BERLIN, NOON, at, chosen, computers, preferences
from hypothesis import given
from hypothesis import strategies as st

from dsage_client import words
from dsage_client.guest.policy import Memory, decide
from dsage_client.guest.preferences import Preferences
from dsage_client.guest.reasons import Reason, Standing, Work
from dsage_client.guest.seen import Seen
from dsage_client.guest.sentences import LONGEST, earlier, lasting, moment, sentence

HALF_TWO = at("2026-11-25T13:30")
SAID = {
    "project": "Factoring",
    "server": "lab",
    "program": "mpv",
    "celsius": 91.4,
    "idle_s": 180.0,
    "words": "no bwrap",
    "projects": "A, B",
}


def said(reason: Reason, *, until: float | None = None, **facts: str | float) -> str:
    """Return the sentence for a reason."""
    return sentence(Standing(work=Work.HOLD, reason=reason, said=facts, until=until), now=NOON, zone=BERLIN)


@pytest.mark.parametrize(
    ("reason", "until", "facts", "words"),
    [
        (Reason.WORKING, None, {}, "Computing"),
        (Reason.WORKING, HALF_TWO, {"project": "Factoring"}, "Computing for Factoring"),
        (Reason.FINISHING, None, {}, "Finishing what is begun, then stopping"),
        (Reason.NO_WORK, None, {}, "Waiting: there is no work for this computer now"),
        (Reason.NO_WORK, HALF_TWO, {"server": "lab"}, "Waiting: lab has no work for this computer now"),
        (Reason.CONNECTING, None, {"server": "lab"}, "Connecting to lab"),
        (Reason.SERVER_AWAY, HALF_TWO, {"server": "lab"}, "Waiting: lab does not answer; next try 13:30"),
        (
            Reason.SERVER_AWAY,
            HALF_TWO,
            {"server": "lab", "since": at("2026-11-20T09:15")},
            "Waiting: lab has not answered since Friday 09:15; next try 13:30",
        ),
        (
            Reason.SERVER_AWAY,
            HALF_TWO,
            {"server": "lab", "since": NOON + 3600},
            "Waiting: lab does not answer; next try 13:30",
        ),
        (Reason.NOT_JOINED, None, {}, "Not computing: this computer has not joined a server yet"),
        (
            Reason.IN_USE,
            HALF_TWO,
            {"idle_s": 180.0},
            "Waiting until nobody has used this computer for 3 minutes",
        ),
        (Reason.IN_USE, None, {"idle_s": 60.0}, "Waiting until nobody has used this computer for 1 minute"),
        (
            Reason.UNKNOWN_USE,
            None,
            {},
            "Waiting: nothing here can tell whether somebody is using this computer",
        ),
        (Reason.FILM, None, {"program": "mpv"}, "Waiting: mpv shows a film or a presentation"),
        (Reason.FULL_SCREEN, None, {}, "Waiting: a program fills the screen"),
        (Reason.EXCLUSIVE_APP, None, {"program": "firefox"}, "Waiting: firefox needs the processor"),
        (Reason.WAKING, NOON + 10, {}, "Waiting a moment: this computer has just woken up"),
        (Reason.BATTERY, None, {}, "Waiting until this computer is plugged in"),
        (Reason.BUSY, None, {}, "Waiting: other programs need the processor"),
        (Reason.BUSY, NOON + 50, {}, "Waiting until 12:01: other programs needed the processor"),
        (Reason.MEMORY, None, {}, "Waiting: memory is short"),
        (Reason.HOT, None, {"celsius": 91.4}, "Waiting until this computer has cooled down: it is at 91 °C"),
        (Reason.DISK, None, {}, "Waiting for new work: the disk is full"),
        (Reason.DISK, None, {"read_only": 1.0}, "Waiting for new work: the disk may only be read"),
        (
            Reason.SCHEDULE,
            at("2026-11-26T07:00"),
            {},
            "Waiting until tomorrow 07:00: the hours that you chose begin then",
        ),
        (Reason.SCHEDULE, None, {}, "Waiting: it is outside the hours that you chose"),
        (
            Reason.NETWORK_HOURS,
            HALF_TWO,
            {},
            "Waiting for new work until 13:30: the network hours that you chose begin then",
        ),
        (Reason.PAUSED, HALF_TWO, {}, "Paused by you until 13:30"),
        (Reason.PAUSED, None, {}, "Paused by you until you resume"),
        (Reason.NEVER, None, {}, "Not computing: you chose never"),
        (Reason.FINISHED, None, {}, "Stopped, as you asked: what was begun is finished"),
        (Reason.FAILING, HALF_TWO, {"project": "P"}, "Resting until 13:30: five units of P failed in a row"),
        (
            Reason.NO_SANDBOX,
            None,
            {"words": "no bwrap", "projects": "A, B"},
            "Not computing: strangers' programs cannot be shut in safely here (no bwrap)",
        ),
        (
            Reason.TOO_OLD,
            None,
            {"server": "lab"},
            "Not computing: lab needs a newer version of DSage; please update it",
        ),
        (Reason.TROUBLE, None, {"words": "the disk is gone"}, "Not computing: the disk is gone"),
        (Reason.STOPPED, None, {}, "Not running: start DSage to compute"),
    ],
)
def test_each_reason_in_plain_words(reason: Reason, until: float | None, facts: dict[str, str], words: str) -> None:
    assert said(reason, until=until, **facts) == words


def test_what_runs_is_named() -> None:
    assert said(Reason.WORKING, projects="Factoring, Sky Survey") == "Computing for Factoring, Sky Survey"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-11-25T11:59:59", "11:59"),
        ("2026-11-24T23:00", "yesterday 23:00"),
        ("2026-11-23T07:05", "Monday 07:05"),
        ("2026-11-19T07:05", "Thursday 07:05"),
        ("2026-11-18T07:05", "2026-11-18 07:05"),
    ],
)
def test_a_moment_gone_by_is_told_as_people_tell_it(text: str, words: str) -> None:
    assert earlier(at(text), now=NOON, zone=BERLIN) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-11-25T12:00", "12:00"),
        ("2026-11-25T12:00:01", "12:01"),
        ("2026-11-25T23:59:01", "tomorrow 00:00"),
        ("2026-11-26T07:05", "tomorrow 07:05"),
        ("2026-11-27T07:05", "Friday 07:05"),
        ("2026-12-01T07:05", "Tuesday 07:05"),
        ("2026-12-02T07:05", "2026-12-02 07:05"),
    ],
)
def test_a_moment_is_told_as_people_tell_it(text: str, words: str) -> None:
    assert moment(at(text), now=NOON, zone=BERLIN) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 second"), (45, "45 seconds"), (60, "1 minute"), (180, "3 minutes"), (90, "90 seconds")],
)
def test_durations(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


def test_names_from_elsewhere_can_neither_command_a_terminal_nor_fill_the_screen() -> None:
    text = said(Reason.FILM, program="\x1b]0;gone\x07{0}{when}\u202e\n" + "x" * 500)
    assert text.isprintable()
    assert "{0}{when}" in text
    assert len(text) < LONGEST + 60
    assert said(Reason.TROUBLE, words="  ") == "Not computing: something went wrong; the log says what"


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize("facts", [{}, SAID])
def test_each_reason_has_a_sentence_in_each_language(language: str, facts: dict[str, str | float]) -> None:
    for reason in Reason:
        for until in (None, HALF_TWO, at("2026-11-27T07:00")):
            words.speak("en")
            english = said(reason, until=until, **facts)
            words.speak(language)
            text = said(reason, until=until, **facts)
            assert text.isprintable()
            assert not re.search(r"[{}]", text)
            assert not text.endswith(".")
            assert (text == english) == (language == "en")
            assert ("13:30" in text) == ("13:30" in english)


@given(preferences, computers(), st.data(), st.sampled_from(words.LANGUAGES))
def test_whatever_is_decided_can_be_said(
    preferences: Preferences, look: Seen, data: st.DataObject, language: str
) -> None:
    choices = data.draw(chosen(look.now, look.up))
    standing, _ = decide(preferences, choices, look, Memory(), running=data.draw(st.integers(0, 1)), zone=BERLIN)
    words.speak(language)
    text = sentence(standing, now=look.now, zone=BERLIN)
    assert text.isprintable()
    assert len(text) > 5
