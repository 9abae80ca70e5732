"""The X11 protocol, as much of it as idle sensors speak, over a plain socket: no library whose errors end the process.

Source: X Window System Protocol 11, release 6.8; X Synchronization Extension Protocol 3.1.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

COOKIE: Final = b"MIT-MAGIC-COOKIE-1"
CONNECT_S: Final = 3.0
PIECE: Final = 32
"""Replies, events and errors are so long, or begin with so much."""
ERROR, REPLY, GENERIC_EVENT = 0, 1, 35
QUERY_EXTENSION, INTERN_ATOM, GET_PROPERTY = 98, 16, 20


class Connection:
    """A connection to a display. `root` is the root window of its first screen. Raises OSError if there is none.

    `patience_s` is how long an answer may take; a display may be slow when a session begins.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._kept = b""
        self._events: deque[bytes] = deque()
        self._sequence = 0
        self._next_id = 0
        self.root = 0
        self.patience_s = CONNECT_S
        number, refused = _number(environment), "it does not answer"
        for name, cookie in [*((COOKIE, each) for each in _cookies(environment, number)), (b"", b"")]:
            self._socket = _connect(environment["DISPLAY"], number)
            try:
                refused = self._greet(name, cookie)
            except (OSError, struct.error, IndexError) as error:
                self._socket.close()
                raise OSError(f"the display {environment['DISPLAY']} does not answer ({error})") from None
            if not refused:
                self._socket.settimeout(None)
                return
            self._socket.close()
        raise OSError(f"the display {environment['DISPLAY']} refused the connection: {refused}")

    def new_id(self) -> int:
        """Return an id that nothing of this connection has yet."""
        self._next_id += 1
        return int(self._base | self._next_id)

    def send(self, request: bytes) -> None:
        """Send a request that has no reply. Raises OSError if the display has gone."""
        with self._lock:
            self._send(request)

    def ask(self, request: bytes) -> bytes:
        """Return the reply to a request; events that come before it are kept. Raises OSError for an error, or if none
        comes within `patience_s`. Only for a connection that no other thread waits on.
        """
        with self._lock:
            sequence = self._send(request)
            self._socket.settimeout(self.patience_s)
            try:
                while True:
                    message = self._message()
                    if message[0] not in (ERROR, REPLY):
                        self._events.append(message)
                    elif struct.unpack_from("<H", message, 2)[0] == sequence:
                        if message[0] == ERROR:
                            raise OSError(f"the display answered with error {message[1]}")
                        return message
            finally:
                self._socket.settimeout(None)

    def event(self) -> bytes:
        """Wait for the next event and return it. Raises OSError if the display has gone."""
        while not self._events:
            message = self._message()
            if message[0] not in (ERROR, REPLY):
                self._events.append(message)
        return self._events.popleft()

    def extension(self, name: str) -> tuple[int, int]:
        """Return the request code and the first event of an extension. Raises OSError if the display has it not."""
        reply = self.ask(_named(QUERY_EXTENSION, 0, name))
        if not reply[8]:
            raise OSError(f"the display lacks the extension {name}")
        return reply[9], reply[10]

    def atom(self, name: str) -> int:
        """Return the number of a name. Raises OSError."""
        return int(struct.unpack_from("<I", self.ask(_named(INTERN_ATOM, 0, name)), 8)[0])

    def numbers(self, window: int, atom: int, most: int = 64) -> tuple[int, ...]:
        """Return a property of a window that consists of 32-bit numbers; () if it has none. Raises OSError."""
        reply = self.ask(struct.pack("<BBHIIIII", GET_PROPERTY, 0, 6, window, atom, 0, 0, most))
        (length,) = struct.unpack_from("<I", reply, 16)
        return struct.unpack_from(f"<{length}I", reply, PIECE) if reply[1] == 32 else ()

    def close(self) -> None:
        """Hang up; who waits for an event gets an OSError."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _greet(self, name: bytes, cookie: bytes) -> str:
        """Return why the display refuses, "" if it does not."""
        hello = struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(cookie))
        self._socket.sendall(hello + _padded(name) + _padded(cookie))
        accepted, reason, length = struct.unpack("<BBxxxxH", self._take(8))
        rest = self._take(4 * length)
        if accepted != 1:
            return rest[:reason].decode(errors="replace").strip() or "not authorised"
        self._base = struct.unpack_from("<I", rest, 4)[0]
        (vendor,) = struct.unpack_from("<H", rest, 16)
        self.root = struct.unpack_from("<I", rest, 32 + (vendor + 3) // 4 * 4 + 8 * rest[21])[0]
        return ""

    def _send(self, request: bytes) -> int:
        self._socket.sendall(request)
        self._sequence = (self._sequence + 1) & 0xFFFF
        return self._sequence

    def _message(self) -> bytes:
        piece = self._take(PIECE, keep=True)
        longer = 4 * struct.unpack_from("<I", piece, 4)[0] if piece[0] & 0x7F in (REPLY, GENERIC_EVENT) else 0
        return self._take(PIECE + longer)

    def _take(self, size: int, *, keep: bool = False) -> bytes:
        """Return the next bytes. A timeout loses none of them."""
        while len(self._kept) < size:
            more = self._socket.recv(1 << 16)
            if not more:
                raise OSError("the display has gone")
            self._kept += more
        taken = self._kept[:size]
        if not keep:
            self._kept = self._kept[size:]
        return taken


def _number(environment: Mapping[str, str]) -> int:
    display = re.fullmatch(r"[^:]*:(\d+)(\.\d+)?", environment.get("DISPLAY", ""))
    if display is None:
        raise OSError("no display" if not environment.get("DISPLAY") else "this display's name is not understood")
    return int(display[1])


def _connect(display: str, number: int) -> socket.socket:
    host = display.partition(":")[0]
    if host not in ("", "unix"):
        return socket.create_connection((host, 6000 + number), CONNECT_S)
    path = f"/tmp/.X11-unix/X{number}"
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_S)
    try:
        try:
            connection.connect(path)
        except FileNotFoundError:
            connection.connect(f"\0{path}")
    except OSError as error:
        connection.close()
        raise OSError(f"the display {display} does not answer ({error.strerror})") from None
    return connection


def _cookies(environment: Mapping[str, str], number: int) -> Iterator[bytes]:
    """Yield the cookies for a display in the user's authority file: each is tried in turn."""
    default = Path(environment.get("HOME", os.sep), ".Xauthority")
    try:
        rest = Path(environment.get("XAUTHORITY") or default).read_bytes()
    except OSError:
        return
    while len(rest) > 2:
        fields, rest = [], rest[2:]
        for _ in range(4):
            (size,) = struct.unpack(">H", rest[:2] if len(rest) >= 2 else b"\0\0")
            fields.append(rest[2 : 2 + size])
            rest = rest[2 + size :]
        _address, display, name, cookie = fields
        if name == COOKIE and display in (b"", b"%d" % number):
            yield cookie


def _named(code: int, flag: int, name: str) -> bytes:
    padded = _padded(name.encode())
    return struct.pack("<BBHHxx", code, flag, 2 + len(padded) // 4, len(name)) + padded


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
