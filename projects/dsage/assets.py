"""Static files of pages, read and compressed once at start: the handful of files that every page needs."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png"}
"""Only files of these types are served."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: `version` is a prefix of its SHA-256, so an address with it can be cached for ever."""

    name: str
    content_type: str
    body: bytes
    packed: bytes
    version: str

    @property
    def url(self) -> str:
        """Where pages link it."""
        return f"/static/{self.name}?v={self.version}"


def load(folder: Path) -> dict[str, Asset]:
    """Return the served files of a folder by name."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in TYPES:
            body = path.read_bytes()
            version = hashlib.sha256(body).hexdigest()[:16]
            packed = gzip.compress(body, 9, mtime=0)
            found[path.name] = Asset(path.name, TYPES[path.suffix], body, packed, version)
    return found
