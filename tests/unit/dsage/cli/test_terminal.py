"""Runs as people see them, from RunViews made by hand."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from dsage import codec
from dsage.cli.following import answer_text, document, exit_status
from dsage.cli.status import glance
from dsage.cli.terminal import PLAIN_EVERY_S, Screen, can_draw, drawn, duration, facts, plain
from dsage.wire import Event, RunView, StatusView

NOW = 1_000_000.0


def view(**changes: Any) -> RunView:
    fields: dict[str, Any] = {
        "run": 3,
        "project": "factor",
        "title": "Factor",
        "app": "0" * 64,
        "state": "running",
        "created": NOW - 60.0,
        "finished": None,
        "driver_seen": NOW,
        "step": 4,
        "units": {"ready": 3, "active": 2, "valid": 10},
        "replicas": {},
        "credit_milli": 12_500,
        "volunteers": 2,
        "progress": codec.encode({"phase": "ECM B1=11000", "fraction": 0.25, "curves": 120, "largest": 10**60}),
        "result": None,
        "reason": "",
        "params": codec.encode({}),
    }
    return RunView(**{**fields, **changes})


def test_one_plain_line_says_it_all() -> None:
    assert plain(view(), NOW) == (
        "Factor · run 3 · ECM B1=11000 · 25% · units: 3 ready, 2 active, 10 valid · curves 120 · "
        f"largest 1{'0' * 60} · 2 volunteers · 1 min · about 3 min left"
    )


def test_what_a_run_asked_of_the_scheduler_is_said() -> None:
    asked = view(priority=-5, platforms=["linux-x86_64", "linux-aarch64"], tags=["gpu", "lab\x1b[2J"], volunteers=0)
    words = "priority -5; only on linux-x86_64 or linux-aarch64; only on computers marked gpu, lab"
    assert f" · {words}" in plain(asked, NOW)
    assert "0 volunteers" not in plain(asked, NOW)
    assert "\x1b" not in plain(asked, NOW)
    status = StatusView(
        server_id="s", name="Lab", version="0.1.0", time=NOW, volunteers=4, hosts_live=2, units={}, replicas={},
        runs=[asked, view(run=2)],
    )  # fmt: skip
    assert words in glance(status, NOW)
    assert "asks for" in glance(status, NOW)
    status.runs = [view()]
    assert "asks for" not in glance(status, NOW)
    told = document(asked)
    assert (told["priority"], told["platforms"], told["tags"][0]) == (-5, ["linux-x86_64", "linux-aarch64"], "gpu")


def test_a_summary_stands_for_what_has_no_words() -> None:
    told = {"phase": "curves", "curves": 120, "composites": [{"digits": 84}], "factors": [["2", 1]]}
    assert "curves 120" in plain(view(progress=codec.encode(told)), NOW)
    assert "[" not in plain(view(progress=codec.encode(told)), NOW)
    line = plain(view(progress=codec.encode({**told, "summary": "120 curves done"})), NOW)
    assert line.startswith("Factor · run 3 · curves · units: 3 ready, 2 active, 10 valid · 120 curves done · 2 vol")


@pytest.mark.parametrize("state", ["running", "done", "failed"])
def test_an_ended_run_offers_no_way_on(state: str) -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(drawn(view(state=state), [], NOW, "Ctrl-C detaches."))
    assert ("Ctrl-C detaches." in out.getvalue()) == (state == "running")


def test_the_drawn_view_shows_the_same_facts() -> None:
    out = io.StringIO()
    events = [Event(id=1, at=NOW, kind="found", text="a factor was found\x1b[2J")]
    Console(file=out, width=120).print(drawn(view(reason="needs one more volunteer"), events, NOW, "Ctrl-C detaches."))
    text = out.getvalue()
    for part in (
        "Factor · run 3",
        "ECM B1=11000",
        "25%",
        "about 3 min left",
        "3 ready",
        "10 valid",
        "0 failed",
        "curves",
    ):
        assert part in text
    for part in ("12.5 reference minutes", "a factor was found", "needs one more volunteer", "Ctrl-C detaches."):
        assert part in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "progress",
    [
        b"",
        b"\xc1",
        codec.encode([1]),
        codec.encode({"fraction": "half", "phase": 7, "eta_s": -1}),
        codec.encode({"fraction": float("nan"), "eta_s": float("inf"), "x" * 1000: "y" * 10_000}),
        codec.encode({"fraction": 1.5}),
        codec.encode({f"field {i}": [i] for i in range(500)}),
        codec.encode({"padding": b"0" * (1 << 17)}),
    ],
)
def test_what_a_run_says_of_itself_is_not_believed_blindly(progress: bytes) -> None:
    seen = facts(view(progress=progress), NOW)
    assert seen.fraction is None
    assert seen.eta_s is None
    assert len(seen.extra) <= 15
    assert all(len(name) <= 40 and len(value) <= 200 for name, value in seen.extra.items())
    assert "\n" not in plain(view(progress=progress), NOW)


def test_a_time_left_is_guessed_from_the_fraction_unless_that_is_forbidden() -> None:
    told: dict[str, Any] = {"fraction": 0.25}
    assert facts(view(progress=codec.encode(told)), NOW).eta_s == 180.0
    assert facts(view(progress=codec.encode({**told, "eta_s": 7.5})), NOW).eta_s == 7.5
    assert facts(view(progress=codec.encode({**told, "eta_s": None})), NOW).eta_s is None


def test_an_ended_run_has_no_time_left() -> None:
    ended = facts(view(state="done", finished=NOW - 10.0), NOW)
    assert (ended.phase, ended.eta_s, ended.elapsed_s) == ("done", None, 50.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (1234, "20 min"), (3700, "1 h 1 min"), (90000, "1 d 1 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_off_a_terminal_a_line_comes_every_ten_seconds_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, PLAIN_EVERY_S / 2, PLAIN_EVERY_S, PLAIN_EVERY_S + 1, PLAIN_EVERY_S + 2])
    with Screen(live=False, clock=lambda: next(times)) as screen:
        for state in ("running", "running", "running", "running", "done"):
            screen.show(view(state=state))
        screen.say("in passing")
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 4
    assert err.splitlines()[-1] == "in passing"
    assert "· done ·" in err.splitlines()[-2]


def test_a_live_view_draws_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen("footer", live=True) as screen:
        screen.show(view())
        screen.say("in passing")
    out, err = capsys.readouterr()
    assert out == ""
    assert "in passing" in err
    assert "Factor · run 3" in err


@pytest.mark.parametrize(
    ("tty", "term", "draws"), [(True, "xterm", True), (True, "dumb", False), (False, "xterm", False)]
)
def test_only_a_capable_terminal_is_drawn_on(
    tty: bool, term: str, draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr.isatty", lambda: tty, raising=False)
    assert can_draw() is draws


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    def painted() -> str:
        out = io.StringIO()
        Console(file=out, width=100, force_terminal=True).print(drawn(view(), [], NOW))
        return out.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[32m" in painted()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in painted()


@pytest.mark.parametrize(
    ("state", "result", "status"),
    [
        ("done", 15, 0),
        ("done", {"unfinished": []}, 0),
        ("done", {"unfinished": [91]}, 8),
        ("failed", None, 8),
        ("cancelled", None, 9),
    ],
)
def test_how_a_run_ended_is_the_exit_status(state: str, result: Any, status: int) -> None:
    ended = view(state=state, result=None if result is None else codec.encode(result))
    assert exit_status(ended) == status


def test_the_document_of_a_run() -> None:
    ended = view(state="done", result=codec.encode({"prime": 2**70}))
    told = document(ended)
    assert told["result"] == {"prime": str(2**70)}
    assert (told["run"], told["state"], told["credit"]) == (3, "done", 12.5)
    assert told["progress"]["largest"] == str(10**60)
    assert answer_text(ended) == f"prime: {2**70}"


def test_a_server_at_a_glance() -> None:
    status = StatusView(
        server_id="s",
        name="Lab",
        version="0.1.0",
        time=NOW,
        volunteers=4,
        hosts_live=2,
        units={"ready": 3, "valid": 10},
        replicas={},
        runs=[view(), view(run=2, state="done", progress=b"")],
    )
    text = glance(status, NOW)
    assert text.splitlines()[:3] == [
        "server Lab, version 0.1.0",
        "volunteers: 4, computers here now: 2",
        "units: 3 ready, 10 valid",
    ]
    assert text.splitlines()[-2].split() == ["3", "Factor", "running", "25%", "10", "5", "ECM", "B1=11000"]
    status.runs, status.trouble = [], "the server's disk has no room"
    assert "no runs yet" in glance(status, NOW)
    assert "in trouble: the server's disk has no room" in glance(status, NOW)
