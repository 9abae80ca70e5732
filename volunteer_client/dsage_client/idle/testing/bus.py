"""A bus of one's own, and on it whatever a desktop says of its user: Mutter, logind, the screen saver, who inhibits."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dbus_fast import Message, Variant

START_S: Final = 10.0
MUTTER: Final = "org.gnome.Mutter.IdleMonitor"
SCREEN_SAVER: Final = "org.freedesktop.ScreenSaver"
SESSION_MANAGER: Final = "org.gnome.SessionManager"
POWER: Final = "org.freedesktop.PowerManagement"
PLASMA: Final = "org.kde.Solid.PowerManagement.PolicyAgent"
LOGIN: Final = "org.freedesktop.login1"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
ALL: Final = (MUTTER, SCREEN_SAVER, SESSION_MANAGER, POWER, PLASMA, LOGIN)

SESSION_PATH: Final = "/org/freedesktop/login1/session/_31"
OTHER_PATH: Final = "/org/freedesktop/login1/session/_32"
SEAT_PATH: Final = "/org/freedesktop/login1/seat/seat0"
_UNKNOWN: Final = "org.freedesktop.DBus.Error.UnknownMethod"


class PrivateBus:
    """A `dbus-daemon` for as long as it is entered; `address` is where it listens. Raises OSError if there is none."""

    def __init__(self) -> None:
        self.address = ""
        self._process: subprocess.Popen[str] | None = None

    @staticmethod
    def lacks() -> str:
        """Return the name of the program that is missing here, "" if none is."""
        return "" if shutil.which("dbus-daemon") else "dbus-daemon"

    def __enter__(self) -> PrivateBus:
        self._process = subprocess.Popen(
            ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        if not self.address:
            raise OSError("dbus-daemon did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End the bus at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None


class FakeDesktop:
    """Everything that sensors ask of a bus, under the names given. Its user does what a test says.

    `untouched(seconds)` lets so much time pass, `touch()` is a key press. `inhibit` is a film, `lock`, `sleep`,
    `wake` and `switch` are what they say. `seconds` makes the screen saver count wrongly, as some do.
    """

    def __init__(self, address: str, names: tuple[str, ...] = ALL) -> None:
        self._address = address
        self._names = names
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bus: Any = None
        self._thread: threading.Thread | None = None
        self.idle_ms = 0
        self.stuck = False
        self._watches: dict[int, int | None] = {}
        self._next = 1
        self._inhibitors: dict[str, tuple[str, int]] = {}
        self._blocks: list[list[Any]] = []
        self._held: dict[str, str] = {}
        self._session: dict[str, Any] = {"Active": True, "LockedHint": False}
        self._other: dict[str, Any] = {"Class": "greeter", "IdleHint": False, "IdleSinceHint": 0}

    def __enter__(self) -> FakeDesktop:
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        ready.result(START_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._thread is not None
        assert self._loop is not None
        with suppress(RuntimeError):  # the bus, and this program's loop with it, may have ended before
            self._loop.call_soon_threadsafe(self._bus.disconnect)
        self._thread.join(START_S)

    @property
    def watches(self) -> int:
        """How many watches Mutter has."""
        return len(self._watches)

    def untouched(self, seconds: float) -> None:
        """Let so much time pass in which nobody touches anything."""

        def pass_time() -> None:
            before, self.idle_ms = self.idle_ms, self.idle_ms + round(seconds * 1000)
            for watch, limit in list(self._watches.items()):
                if limit is not None and before < limit <= self.idle_ms:
                    self._signal("/org/gnome/Mutter/IdleMonitor/Core", MUTTER, "WatchFired", "u", watch)

        self._do(pass_time)

    def touch(self) -> None:
        """Press a key."""

        def pressed() -> None:
            self.idle_ms = 0
            for watch, limit in list(self._watches.items()):
                if limit is None:
                    del self._watches[watch]
                    self._signal("/org/gnome/Mutter/IdleMonitor/Core", MUTTER, "WatchFired", "u", watch)

        self._do(pressed)

    def inhibit(self, who: str, *, by: str = SESSION_MANAGER, flags: int = 8, what: str = "idle") -> None:
        """Ask, as a film does, that the session not count as idle: of GNOME, KDE, Xfce (`by`) or logind."""
        self._do(lambda: self._inhibit(who, by, flags, what))

    def release(self, who: str, *, by: str = SESSION_MANAGER) -> None:
        """Ask for it no more."""
        self._do(lambda: self._release(who, by))

    def lock(self, locked: bool = True) -> None:
        """Lock the session, or unlock it."""
        self._do(lambda: self._change(SESSION_PATH, self._session, LockedHint=locked))

    def sleep(self) -> None:
        """The computer is about to sleep."""
        self._do(lambda: self._signal("/org/freedesktop/login1", f"{LOGIN}.Manager", "PrepareForSleep", "b", True))

    def wake(self) -> None:
        """The computer has woken up."""
        self._do(lambda: self._signal("/org/freedesktop/login1", f"{LOGIN}.Manager", "PrepareForSleep", "b", False))

    def switch(self, *, to: str = "user", idle_since: float | None = None) -> None:
        """Bring another session to the front: a user's or the `greeter`, idle since then (Unix seconds) if it is."""

        def switched() -> None:
            self._other["Class"] = to
            since = int((idle_since or time.time()) * 1e6)
            self._change(OTHER_PATH, self._other, IdleHint=idle_since is not None, IdleSinceHint=since)
            self._change(SESSION_PATH, self._session, Active=False)

        self._do(switched)

    def switch_back(self) -> None:
        """Bring this session to the front again."""
        self._do(lambda: self._change(SESSION_PATH, self._session, Active=True))

    def restart(self, name: str) -> None:
        """End the program that owns a name and start it again: its watches are gone."""
        assert self._loop is not None

        async def again() -> None:
            await self._bus.release_name(name)
            self._watches.clear()
            await self._bus.request_name(name)

        asyncio.run_coroutine_threadsafe(again(), self._loop).result(START_S)

    def _do(self, work: Callable[[], object]) -> None:
        assert self._loop is not None
        done: Future[None] = Future()

        def run() -> None:
            work()
            done.set_result(None)

        self._loop.call_soon_threadsafe(run)
        done.result(START_S)

    async def _serve(self, ready: Future[None]) -> None:
        from dbus_fast.aio import MessageBus

        self._bus = await MessageBus(bus_address=self._address).connect()
        self._loop = asyncio.get_running_loop()
        self._bus.add_message_handler(self._answer)
        for name in self._names:
            await self._bus.request_name(name)
        ready.set_result(None)
        try:
            await self._bus.wait_for_disconnect()
        except (OSError, EOFError):
            return

    def _answer(self, message: Message) -> Message | None:
        from dbus_fast import Message as Reply
        from dbus_fast import MessageType

        if message.message_type is not MessageType.METHOD_CALL or message.destination not in (
            *self._names,
            self._bus.unique_name,
        ):
            return None
        answer = self._methods().get((message.interface, message.member))
        if answer is None:
            return Reply.new_error(message, _UNKNOWN, f"there is no {message.interface}.{message.member}")
        signature, body = answer(message)
        return Reply.new_method_return(message, signature, body)

    def _methods(self) -> dict[tuple[str | None, str | None], Callable[[Message], tuple[str, list[Any]]]]:
        manager, inhibitor = f"{LOGIN}.Manager", f"{SESSION_MANAGER}.Inhibitor"
        return {
            (MUTTER, "GetIdletime"): lambda _: ("t", [self.idle_ms]),
            (MUTTER, "AddIdleWatch"): lambda asked: ("u", [self._watch(asked.body[0])]),
            (MUTTER, "AddUserActiveWatch"): lambda _: ("u", [self._watch(None)]),
            (MUTTER, "RemoveWatch"): lambda asked: self._forget(asked.body[0]),
            (SCREEN_SAVER, "GetSessionIdleTime"): lambda _: ("u", [self._counted()]),
            (SESSION_MANAGER, "GetInhibitors"): lambda _: ("ao", [list(self._inhibitors)]),
            (inhibitor, "GetAppId"): lambda asked: ("s", [self._inhibitors[asked.path or ""][0]]),
            (inhibitor, "GetFlags"): lambda asked: ("u", [self._inhibitors[asked.path or ""][1]]),
            (PLASMA, "HasInhibition"): lambda _: ("b", [PLASMA in self._held]),
            (PLASMA, "ListInhibitions"): lambda _: ("a(ss)", [[[self._held[PLASMA], "a film"]]]),
            (f"{POWER}.Inhibit", "HasInhibit"): lambda _: ("b", [POWER in self._held]),
            (f"{POWER}.Inhibit", "GetInhibitors"): lambda _: ("as", [[self._held[POWER]]]),
            (manager, "GetSession"): lambda _: ("o", [SESSION_PATH]),
            (manager, "ListInhibitors"): lambda _: ("a(ssssuu)", [self._blocks]),
            (PROPERTIES, "GetAll"): lambda asked: ("a{sv}", [self._properties(asked.path or "")]),
        }

    def _watch(self, limit: int | None) -> int:
        self._next += 1
        self._watches[self._next] = limit
        return self._next

    def _forget(self, watch: int) -> tuple[str, list[Any]]:
        self._watches.pop(watch, None)
        return "", []

    def _counted(self) -> int:
        if not self.stuck:
            self.idle_ms += 1
        return self.idle_ms

    def _properties(self, path: str) -> dict[str, Variant]:
        from dbus_fast import Variant

        if path == SEAT_PATH:
            front = ["1", SESSION_PATH] if self._session["Active"] else ["2", OTHER_PATH]
            return {"ActiveSession": Variant("(so)", front)}
        state = self._session if path == SESSION_PATH else self._other
        return {**_variants(state), "Seat": Variant("(so)", ["seat0", SEAT_PATH])}

    def _inhibit(self, who: str, by: str, flags: int, what: str) -> None:
        if by == SESSION_MANAGER:
            self._next += 1
            path = f"/org/gnome/SessionManager/Inhibitor{self._next}"
            self._inhibitors[path] = who, flags
            self._signal("/org/gnome/SessionManager", SESSION_MANAGER, "InhibitorAdded", "o", path)
        elif by == LOGIN:
            self._blocks.append([what, who, "a film", "block", 1000, 1])
            self._change("/org/freedesktop/login1", {}, f"{LOGIN}.Manager", BlockInhibited=what)
        else:
            self._held[by] = who
            self._tell_held(by, True)

    def _release(self, who: str, by: str) -> None:
        if by == SESSION_MANAGER:
            for path in [path for path, (name, _) in self._inhibitors.items() if name == who]:
                del self._inhibitors[path]
                self._signal("/org/gnome/SessionManager", SESSION_MANAGER, "InhibitorRemoved", "o", path)
        elif by == LOGIN:
            self._blocks = [block for block in self._blocks if block[1] != who]
            self._change("/org/freedesktop/login1", {}, f"{LOGIN}.Manager", BlockInhibited="")
        else:
            self._held.pop(by, None)
            self._tell_held(by, False)

    def _tell_held(self, by: str, held: bool) -> None:
        if by == PLASMA:
            path = "/org/kde/Solid/PowerManagement/PolicyAgent"
            self._signal(path, PLASMA, "InhibitionsChanged", "a(ss)as", [], [])
        else:
            path = "/org/freedesktop/PowerManagement/Inhibit"
            self._signal(path, f"{POWER}.Inhibit", "HasInhibitChanged", "b", held)

    def _change(self, path: str, state: dict[str, Any], interface: str = f"{LOGIN}.Session", **changes: Any) -> None:
        state.update(changes)
        self._signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", interface, _variants(changes), [])

    def _signal(self, path: str, interface: str, member: str, signature: str, *body: Any) -> None:
        from dbus_fast import Message as Signal

        self._bus.send(Signal.new_signal(path, interface, member, signature, list(body)))


def _variants(values: dict[str, Any]) -> dict[str, Variant]:
    from dbus_fast import Variant

    kinds: dict[type, str] = {bool: "b", int: "t", str: "s"}
    return {key: Variant(kinds[type(value)], value) for key, value in values.items()}
