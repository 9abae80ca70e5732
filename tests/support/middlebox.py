"""What stands between a client and its server in real networks: proxies that carry, that read along, that cut."""

from __future__ import annotations

import asyncio
import base64
import ssl
from contextlib import suppress
from types import TracebackType
from typing import Self

PIECE = 1 << 16


class Middlebox:
    """An HTTP proxy with CONNECT on this computer; whatever name is asked for, it connects to 127.0.0.1.

    `password` ("name:password") is asked for if it is set. With `own`, a TLS context with a certificate of its own, it
    opens what it carries. A direction that is silent for `cut_s` is cut off. With `target` it is no proxy but in the
    way: every connection is carried to that port. `asked` are the names that it was asked for, `cuts` what it cut.
    """

    def __init__(
        self, *, password: str = "", own: ssl.SSLContext | None = None, cut_s: float | None = None, target: int = 0
    ) -> None:
        self.password = password
        self.own = own
        self.cut_s = cut_s
        self.target = target
        self.asked: list[str] = []
        self.cuts = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._raw: list[asyncio.WriteTransport] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._met, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for raw in self._raw:
            raw.abort()
        await asyncio.sleep(0.05)  # who was connected sees it, and lets go of what no TLS came of

    def cut(self) -> None:
        """Cut every connection off; may be called from any thread."""
        loop = self._server.get_loop()
        for raw in list(self._raw):
            loop.call_soon_threadsafe(raw.abort)

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._raw.append(writer.transport)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self.target
        if not port:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, name, _ = head.split("\r\n")[0].split()
            assert method == "CONNECT"
            self.asked.append(name)
            proof = "Basic " + base64.b64encode(self.password.encode()).decode()
            if self.password and f"Proxy-Authorization: {proof}" not in head:
                writer.write(b"HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
            port = int(name.rpartition(":")[2])
            writer.write(b"HTTP/1.1 200 Go ahead\r\n\r\n")
            await writer.drain()
        context = None
        if self.own is not None:
            await writer.start_tls(self.own)
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        there, back = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        clock = asyncio.get_running_loop().time
        moved = [clock()]

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while piece := await source.read(PIECE):
                    moved[0] = clock()
                    sink.write(piece)
                    await sink.drain()

        async def watch(cut_s: float) -> None:
            while (left_s := moved[0] + cut_s - clock()) > 0:
                await asyncio.sleep(left_s)
            self.cuts += 1

        both = [asyncio.create_task(carry(reader, back)), asyncio.create_task(carry(there, writer))]
        if self.cut_s is not None:
            both.append(asyncio.create_task(watch(self.cut_s)))
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            back.transport.abort()  # first of all: the box may close meanwhile, which ends this task where it waits
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
