"""Where a server keeps its blobs: said at its start, remembered in its database for the commands beside it."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Final

from dsage_server.blobs.library import Blobs
from dsage_server.blobs.objects import open_store
from dsage_server.settings import Settings
from dsage_server.store.engine import Store
from dsage_server.store.meta import recall, remember

PLACE: Final = "blobs"
"""Under which name the place is remembered."""


def blobs_of(settings: Settings, store: Store, server_id: str) -> Blobs:
    """Return the blobs of a server that starts, and remember where they are. Raises UsageError, StorageFull."""
    address = settings.blobs or str(settings.folder / "blobs")
    place = address if "://" in address else str(Path(address).absolute())
    blobs = _opened(settings, store, server_id, place)
    store.write_now(partial(remember, name=PLACE, value=place))
    return blobs


def known_blobs(settings: Settings, store: Store, server_id: str) -> Blobs:
    """Return the blobs of a server that has run before."""
    place = store.read_now(partial(recall, name=PLACE))
    return _opened(settings, store, server_id, place or str(settings.folder / "blobs"))


def _opened(settings: Settings, store: Store, server_id: str, place: str) -> Blobs:
    objects = open_store(place, server_id, min_free_bytes=settings.min_free_bytes)
    return Blobs(store=store, objects=objects, clock=time.time, most=settings.max_blob_bytes)
