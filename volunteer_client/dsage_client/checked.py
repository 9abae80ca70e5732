"""Files with a checksum in front: what comes back is what was written, or is known to be damaged."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from dsage.files import keeping, write_whole

DIGEST_BYTES: Final = 32


def write_checked(path: Path, data: bytes, *, durable: bool) -> None:
    """Replace `path` by the SHA-256 of `data` and `data`, whole; `durable` as in `dsage.files.write_whole`.

    Raises StorageFull, leaving what stood at `path` before, when the bytes cannot be kept.
    """
    with keeping(path):
        write_whole(path, hashlib.sha256(data).digest() + data, private=True, durable=durable)


def read_checked(path: Path) -> bytes | None:
    """Return what `write_checked` wrote, or None if the file is damaged or cannot be read."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    data = raw[DIGEST_BYTES:]
    return data if hashlib.sha256(data).digest() == raw[:DIGEST_BYTES] else None


def set_aside(path: Path, folder: Path) -> Path:
    """Move a damaged file into `folder`, under a name that is free there, and return where it lies."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target, number = folder / path.name, 1
    while target.exists():
        number += 1
        target = folder / f"{path.name}.{number}"
    return path.rename(target)
