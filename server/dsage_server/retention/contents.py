"""What a backup consists of: rows of tables and pieces of files, and at the end how many there must be."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, Final

import msgspec

from dsage.trust.sealed import Damaged

FORMAT: Final = 1


class Begin(msgspec.Struct, tag="begin", frozen=True, kw_only=True):
    """The first record: where and when the backup was made. `revision` is that of the database's schema."""

    format: int = FORMAT
    made: float
    version: str
    server_id: str
    root_version: int
    revision: str


class Rows(msgspec.Struct, tag="rows", frozen=True, kw_only=True):
    """Some rows of a table; referenced tables come before those that refer to them."""

    table: str
    columns: list[str]
    rows: list[list[Any]]


class Piece(msgspec.Struct, tag="piece", frozen=True, kw_only=True):
    """The next bytes of a file in the server's folder; `mode` are its permissions."""

    path: str
    mode: int
    data: bytes


class End(msgspec.Struct, tag="end", frozen=True, kw_only=True):
    """The last record: rows by table, and the SHA-256 of each file."""

    rows: dict[str, int]
    files: dict[str, str]


Record = Begin | Rows | Piece | End
_decoder: Final[msgspec.msgpack.Decoder[Record]] = msgspec.msgpack.Decoder(Record)


class Tally:
    """Counts what passes by, for `End`."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._files: dict[str, Any] = {}

    def note(self, record: Record) -> None:
        """Count one record."""
        if isinstance(record, Rows):
            self._rows[record.table] += len(record.rows)
        elif isinstance(record, Piece):
            self._files.setdefault(record.path, hashlib.sha256()).update(record.data)

    def end(self) -> End:
        """Return what was counted."""
        return End(rows=dict(self._rows), files={path: seen.hexdigest() for path, seen in self._files.items()})


def decoded(records: Iterable[bytes]) -> Iterator[Record]:
    """Yield the records of a backup. Raises Damaged unless they begin, end and add up as they should."""
    tally = Tally()
    last: Record | None = None
    for number, data in enumerate(records):
        try:
            record = _decoder.decode(data)
        except msgspec.DecodeError as error:
            raise Damaged(f"record {number} is not part of a backup: {error}") from None
        if isinstance(record, Begin) is not (number == 0) or isinstance(last, End):
            raise Damaged("its records are in the wrong order")
        if isinstance(record, Begin) and record.format != FORMAT:
            raise Damaged(f"it has version {record.format} of the contents", hint="Use a newer DSage to read it.")
        if isinstance(record, Piece):
            _check_path(record.path)
        tally.note(record)
        last = record
        yield record
    if not isinstance(last, End) or last != tally.end():
        raise Damaged("it does not hold all that it says it does")


def _check_path(text: str) -> None:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in text:
        raise Damaged(f"it names a file outside of the server's folder: {text!r}")
