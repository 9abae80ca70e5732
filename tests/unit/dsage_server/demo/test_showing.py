"""The demo's run as lines and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from dsage import codec
from dsage.wire import Event, RunView
from dsage_server.demo.showing import DRAMAS_SAID, Showing, line_of, picture, time_left
from dsage_server.demo.stage import Volunteer

NOW = 1_000_020.0
COMPOSITE = {"digits": 84, "b1": 11_000, "curves": 86, "curves_done": 20, "sieve": False}


def view(state: str = "running", step: int = 3, **progress: Any) -> RunView:
    return RunView(
        run=1, project="factor", title="t", app="a", state=state, created=NOW - 7, finished=None, driver_seen=NOW,
        step=step, units={"ready": 4, "active": 2, "valid": 5, "cancelled": 1}, replicas={}, credit_milli=0,
        volunteers=2, progress=codec.encode(progress), result=None, reason="", params=b"",
    )  # fmt: skip


def people() -> list[Volunteer]:
    first, second = Volunteer("volunteer-1", pseudonym="calm-ibis-1"), Volunteer("cheater", lies=True)
    first.doing = "computes unit 9"
    return [first, second]


def test_a_line_holds_what_people_ask_for() -> None:
    line = line_of(
        view(phase="curves at B1=11,000", fraction=0.6, curves_done=45, seconds_left_on_this_level=12.0), people(), NOW
    )
    for part in (
        "7 s", "curves at B1=11,000", "60%", "45 curves done", "4 ready, 2 active, 0 comparing, 5 valid, 1 cancelled",
        "1 volunteer ", "about 12 s more",
    ):  # fmt: skip
        assert part in f"{line} "


def test_a_line_stands_before_anything_is_known() -> None:
    line = line_of(view(), people(), NOW)
    assert "algebra and small primes" in line
    assert "time left: not known yet" in line


def drawn(shown: RunView) -> str:
    console = Console(file=StringIO(), width=100, color_system=None)
    console.print(picture(shown, people(), NOW, "the footer"))
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def test_the_picture_shows_volunteers_at_work_and_each_composite() -> None:
    text = drawn(view(phase="p", curves_done=45, composites=[COMPOSITE, {**COMPOSITE, "digits": 50, "sieve": True}]))
    assert "84 digits: 20 of 86 at B1=11,000" in text
    assert "50 digits: quadratic sieve instead" in text
    assert "calm-ibis-1" in text
    assert "computes unit 9" in text
    assert "cheater (lies)" in text
    assert "the footer" in text


def test_no_time_is_left_to_tell_of_when_it_is_done() -> None:
    assert "time left" in drawn(view())
    assert "time left" not in drawn(view(state="done"))


@pytest.mark.parametrize("eta", [None, "soon", []])
def test_a_time_left_that_is_no_number_is_unknown(eta: object) -> None:
    assert time_left({"seconds_left_on_this_level": eta}) == "time left: not known yet"


class Told(Showing):
    def __init__(self, known: Sequence[int] = ()) -> None:
        super().__init__(people(), known)
        self.lines: list[str] = []
        self._clock = lambda: NOW

    def say(self, line: str, style: str = "") -> None:
        self.lines.append(line)


def refusals(count: int) -> list[Event]:
    return [Event(id=i, at=NOW, kind="refused", text=f"unit {i}: a lie") for i in range(1, count + 1)]


def test_each_new_factor_is_told_once_and_known_ones_never() -> None:
    screen = Told(known=[2])
    for _ in range(2):
        screen.show(view(factors=[["2", 1], ["10007", 1]]))
    assert [line for line in screen.lines if "Found" in line] == ["Found a prime factor of 5 digits: 10007"]


def test_dramas_are_told_once_and_not_without_end() -> None:
    screen = Told()
    screen.show(view(), refusals(2))
    screen.show(view(), refusals(2))
    assert [line for line in screen.lines if "lie" in line] == ["Unit 1: a lie.", "Unit 2: a lie."]
    screen.show(view(), refusals(DRAMAS_SAID + 5))
    screen.show(view(), refusals(DRAMAS_SAID + 9))
    assert sum("lie" in line for line in screen.lines) == DRAMAS_SAID
    assert sum("the end says how often" in line for line in screen.lines) == 1
    quiet = Told()
    quiet.show(view(), [Event(id=1, at=NOW, kind="submitted", text="hush")])
    assert not any("ush" in line for line in quiet.lines)


def test_plain_lines_come_every_two_seconds() -> None:
    screen = Told()
    screen.show(view())
    screen.show(view())
    assert len(screen.lines) == 1
    screen._clock = lambda: NOW + 2.0
    screen.show(view())
    assert len(screen.lines) == 2
