"""The file of an archived run: every row of it in one Parquet file, or in gzipped JSON lines where pyarrow is missing.

A row has the name of its table in the column `table`, and the columns of that table; the others are null. So one
table is `frame[frame.table == "replica"]` in pandas, or `WHERE "table" = 'replica'` in DuckDB. Bytes are base64 in
JSON. A digest over all rows, made from the database when they are written and again from the file when it is read
back, says that nothing is missing or changed.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib
import importlib.util
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Boolean, Float, Integer, LargeBinary, Table

from dsage.errors import UsageError
from dsage.files import whole_file

TABLE: Final = "table"
GROUP: Final = 20_000
"""Rows of one row group."""
GROUP_BYTES: Final = 32 << 20

Row = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a file holds: rows by table, and the digest of all of them in order."""

    rows: dict[str, int]
    digest: str


class Tally:
    """Counts rows and adds them to the digest as they pass."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._digest = hashlib.sha256()

    def passing(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows again."""
        for table, row in rows:
            self._rows[table] += 1
            present = sorted((name, value) for name, value in row.items() if value is not None)
            self._digest.update(msgspec.msgpack.encode([table, present]))
            yield table, row

    def contents(self) -> Contents:
        """Return what has passed."""
        return Contents(rows=dict(self._rows), digest=self._digest.hexdigest())


def suffix() -> str:
    """Return the kind of file that this installation writes: `.parquet`, or `.jsonl.gz` without pyarrow."""
    return ".parquet" if importlib.util.find_spec("pyarrow") else ".jsonl.gz"


def write(path: Path, tables: Iterable[Table], rows: Iterable[Row]) -> Contents:
    """Write rows of these tables to a new file, whole and durable. Raises OSError."""
    tally = Tally()
    with whole_file(path, private=True) as file:
        if path.suffix == ".parquet":
            _write_parquet(file, _kinds(tables), tally.passing(rows))
        else:
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed:
                for table, row in tally.passing(rows):
                    packed.write(json.dumps({TABLE: table} | {n: _text(v) for n, v in row.items()}).encode() + b"\n")
    return tally.contents()


def read(path: Path, tables: Iterable[Table]) -> Iterator[Row]:
    """Yield the rows of a file in order, without nulls. Raises OSError; ValueError or EOFError if it is damaged."""
    kinds = _kinds(tables)
    if path.suffix != ".parquet":
        with gzip.open(path, "rb") as packed:
            for line in packed:
                row = json.loads(line)
                table = row.pop(TABLE)
                yield table, {n: _value(v, kinds[n]) for n, v in row.items() if v is not None}
        return
    parquet = _pyarrow("pyarrow.parquet")
    with path.open("rb") as file:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=GROUP):
            for row in batch.to_pylist():
                table = row.pop(TABLE)
                yield table, {name: value for name, value in row.items() if value is not None}


def check(path: Path, tables: Iterable[Table]) -> Contents:
    """Read a file to its end and return what it holds. Raises as `read`."""
    tally = Tally()
    for _ in tally.passing(read(path, tables)):
        pass
    return tally.contents()


def _kinds(tables: Iterable[Table]) -> dict[str, str]:
    found: dict[str, str] = {}
    for table in tables:
        for column in table.columns:
            kind = _kind(column.type)
            if found.setdefault(str(column.name), kind) != kind:
                raise AssertionError(f"two tables have columns {column.name} of different kinds")
    return found


def _kind(of: Any) -> str:
    for kind, name in ((Boolean, "bool_"), (Integer, "int64"), (Float, "float64"), (LargeBinary, "binary")):
        if isinstance(of, kind):
            return name
    return "string"


def _write_parquet(file: Any, kinds: dict[str, str], rows: Iterator[Row]) -> None:
    arrow, parquet = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
    fields = [(TABLE, arrow.string()), *((name, getattr(arrow, kind)()) for name, kind in kinds.items())]
    schema = arrow.schema(fields)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(rows):
            lines = [{TABLE: table, **row} for table, row in group]
            writer.write_table(arrow.Table.from_pylist(lines, schema=schema))


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += sum(len(value) for value in row[1].values() if isinstance(value, str | bytes))
        if len(group) == GROUP or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _pyarrow(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise UsageError(
            "this archive is a Parquet file, and pyarrow is not installed here", hint="pip install pyarrow"
        ) from None


def _text(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _value(value: Any, kind: str) -> Any:
    return base64.b64decode(value) if kind == "binary" else value
