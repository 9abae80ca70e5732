"""Writing files that must be whole or not there at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from dsage.errors import StorageFull

UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What a disk says that is full, or that may only be read, and never for another reason."""


def write_whole(path: Path, data: bytes, *, private: bool = False, durable: bool = True) -> None:
    """Write `data` to `path` as `whole_file` does."""
    with whole_file(path, private=private, durable=durable) as file:
        file.write(data)


@contextmanager
def whole_file(path: Path, *, private: bool = False, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a new file that is renamed to `path` once the block is through, and is gone if that raises.

    A `private` file gets mode 0600, others 0644. Missing folders are made with mode 0700. A `durable` file and
    its name have reached the disk when the block ends; any other may be torn by a power cut.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(fresh, path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that finds no room does not say where
        raise
    finally:
        fresh.unlink(missing_ok=True)


def unwritten(error: OSError, path: Path | str = "") -> StorageFull:
    """Return in words that a file or folder (`path`, or what the error names) could not be written."""
    hint = "Make it writable, or use another folder." if error.errno in (errno.EROFS, errno.EACCES) else None
    place = path or error.filename2 or error.filename or "a file"
    return StorageFull(f"{place} cannot be written: {error.strerror or error}", hint=hint)


@contextmanager
def keeping(path: Path | str) -> Iterator[None]:
    """Raise StorageFull, which names `path`, where the block raises OSError."""
    try:
        yield
    except OSError as error:
        raise unwritten(error, path) from error


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
