"""The three waits of a client, on a clock of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsage.errors import Busy, RequestError, ServerAway
from dsage_client.events import Event
from dsage_client.patience import MAX_IDLE_S, Patience
from dsage_client.settings import Settings

AWAY = ServerAway("no server answers")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def patient(draw: float, events: list[Event] | None = None) -> Patience:
    settings = Settings(folder=Path("/nowhere"), backoff_low_s=0.5, backoff_high_s=60.0)
    return Patience(settings, (events if events is not None else []).append, Clock(), lambda: draw)


@pytest.mark.parametrize(("draw", "first_s", "second_s"), [(0.0, 0.25, 30.0), (0.5, 30.0, 60.0), (1.0, 60.0, 90.0)])
def test_who_was_told_a_spread_returns_within_it(draw: float, first_s: float, second_s: float) -> None:
    patience = patient(draw)
    patience.answered(60.0)
    patience.refused(AWAY, busy=False)
    assert patience.away_s == pytest.approx(first_s)
    patience.refused(AWAY, busy=False)
    assert patience.away_s == pytest.approx(second_s)


def test_only_the_last_spread_counts_and_no_server_can_send_a_client_away_for_days() -> None:
    patience = patient(1.0)
    patience.answered(1e12)
    patience.answered(20.0)
    patience.refused(AWAY, busy=False)
    assert patience.away_s == 20.0
    patience.answered(1e12)
    patience.satisfied()
    patience.refused(AWAY, busy=False)
    assert patience.away_s == MAX_IDLE_S


def test_a_refusal_that_is_no_outage_is_not_spread() -> None:
    patience = patient(1.0)
    patience.answered(600.0)
    patience.refused(RequestError("what?"), busy=False)
    assert patience.away_s == 0.5


def test_a_busy_server_that_took_no_question_may_still_take_results() -> None:
    events: list[Event] = []
    patience = patient(0.5, events)
    patience.sent_away(Busy("too much", retry_s=30.0), results=False, busy=True)
    assert (patience.away_s, patience.quiet_s) == (0.0, 30.0)
    patience.sent_away(Busy("far too much", retry_s=40.0), results=True, busy=True)
    assert (patience.away_s, patience.quiet_s) == (40.0, 40.0)
    assert [event.data["retry_s"] for event in events] == [30.0, 40.0]
    assert "too much, computing goes on" in events[0].text


def test_a_busy_server_is_never_called_at_once() -> None:
    patience = patient(0.5)
    patience.sent_away(Busy("too much", retry_s=0.0), results=True, busy=False)
    assert patience.away_s == 0.5


def test_why_there_is_no_work_is_told_in_a_sentence_and_by_project() -> None:
    events: list[Event] = []
    patience = patient(0.5, events)
    patience.no_work("no work is waiting", 0.0, {"lab": "no unit waits"})
    patience.no_work("the waiting units need gmpy2", 0.0, {"lab": "needs gmpy2", "primes": "no unit waits"})
    patience.no_work("the waiting units need gmpy2", 0.0, {"lab": "needs gmpy2", "primes": "no unit waits"})
    assert [event.text for event in events] == [
        "waiting: no work is waiting",
        "waiting: the waiting units need gmpy2 (lab: needs gmpy2; primes: no unit waits)",
    ]
    assert events[1].data["reasons"] == {"lab": "needs gmpy2", "primes": "no unit waits"}


def test_a_server_that_gives_reasons_without_end_is_cut_short() -> None:
    events: list[Event] = []
    patient(0.5, events).no_work("none", 0.0, {f"project {n}": "x" * 10_000 for n in range(1000)})
    assert len(events[0].text) < 10_000


def test_five_failures_that_this_computer_is_to_blame_for_make_their_project_rest() -> None:
    clock = Clock()
    patience = Patience(Settings(folder=Path("/nowhere")), [].append, clock, lambda: 0.0)
    for _ in range(4):
        patience.failed("host.needs", "lab")
    assert patience.resting == frozenset()
    patience.failed("host.needs", "lab")
    assert patience.resting == {"lab"}
    clock.now += 601.0
    assert patience.resting == frozenset()
    patience.failed("host.needs", "lab")
    clock.now += 601.0
    assert patience.resting == {"lab"}
    patience.worked("lab")
    clock.now += 601.0
    patience.failed("host.needs", "lab")
    assert patience.resting == frozenset()


def test_what_a_project_does_wrong_itself_makes_it_rest_nowhere() -> None:
    patience = patient(0.0)
    for _ in range(20):
        patience.failed("exception", "lab")
    assert patience.resting == frozenset()
