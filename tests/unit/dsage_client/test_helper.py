"""The session helper with an agent that stands in, a sensor that is moved by hand and a tray that only listens."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from desk_stand import PAGE, Stand

from dsage.errors import Conflict, UsageError
from dsage.sandbox import processes
from dsage_client import helper as helpers
from dsage_client.door.words import Membership
from dsage_client.guest.reasons import Reason, Work
from dsage_client.guest.seen import Presence, Quality
from dsage_client.helper import Helper, only_one, stop_boxes
from dsage_client.tray import wishes
from dsage_client.tray.model import Do, Face, Look, Wish


class HandSensor:
    """A sensor moved by hand; `leave` and `come_back` call from a thread, as sensors do."""

    def __init__(self, *, works: bool = True) -> None:
        self.name = "hand"
        self.quality: Quality = "event" if works else "none"
        self.idle_s: float | None = 0.0 if works else None
        self.thresholds: list[float] = []
        self.closed = False

    def open(self, idle_after_s: float, on_idle: Callable[[], None], on_return: Callable[[], None]) -> None:
        self.thresholds.append(idle_after_s)
        self._on_idle, self._on_return = on_idle, on_return

    def presence(self) -> Presence:
        return Presence(idle_s=self.idle_s, quality=self.quality, sensor=self.name)

    def threshold(self, idle_after_s: float) -> None:
        self.thresholds.append(idle_after_s)

    def close(self) -> None:
        self.closed = True

    def leave(self) -> None:
        self.idle_s = 1000.0
        _in_thread(self._on_idle)

    def come_back(self) -> None:
        self.idle_s = 0.0
        _in_thread(self._on_return)


class HandTray:
    """A tray that keeps what it is told. With `fails` it cannot be had."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.faces: list[Face] = []
        self.notes: list[str] = []
        self.closed = False
        self.wished: Callable[[Wish], None] = lambda _wish: None
        self.gone: Callable[[str], None] = lambda _why: None
        self._changed = asyncio.Condition()

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run(main())

    async def open(self, wished: Callable[[Wish], None], gone: Callable[[str], None]) -> None:
        if self.fails:
            raise ConnectionRefusedError("no bus")
        self.wished, self.gone = wished, gone

    def show(self, face: Face) -> None:
        self.faces.append(face)
        self._tasks = asyncio.get_running_loop().create_task(self._tell())

    async def notify(self, title: str, text: str) -> None:
        self.notes.append(text)
        await self._tell()

    async def close(self) -> None:
        self.closed = True

    async def shows(self, look: Look) -> None:
        await self.until(lambda: bool(self.faces) and self.faces[-1].look is look)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(true)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _in_thread(call: Callable[[], None]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


class Session:
    """A running helper with all that it touches."""

    def __init__(self, folder: Path, *, sensor_works: bool = True, tray_fails: bool = False) -> None:
        self.sensor = HandSensor(works=sensor_works)
        self.tray = HandTray(fails=tray_fails)
        self.said: list[str] = []
        self.helper = Helper(folder, self.sensor, self.tray, self.said.append)
        self.running: asyncio.Task[None]

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[Session]:
        self.running = asyncio.get_running_loop().create_task(self.helper.run())
        try:
            yield self
        finally:
            self.helper.end()
            async with asyncio.timeout(30):
                await self.running
        assert self.sensor.closed


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for the agent again at once."""
    monkeypatch.setattr(helpers, "RETRIES_S", (0.01,) * 6)


@pytest.fixture
def box() -> Iterator[subprocess.Popen[bytes]]:
    """A process with one child that computes."""
    code = f"import subprocess; subprocess.run([{sys.executable!r}, '-c', 'while True: pass'])"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        yield process
    finally:
        for one in (*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)):
            one.kill()
        process.wait()


def _child(box: subprocess.Popen[bytes]) -> psutil.Process:
    parent = psutil.Process(box.pid)
    while not parent.children():
        assert box.poll() is None
    return parent.children()[0]


def _stops(process: psutil.Process) -> bool:
    """Say whether a process is found stopped: on a busy computer it is only when it would have run next."""
    deadline = time.monotonic() + 20
    while (stopped := process.status() == psutil.STATUS_STOPPED) is False and time.monotonic() < deadline:
        os.sched_yield()
    return stopped


def _birth(box: subprocess.Popen[bytes]) -> int:
    found = processes.started(box.pid)
    assert found is not None
    return found


async def test_it_says_who_is_there_and_says_at_once_when_that_changes(tmp_path: Path) -> None:
    async with Stand(tmp_path, idle_after_s=60) as stand, Session(tmp_path).runs() as session:
        first = await stand.heard("present")
        assert first.presence is not None
        assert first.presence.idle_s == 0
        session.sensor.leave()
        gone = await stand.heard("present", more_than=1)
        assert gone.presence is not None
        assert gone.presence.idle_s == 1000
        session.sensor.come_back()
        back = await stand.heard("present", more_than=2)
        assert back.presence == Presence(idle_s=0, quality="event", sensor="hand")
        assert session.sensor.thresholds == [180, 60]


async def test_it_says_it_again_before_what_it_said_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helpers, "TELL_EVERY_S", 0.02)
    async with Stand(tmp_path) as stand, Session(tmp_path).runs():
        await stand.heard("present", more_than=3)


async def test_the_tray_follows_the_agent_and_is_left_alone_when_nothing_is_new(tmp_path: Path) -> None:
    async with Session(tmp_path).runs() as session:
        await session.tray.until(lambda: bool(session.tray.faces))
        async with Stand(tmp_path) as stand:
            await session.tray.shows(Look.WORKING)
            stand.change(sentence="Computing", cores=3)
            stand.change(sentence="Computing", cores=4)
            stand.change(reason=Reason.IN_USE, sentence="Somebody is here")
            await session.tray.shows(Look.WAITING)
        await session.tray.shows(Look.AWAY)
        async with Stand(tmp_path):
            await session.tray.shows(Look.WORKING)
            looks = [face.look for face in session.tray.faces]
            assert looks == [Look.AWAY, Look.WORKING, Look.WORKING, Look.WAITING, Look.AWAY, Look.WORKING]


async def test_the_return_of_the_user_stops_the_work_before_anybody_is_asked(
    tmp_path: Path, box: subprocess.Popen[bytes]
) -> None:
    child = _child(box)
    async with Stand(tmp_path, boxes=[(box.pid, _birth(box))]) as stand, Session(tmp_path).runs() as session:
        await session.tray.shows(Look.WORKING)
        stand.asks.clear()
        session.sensor.come_back()  # blocks this loop: the agent cannot have been told yet
        assert stand.asks == []
        assert _stops(child)
        assert psutil.Process(box.pid).status() != psutil.STATUS_STOPPED
        await stand.heard("present")


async def test_work_that_may_go_on_beside_the_user_does(tmp_path: Path, box: subprocess.Popen[bytes]) -> None:
    child = _child(box)
    boxes = [(box.pid, _birth(box))]
    async with Stand(tmp_path, boxes=boxes, in_use_stops=False) as stand, Session(tmp_path).runs() as session:
        await session.tray.shows(Look.WORKING)
        session.sensor.come_back()
        await stand.heard("present", more_than=1)
        assert child.status() != psutil.STATUS_STOPPED


def test_a_process_that_only_has_the_pid_of_a_box_is_left_alone(box: subprocess.Popen[bytes]) -> None:
    child = _child(box)
    stop_boxes([(box.pid, _birth(box) - 1), (2**22 + 1, 1)])
    assert child.status() != psutil.STATUS_STOPPED
    stop_boxes([(2**22 + 1, 1), (box.pid, _birth(box))])
    assert _stops(child)


@pytest.mark.parametrize(
    ("wish", "asked", "what"),
    [
        (Wish(Do.PAUSE, "30m"), "pause", "30m"),
        (Wish(Do.RESUME), "resume", ""),
        (Wish(Do.ALWAYS), "always", ""),
        (Wish(Do.FINISH), "finish", ""),
    ],
)
async def test_wishes_reach_the_agent(tmp_path: Path, wish: Wish, asked: str, what: str) -> None:
    async with Stand(tmp_path) as stand, Session(tmp_path).runs() as session:
        await stand.followed()
        session.tray.wished(wish)
        assert (await stand.heard(asked)).what == what


async def test_the_manager_is_opened_in_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: asyncio.Queue[str] = asyncio.Queue()

    async def browse(address: str) -> None:
        opened.put_nowait(address)

    monkeypatch.setattr(wishes, "browse", browse)
    async with Stand(tmp_path) as stand, Session(tmp_path).runs() as session:
        await stand.followed()
        session.tray.wished(Wish(Do.MANAGER))
        async with asyncio.timeout(30):
            assert await opened.get() == PAGE


async def test_the_full_screen_view_is_shown_when_the_owner_asks_for_it_and_not_for_what_was_asked_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: asyncio.Queue[Wish] = asyncio.Queue()

    async def do(wish: Wish, _folder: Path) -> None:
        shown.put_nowait(wish)

    monkeypatch.setattr(wishes, "do", do)
    async with Stand(tmp_path, viewed=5.0) as stand, Session(tmp_path).runs() as session:
        await session.tray.shows(Look.WORKING)
        stand.change(sentence="Computing", cores=3)
        stand.change(viewed=6.0)
        async with asyncio.timeout(30):
            assert (await shown.get()).do is Do.VIEW
        stand.change(reason=Reason.IN_USE, sentence="Somebody is here")
        await session.tray.shows(Look.WAITING)
        assert shown.empty()


async def test_what_the_agent_refuses_is_told(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.refuses["pause"] = UsageError("that is no duration", hint="Try 1h.")
    async with stand, Session(tmp_path).runs() as session:
        await stand.followed()
        session.tray.wished(Wish(Do.PAUSE, "long"))
        await session.tray.until(lambda: bool(session.tray.notes))
        assert session.tray.notes == ["that is no duration. Try 1h."]
        assert session.said == session.tray.notes


@pytest.mark.parametrize(("wish", "agent_ends"), [(Do.QUIT, False), (Do.STOP, True)])
async def test_quitting_ends_the_helper_and_only_if_wished_the_agent(
    tmp_path: Path, wish: Do, agent_ends: bool
) -> None:
    async with Stand(tmp_path) as stand, Session(tmp_path).runs() as session:
        await stand.followed()
        session.tray.wished(Wish(wish))
        async with asyncio.timeout(30):
            await session.running
        assert stand.stopped.is_set() is agent_ends
        assert session.tray.closed


async def test_the_end_of_the_session_ends_it(tmp_path: Path) -> None:
    async with Stand(tmp_path) as stand, Session(tmp_path).runs() as session:
        await stand.followed()
        session.tray.gone("The session has ended.")
        async with asyncio.timeout(30):
            await session.running
        assert session.said == ["The session has ended."]


async def test_it_goes_on_without_an_icon_and_without_a_sensor_and_says_each_once(tmp_path: Path) -> None:
    async with (
        Stand(tmp_path) as stand,
        Session(tmp_path, sensor_works=False, tray_fails=True).runs() as session,
    ):
        ask = await stand.heard("present")
        assert ask.presence is not None
        assert ask.presence.idle_s is None
        assert session.said == [
            "There is no icon: no bus",
            "Nothing here can tell whether you are at the computer, so it counts as in use.",
        ]


async def test_the_first_accepted_result_and_a_new_version_are_told_once(tmp_path: Path) -> None:
    def member(granted: float | None) -> list[Membership]:
        return [
            Membership(
                server="s", name="", url="", pages="", pseudonym="", reason=Reason.WORKING, sentence="", granted=granted
            )
        ]

    async with Stand(tmp_path, servers=member(None)) as stand, Session(tmp_path).runs() as session:
        await stand.followed()
        stand.change(servers=member(0.0))
        stand.change(servers=member(0.5))
        stand.change(servers=member(1.5), notice="Version 2 is ready.")
        await session.tray.until(lambda: len(session.tray.notes) == 2)
        assert session.tray.notes == [
            "Your computer's first result was accepted. Thank you.",
            "Version 2 is ready.",
        ]
    again = Stand(tmp_path, servers=member(2.0), notice="Version 2 is ready.")
    async with again as stand, Session(tmp_path).runs() as session:
        await session.tray.shows(Look.WORKING)
        stand.change(notice="Version 3 is ready.")
        await session.tray.until(lambda: bool(session.tray.notes))
        assert session.tray.notes == ["Version 3 is ready."]


async def test_an_agent_of_another_version_is_told_about_and_looked_for_again(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.refuses["follow"] = UsageError("this is no wish of this version", hint="Restart the agent.")
    async with stand, Session(tmp_path).runs() as session:
        await stand.heard("follow", more_than=2)
        assert session.said == ["this is no wish of this version. Restart the agent."]
        stand.refuses.clear()
        await session.tray.shows(Look.WORKING)


async def test_a_held_state_is_shown_as_such(tmp_path: Path) -> None:
    async with Stand(tmp_path, work=Work.HOLD, reason=Reason.BATTERY) as stand, Session(tmp_path).runs() as session:
        await stand.followed()
        await session.tray.shows(Look.HELD)


def test_a_session_has_one_helper_and_two_sessions_one_each(tmp_path: Path) -> None:
    first, second = {"DISPLAY": ":0"}, {"DISPLAY": ":1"}
    with (
        only_one(tmp_path, first),
        only_one(tmp_path, second),
        pytest.raises(Conflict, match="runs in this session already"),
        only_one(tmp_path, first),
    ):
        pytest.fail("two helpers in one session")
    with only_one(tmp_path, first):
        assert (processes.started(os.getpid()) or 0) > 0


def test_where_its_place_cannot_be_kept_a_helper_runs_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(helpers.os, "open", refuse)
        with only_one(tmp_path, {}):
            ran = True
    assert ran
