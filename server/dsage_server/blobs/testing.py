"""An S3-compatible server for tests, which goes away and comes back with what it held; and made-up bytes."""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from unittest.mock import patch
from urllib.request import Request, urlopen

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


@contextmanager
def local_s3() -> Iterator[LocalS3]:
    """Run an S3 server, with keys for it in the environment."""
    with patch.dict(os.environ, KEYS):
        server = LocalS3()
        try:
            yield server
        finally:
            server.away()


def made_up(size: int, seed: int = 1) -> tuple[bytes, str]:
    """Return the same random bytes for the same seed, and their SHA-256."""
    data = random.Random(seed).randbytes(size)
    return data, hashlib.sha256(data).hexdigest()
