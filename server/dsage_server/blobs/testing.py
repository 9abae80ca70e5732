"""An S3-compatible server for tests, which goes away and comes back with what it held; and people who send blobs."""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from urllib.request import Request, urlopen

import aiohttp
import msgspec

from dsage.blobs import OFFSET_HEADER, UploadStart, UploadState
from dsage.connection import Connection, login
from dsage.home import Home, Login
from dsage.trust.ceremony import LAB
from dsage.trust.keys import PrivateKey
from dsage.trust.tls import pinned_context
from dsage.wire import PROTOCOL, PROTOCOL_HEADER
from dsage_server.server import Running, serving
from dsage_server.testing import local_settings

KEYS: Final = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class LocalS3:
    """moto's S3 over real HTTP, in threads of this process, with one bucket; `address` is what a server is given."""

    def __init__(self) -> None:
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.bucket = f"test-{secrets.token_hex(4)}"
        self.address = f"s3://{self.bucket}/some/prefix?endpoint={self.endpoint}"
        self._make = ThreadedMotoServer
        self.back()
        with urlopen(Request(f"{self.endpoint}/{self.bucket}", method="PUT")):
            pass

    def back(self) -> None:
        """Serve (again)."""
        self._server = self._make("127.0.0.1", self.port, verbose=False)
        self._server.start()

    def away(self) -> None:
        """Answer nobody; what the bucket holds stays."""
        self._server.stop()

    def end(self) -> None:
        """Stop, and give back the memory of all that was put there."""
        with urlopen(Request(f"{self.endpoint}/moto-api/reset", method="POST")):
            pass
        self.away()


@contextmanager
def local_s3() -> Iterator[LocalS3]:
    """Run an S3 server, with keys for it in the environment."""
    with patch.dict(os.environ, KEYS):
        server = LocalS3()
        try:
            yield server
        finally:
            server.end()


def made_up(size: int, seed: int = 1) -> tuple[bytes, str]:
    """Return the same random bytes for the same seed, and their SHA-256."""
    data = random.Random(seed).randbytes(size)
    return data, hashlib.sha256(data).hexdigest()


@asynccontextmanager
async def blob_server(folder: Path, address: str = "", *, port: int = 0, **settings: Any) -> AsyncIterator[Running]:
    """Serve from a home in `folder`, with blobs at `address`."""
    home = Home(folder)
    async with serving(home, replace(local_settings(home, port=port), blobs=address, **settings)) as running:
        Login(link=str(running.link()), key=LAB).save(home)
        yield running


@dataclass
class Sender:
    """The lab's researcher, who sends blobs by hand, true or not."""

    running: Running
    conn: Connection
    token: str

    @classmethod
    @asynccontextmanager
    async def known(cls, running: Running, folder: Path) -> AsyncIterator[Sender]:
        """The researcher of a home logs in."""
        key = PrivateKey.load(Home(folder).code_key(LAB))
        async with await Connection.open(running.link()) as conn:
            token = (await login(conn, key, "researcher", running.hub.server_id)).token
            yield cls(running, conn, token)

    async def begin(self, sha256: str, size: int) -> UploadState:
        """Begin an upload."""
        place = f"/v1/blobs/{sha256}/uploads"
        return await self.conn.call("POST", place, UploadStart(bytes=size), UploadState, token=self.token)

    async def append(self, sha256: str, start: int, data: bytes) -> UploadState:
        """Send a part of an upload."""
        async with self.conn.stream(
            "PATCH", f"/v1/blobs/{sha256}/uploads", token=self.token, data=data,
            headers={OFFSET_HEADER: str(start)}, silence_s=30.0,
        ) as response:  # fmt: skip
            return msgspec.msgpack.decode(await response.read(), type=UploadState)

    async def send(self, data: bytes, sha256: str) -> None:
        """Send a blob with one request."""
        await self.begin(sha256, len(data))
        await self.append(sha256, 0, data)

    async def raw(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: Any = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Make a request by plain HTTP; return its status, headers and body."""
        said = {PROTOCOL_HEADER: str(PROTOCOL), "Authorization": f"Bearer {self.token}", **(headers or {})}
        context = pinned_context(self.conn.ca_pem, self.conn.link.ca)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.request(method, self.running.url + path, headers=said, data=data) as response,
        ):
            return response.status, response.headers, await response.read()
