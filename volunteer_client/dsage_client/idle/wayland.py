"""Wayland: compositors other than GNOME's tell idle times by ext-idle-notify-v1, over their own socket.

Source: the Wayland protocol (wire format, core interfaces) and ext-idle-notify-v1 of wayland-protocols, version 2.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from dsage_client.guest.seen import Presence, Quality
from dsage_client.idle.turns import Turns

CONNECT_S: Final = 3.0
NOTIFIER: Final = "ext_idle_notifier_v1"
SEAT: Final = "wl_seat"
DISPLAY: Final = 1
SYNC, GET_REGISTRY = 0, 1
BIND: Final = 0
GET_IDLE, GET_INPUT_IDLE = 1, 2
DESTROY: Final = 0
ERROR, GLOBAL, DONE, IDLED, RESUMED = 0, 0, 0, 0, 1
INPUT_SINCE: Final = 2
"""The version from which input alone can be watched, whatever a film asks."""


class Line:
    """A Wayland connection as bytes: numbered objects, requests to them, events from them."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._kept = b""
        self._lock = threading.Lock()

    def send(self, target: int, opcode: int, body: bytes = b"") -> None:
        """Send one message. Raises OSError."""
        with self._lock:
            self._socket.sendall(struct.pack("=II", target, (len(body) + 8) << 16 | opcode) + body)

    def messages(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield messages as they come: whom, what, with what. Raises OSError when the other side has gone."""
        while True:
            while len(self._kept) >= 8:
                target, word = struct.unpack_from("=II", self._kept)
                size = max(word >> 16, 8)
                if len(self._kept) < size:
                    break
                body, self._kept = self._kept[8:size], self._kept[size:]
                yield target, word & 0xFFFF, body
            more = self._socket.recv(1 << 16)
            if not more:
                raise OSError("the compositor has gone")
            self._kept += more

    def patience(self, seconds: float | None) -> None:
        """Wait so long for a message, None: for ever."""
        self._socket.settimeout(seconds)

    def close(self) -> None:
        """Hang up; who waits for a message gets an OSError."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Wayland:
    """A notification for each seat; from version 2 also one of input alone: input idle and the other not is a film.

    A compositor cannot be asked. While somebody is there, `idle_s` is 0.
    """

    name = "wayland"
    quality: Quality = "event"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._turns = Turns()
        self._lock = threading.Lock()
        self._line: Line | None = None
        self._next = 2
        self._version = self._notifier = 0
        self._seats: list[int] = []
        self._after_s = self._since = 0.0
        self._watched: dict[int, bool] = {}
        self._input: dict[int, bool] = {}

    def open(self, idle_after_s: float, on_idle: Callable[[], None], on_return: Callable[[], None]) -> None:
        line = Line(_connect(self._environment))
        try:
            line.patience(CONNECT_S)
            self._greet(line)
            self._line, self._turns = line, Turns(on_idle, on_return)
            self.threshold(idle_after_s)
            line.patience(None)
        except (OSError, struct.error) as error:
            line.close()
            self._line = None
            raise OSError(f"this compositor tells no idle times ({error})") from None
        threading.Thread(target=self._wait, args=(line,), name="idle-wayland", daemon=True).start()

    def presence(self) -> Presence:
        with self._lock:
            if self._line is None:
                return Presence(idle_s=None, sensor=self.name)
            film = "a program" if self._untouched() and not all(self._watched.values()) else ""
            idle_s = time.monotonic() - self._since if self._untouched() else 0.0
        return Presence(idle_s=idle_s, quality=self.quality, sensor=self.name, film=film)

    def threshold(self, idle_after_s: float) -> None:
        """From now on, idle means untouched for so long; a compositor begins to count anew."""
        with self._lock:
            line = self._line
            if line is None:
                return
            old = [*self._watched, *self._input]
            self._after_s = idle_after_s
            self._watched, self._input = {}, {}
            try:
                for notification in old:
                    line.send(notification, DESTROY)
                for seat in self._seats:  # input first: compositors tell in this order, and a touch ends no film
                    if self._version >= INPUT_SINCE:
                        self._input[self._watch(line, GET_INPUT_IDLE, seat)] = False
                    self._watched[self._watch(line, GET_IDLE, seat)] = False
            except OSError:
                self._line = None
        self._turns.turn(False)

    def close(self) -> None:
        self._turns.end()
        with self._lock:
            line, self._line = self._line, None
        if line is not None:
            line.close()

    def _greet(self, line: Line) -> None:
        """Find the notifier and the seats. Raises OSError."""
        self._next, self._seats, notifier = 2, [], None
        registry, done = self._new(), self._new()
        line.send(DISPLAY, GET_REGISTRY, struct.pack("=I", registry))
        line.send(DISPLAY, SYNC, struct.pack("=I", done))
        for target, event, body in line.messages():
            if target == DISPLAY and event == ERROR:
                raise OSError("it refused")
            if target == done and event == DONE:
                break
            if target == registry and event == GLOBAL:
                number, interface, version = _global(body)
                if interface == NOTIFIER:
                    notifier = number, min(version, INPUT_SINCE)
                elif interface == SEAT:
                    self._seats.append(number)
        if notifier is None or not self._seats:
            raise OSError("it lacks ext-idle-notify-v1" if notifier is None else "it has no seat")
        self._version = notifier[1]
        self._notifier = self._bind(line, registry, notifier[0], NOTIFIER, self._version)
        self._seats = [self._bind(line, registry, seat, SEAT, 1) for seat in self._seats]

    def _bind(self, line: Line, registry: int, number: int, interface: str, version: int) -> int:
        bound = self._new()
        name = interface.encode() + b"\0"
        text = struct.pack("=I", len(name)) + name + bytes(-len(name) % 4)
        line.send(registry, BIND, struct.pack("=I", number) + text + struct.pack("=II", version, bound))
        return bound

    def _watch(self, line: Line, kind: int, seat: int) -> int:
        notification = self._new()
        milliseconds = max(1, round(self._after_s * 1000))
        line.send(self._notifier, kind, struct.pack("=III", notification, milliseconds, seat))
        return notification

    def _new(self) -> int:
        self._next += 1
        return self._next - 1

    def _wait(self, line: Line) -> None:
        try:
            for target, event, _ in line.messages():
                if target == DISPLAY and event == ERROR:
                    break
                self._hear(target, event)
        except OSError:
            pass
        with self._lock:
            if self._line is line:
                self._line = None
        line.close()
        self._turns.turn(False)

    def _hear(self, target: int, event: int) -> None:
        with self._lock:
            group = self._watched if target in self._watched else self._input
            if target not in group or event not in (IDLED, RESUMED):
                return
            before = self._untouched()
            group[target] = event == IDLED
            if self._untouched() and not before:
                self._since = time.monotonic() - self._after_s
            idle = self._untouched() and all(self._watched.values())
        self._turns.turn(idle)

    def _untouched(self) -> bool:
        return all((self._input or self._watched).values())


def _connect(environment: Mapping[str, str]) -> socket.socket:
    name = environment.get("WAYLAND_DISPLAY")
    folder = environment.get("XDG_RUNTIME_DIR", "")
    if not name or not (folder or os.path.isabs(name)):
        raise OSError("this session has no Wayland display")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_S)
    try:
        connection.connect(os.path.join(folder, name))
    except OSError:
        connection.close()
        raise
    return connection


def _global(body: bytes) -> tuple[int, str, int]:
    """Return number, interface and version of a `wl_registry.global` event."""
    number, length = struct.unpack_from("=II", body)
    (version,) = struct.unpack_from("=I", body, 8 + (length + 3) // 4 * 4)
    return number, body[8 : 8 + length - 1].decode(errors="replace"), version
