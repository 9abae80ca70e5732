"""The session helper: one for each desktop session. It senses its user, stops the work itself, and shows the tray.

It follows the agent, and goes on without it: when the agent comes back, so does all it shows.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from dsage.errors import Conflict, DSageError, NoAgent
from dsage.sandbox import processes
from dsage_client import words
from dsage_client.door.desk import Desk
from dsage_client.door.words import Status
from dsage_client.idle import Sensor
from dsage_client.tray import Tray, wishes
from dsage_client.tray.model import Do, Face, Wish, face
from dsage_client.tray.notices import Notices
from dsage_client.words import _

IDLE_AFTER_S: Final = 180.0
"""When the user counts as gone, until the agent has told."""

TELL_EVERY_S: Final = 10.0
"""How often presence is told again: what an agent hears holds for 30 s."""

ANSWER_S: Final = 20.0
"""How long an agent may take to answer before it is called anew."""

RETRIES_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""When an agent that has gone is looked for; at the end again and again."""


class Helper:
    """The helper of one session. `tell` hears, in sentences, what goes wrong; without a `tray` there is no icon."""

    def __init__(self, folder: Path, sensor: Sensor, tray: Tray | None, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._sensor = sensor
        self._tray = tray
        self._tell_anew = _once(tell)
        self._status: Status | None = None
        self._face: Face | None = None
        self._idle_after_s = IDLE_AFTER_S
        self._notices = Notices(folder / "told.json")
        self._can_view, self._can_start = wishes.can_view(), wishes.can_start()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._moved, self._met, self._ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Be there until the owner quits, the session ends or `end` is called."""
        self._loop = asyncio.get_running_loop()
        if self._tray is not None:
            try:
                await self._tray.open(self._wish, self._gone)
            except OSError as error:
                self._tell_anew(_("There is no icon: {error}").format(error=error))
                self._tray = None
        self._show()
        self._open_sensor()
        duties = [self._task(duty) for duty in (self._follow(), self._attend(), self._await_end())]
        try:
            await asyncio.wait(duties, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._sensor.close()
            for task in self._tasks:
                task.cancel()
            ends = await asyncio.gather(*duties, return_exceptions=True)
            if self._tray is not None:
                await self._tray.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def end(self) -> None:
        """End soon; may be called from any thread and from a signal's handler."""
        if self._loop is None:
            self._ended.set()
        else:
            self._in_loop(self._ended.set)

    async def _await_end(self) -> None:
        await self._ended.wait()

    async def _follow(self) -> None:
        retry = 0
        while True:
            try:
                async with await Desk.open(self._folder) as desk:
                    async for status in desk.follow():
                        retry = 0
                        self._met.set()
                        await self._take(status)
            except NoAgent:
                if not self._folder.is_dir():
                    self._ended.set()  # the client has left for good, with all that it kept
            except DSageError as error:
                self._tell_anew(f"{error.message}. {error.hint}")
            self._met.clear()
            self._status = None
            self._show()
            await asyncio.sleep(RETRIES_S[min(retry, len(RETRIES_S) - 1)])
            retry += 1

    async def _take(self, status: Status) -> None:
        before, self._status = self._status, status
        if before is None or status.language != before.language:
            words.speak(status.language)
        self._show()
        if before is not None and status.viewed > before.viewed:
            self._wish(Wish(Do.VIEW))
        if status.idle_after_s != self._idle_after_s:
            self._idle_after_s = status.idle_after_s
            self._sensor.threshold(status.idle_after_s)
        for text in self._notices.news(status):
            if self._tray is not None:
                self._task(self._tray.notify("DSage", text))

    def _show(self) -> None:
        shown = face(self._status, can_view=self._can_view, can_start=self._can_start)
        if shown != self._face and self._tray is not None:
            self._tray.show(shown)
        self._face = shown

    async def _attend(self) -> None:
        while True:
            await self._met.wait()
            try:
                async with await Desk.open(self._folder) as desk:
                    while True:
                        self._moved.clear()
                        async with asyncio.timeout(ANSWER_S):
                            await desk.present(self._sensor.presence())
                        with suppress(TimeoutError):
                            async with asyncio.timeout(TELL_EVERY_S):
                                await self._moved.wait()
            except (DSageError, TimeoutError):
                await asyncio.sleep(RETRIES_S[2])

    def _open_sensor(self) -> None:
        try:
            self._sensor.open(self._idle_after_s, self._left, self._returned)
        except OSError as error:
            self._tell_anew(str(error))
        if self._sensor.quality == "none":
            self._tell_anew(_("Nothing here can tell whether you are at the computer, so it counts as in use."))

    def _left(self) -> None:
        self._in_loop(self._moved.set)

    def _returned(self) -> None:
        # In the sensor's own thread: the work stops before anybody is asked.
        status = self._status
        if status is not None and status.in_use_stops:
            stop_boxes(status.boxes)
        self._in_loop(self._moved.set)

    def _wish(self, wish: Wish) -> None:
        self._task(self._do(wish))

    async def _do(self, wish: Wish) -> None:
        try:
            await wishes.do(wish, self._folder)
        except DSageError as error:
            said = f"{error.message}. {error.hint}"
            self._tell_anew(said)
            if self._tray is not None:
                await self._tray.notify("DSage", said)
        if wish.do in (Do.QUIT, Do.STOP):
            self._ended.set()

    def _gone(self, why: str) -> None:
        self._tell_anew(why)
        self._ended.set()

    def _in_loop(self, call: Callable[[], object]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has been closed: the helper has ended
                self._loop.call_soon_threadsafe(call)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def stop_boxes(boxes: Iterable[tuple[int, int]]) -> None:
    """Stop all below these processes: (pid, start time in clock ticks). What has another's pid by now is left alone."""
    for pid, start in boxes:
        with suppress(OSError):  # a box that cannot be stopped must not keep the others running
            if processes.started(pid) == start:
                processes.stop(pid, keep=[pid])


@contextmanager
def only_one(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Hold the session's place for a helper. Raises Conflict if another one has it."""
    try:
        import fcntl
    except ImportError:  # Windows keeps one icon a session itself
        yield
        return
    names = ("XDG_SESSION_ID", "DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
    session = "\0".join(environment.get(name, "") for name in names)
    place = folder / f"helper-{hashlib.sha256(session.encode()).hexdigest()[:12]}.lock"
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(place, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # a disk that is full, or may only be read: two icons are better than none
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                _("a helper runs in this session already"),
                hint=_("Its icon is beside the clock; `dsage manager` opens the manager."),
            ) from None
        yield
    finally:
        os.close(descriptor)


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    said = set[str]()

    def tell_anew(text: str) -> None:
        if text not in said:
            said.add(text)
            tell(text)

    return tell_anew
