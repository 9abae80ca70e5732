"""A Wayland compositor with a seat and an idle notifier, and nothing to see."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final

from dsage_client.idle.wayland import (
    BIND,
    DESTROY,
    DISPLAY,
    DONE,
    GET_IDLE,
    GET_INPUT_IDLE,
    GET_REGISTRY,
    GLOBAL,
    IDLED,
    NOTIFIER,
    RESUMED,
    SEAT,
    SYNC,
    Line,
)

WAIT_S: Final = 10.0


@dataclass(slots=True)
class _Notification:
    timeout_ms: int
    input_only: bool
    idle: bool = False


@dataclass(slots=True)
class _Client:
    line: Line
    registry: int = 0
    notifiers: set[int] = field(default_factory=set)
    notifications: dict[int, _Notification] = field(default_factory=dict)


class FakeCompositor:
    """Listens as `name` in a folder while it is entered. `version` is that of its notifier, 0 for none.

    `untouched(seconds)` lets time pass, `touch()` is a key press, `inhibit()` a film; what it heard is in `watched`.
    """

    name: Final = "wayland-9"

    def __init__(self, folder: Path, version: int = 2, seats: int = 1) -> None:
        self._folder = folder
        self._globals = [*([(NOTIFIER, version)] if version else []), *[(SEAT, 9)] * seats]
        self._lock = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._clients: list[_Client] = []
        self._threads: list[threading.Thread] = []
        self._idle_ms = 0
        self._film = False

    @property
    def environment(self) -> dict[str, str]:
        """What a session of this compositor has in its environment."""
        return {"XDG_RUNTIME_DIR": str(self._folder), "WAYLAND_DISPLAY": self.name}

    @property
    def watched(self) -> list[tuple[float, bool]]:
        """The notifications that clients have now: after how many seconds, and whether of input only."""
        with self._lock:
            return [
                (each.timeout_ms / 1000, each.input_only)
                for client in self._clients
                for each in client.notifications.values()
            ]

    def __enter__(self) -> FakeCompositor:
        self._listener.bind(str(self._folder / self.name))
        self._listener.listen()
        self._begin(threading.Thread(target=self._accept, daemon=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.crash()

    def crash(self) -> None:
        """End without a word."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for client in self._clients:
                client.line.close()
        for thread in self._threads:
            thread.join(WAIT_S)

    def wait_for(self, count: int) -> None:
        """Return when clients have so many notifications. Raises TimeoutError after 10 s."""
        with self._lock:
            if not self._lock.wait_for(lambda: self._count() == count, WAIT_S):
                raise TimeoutError(f"{self._count()} notifications rather than {count}")

    def untouched(self, seconds: float) -> None:
        """Let so much time pass in which nobody touches anything."""
        with self._lock:
            self._idle_ms += round(seconds * 1000)
            self._tell()

    def touch(self) -> None:
        """Press a key."""
        with self._lock:
            self._idle_ms = 0
            self._tell()

    def inhibit(self, film: bool = True) -> None:
        """Begin a film, or end it."""
        with self._lock:
            self._film = film
            self._tell()

    def _count(self) -> int:
        return sum(len(client.notifications) for client in self._clients)

    def _begin(self, thread: threading.Thread) -> None:
        self._threads.append(thread)
        thread.start()

    def _tell(self) -> None:
        for client in self._clients:
            for number, each in client.notifications.items():
                idle = self._idle_ms >= each.timeout_ms and (each.input_only or not self._film)
                if idle != each.idle:
                    each.idle = idle
                    with suppress(OSError):
                        client.line.send(number, IDLED if idle else RESUMED)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                client = _Client(Line(connection))
                with self._lock:
                    self._clients.append(client)
                self._begin(threading.Thread(target=self._serve, args=(client,), daemon=True))

    def _serve(self, client: _Client) -> None:
        with suppress(OSError):
            for target, opcode, body in client.line.messages():
                with self._lock:
                    self._hear(client, target, opcode, body)
                    self._lock.notify_all()
        with self._lock:
            client.notifications.clear()
            self._lock.notify_all()
        client.line.close()

    def _hear(self, client: _Client, target: int, opcode: int, body: bytes) -> None:
        if target == DISPLAY and opcode == GET_REGISTRY:
            (client.registry,) = struct.unpack("=I", body)
            for number, (interface, version) in enumerate(self._globals, 1):
                name = interface.encode() + b"\0"
                text = struct.pack("=I", len(name)) + name + bytes(-len(name) % 4)
                client.line.send(client.registry, GLOBAL, struct.pack("=I", number) + text + struct.pack("=I", version))
        elif target == DISPLAY and opcode == SYNC:
            client.line.send(struct.unpack("=I", body)[0], DONE, struct.pack("=I", 0))
        elif target == client.registry and opcode == BIND:
            number, bound = struct.unpack_from("=I", body)[0], struct.unpack_from("=I", body, len(body) - 4)[0]
            if self._globals[number - 1][0] == NOTIFIER:
                client.notifiers.add(bound)
        elif target in client.notifiers and opcode in (GET_IDLE, GET_INPUT_IDLE):
            number, timeout_ms, _seat = struct.unpack("=III", body)
            client.notifications[number] = _Notification(timeout_ms, opcode == GET_INPUT_IDLE)
        elif target in client.notifications and opcode == DESTROY:
            del client.notifications[target]
