"""Both stores, and the blobs of a server on a fresh database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dsage_server.blobs.library import Blobs
from dsage_server.blobs.objects import BlobStore, open_store
from dsage_server.blobs.testing import LocalS3, local_s3
from dsage_server.store.engine import Store
from dsage_server.store.testing import fresh


@pytest.fixture(scope="module")
def s3() -> Iterator[LocalS3]:
    with local_s3() as server:
        yield server


@pytest.fixture(params=["directory", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "directory":
        return open_store(str(tmp_path / "blobs"), "here", min_free_bytes=0)
    return open_store(request.getfixturevalue("s3").address, tmp_path.name, min_free_bytes=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(fresh(tmp_path))
    yield opened
    opened.close()


class Clock:
    """A clock that a test moves."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def blobs(store: Store, objects: BlobStore, clock: Clock) -> Blobs:
    return Blobs(store=store, objects=objects, clock=clock)
