"""A run and a Grid as words and HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from dsage import codec, display
from dsage.states import RunState
from dsage.wire import RunView

NOW = 1130.0
RUN = RunView(
    run=12, project="lab", title="Sum", app="", state="running", created=1000.0, finished=None, driver_seen=None,
    step=3, units={"ready": 4, "valid": 30, "failed": 0}, replicas={}, credit_milli=0, volunteers=0, progress=b"",
    result=None, reason="", params=b"",
)  # fmt: skip
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x1b[2J"


def run(progress: dict[str, Any] | None = None, **changes: Any) -> RunView:
    said = b"" if progress is None else codec.encode(progress)
    return msgspec.structs.replace(RUN, progress=said, **changes)


class Read(HTMLParser):
    """What a browser would make of it: the elements, their attributes and the text; each must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def percent(view: RunView) -> str | None:
    """Return how full the bar is, None without one."""
    bars = [each for _, each in Read(display.html(view, NOW)).elements if each.get("role") == "progressbar"]
    return bars[0]["aria-valuenow"] if bars else None


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (run(), None),
        (run({"fraction": 0.425}), "42"),
        (run({"fraction": 0.999}), "99"),
        (run({"fraction": 1.0}), "100"),
        (run({"fraction": 1.2}), None),
        (run({"fraction": -0.1}), None),
        (run({"fraction": float("nan")}), None),
        (run({"fraction": "all"}), None),
        (run({"fraction": 0.3}, state=RunState.DONE, finished=1100.0), "100"),
        (run({"fraction": 0.3}, state=RunState.FAILED, finished=1100.0), "30"),
    ],
)
def test_the_bar_is_as_full_as_the_run_says_and_never_fuller_than_full(view: RunView, shown: str | None) -> None:
    assert percent(view) == shown


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (run({"fraction": 0.5}), "about 2 min 10 s left"),
        (run({"fraction": 0.5, "eta_s": 7}), "about 7 s left"),
        (run({"fraction": 0.5, "eta_s": None}), "time left unknown"),
        (run(), "time left unknown"),
        (run({"fraction": 0.5}, state=RunState.DONE, finished=1100.0), "1 min 40 s"),
    ],
)
def test_the_time_left_is_what_the_run_says_or_its_rate_so_far_tells(view: RunView, said: str) -> None:
    text = Read(display.html(view, NOW)).text
    assert said in text
    assert ("left" in text) == (view.state == RunState.RUNNING)


def test_units_are_counted_by_state_and_empty_counts_left_out() -> None:
    text = Read(display.html(run(), NOW)).text
    assert "30 valid" in text
    assert "4 ready" in text
    assert "failed" not in text
    assert "no units yet" in Read(display.html(run(units={}), NOW)).text


def test_the_reason_of_a_failure_and_the_page_are_there() -> None:
    read = Read(display.html(run(state=RunState.FAILED, reason="it broke"), NOW, "https://lab.example/run/12"))
    assert "it broke" in read.text
    assert [each["href"] for tag, each in read.elements if tag == "a"] == ["https://lab.example/run/12"]


def test_whatever_a_run_says_is_text() -> None:
    said = {"summary": HOSTILE, "phase": HOSTILE, "fraction": 0.1}
    view = run(said, title=HOSTILE, reason=HOSTILE)
    read = Read(display.html(view, NOW, f"javascript:{HOSTILE}", trouble=HOSTILE))
    assert {tag for tag, _ in read.elements} == {"div", "span", "b"}
    assert {name for _, each in read.elements for name in each} <= {
        "style", "role", "aria-valuemin", "aria-valuemax", "aria-valuenow", "aria-label", "aria-hidden",
    }  # fmt: skip
    assert read.text.count("<script>alert(1)</script>") == 5
    assert {tag for tag, _ in Read(display.html(run({HOSTILE: HOSTILE}), NOW)).elements} == {"div", "span", "b"}
    assert {tag for tag, _ in Read(display.grid_html(HOSTILE, {HOSTILE: HOSTILE})).elements} == {"div", "span", "b"}
    assert "\x1b" not in display.line(1, view)


def test_colours_are_the_pages_own_or_can_be_told_from_black_and_white() -> None:
    html = display.html(run({"fraction": 0.5}, reason="why", volunteers=2), NOW, "https://lab.example")
    for colour in re.findall(r"#[0-9a-f]{6}", html):
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
        assert 1.05 / (light + 0.05) > 2.4
        assert (light + 0.05) / 0.05 > 2.4


def test_a_grid_in_a_line() -> None:
    assert (
        display.grid_line("this computer", {"workers": "2", "runs": "0"}) == "<Grid: this computer, workers 2, runs 0>"
    )
