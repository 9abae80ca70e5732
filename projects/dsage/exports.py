"""Units of a run in other programs' formats: JSON lines, CSV, Parquet, NPZ, pandas, or one file for each unit.

A row is one unit with what has to be known to use it alone: run, app version, arguments, answer, state, how many
copies were sent out and how many volunteers worked for the run. JSON and CSV are written row by row; the others hold
all rows in memory. CSV leaves out nothing, but a value that is no plain number or text is JSON in its cell.
"""

from __future__ import annotations

import csv
import importlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias

import msgspec

from dsage import codec
from dsage.cli.values import as_json, decimal
from dsage.errors import UsageError
from dsage.files import write_whole
from dsage.wire import RunView, UnitView

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA: Final = "dsage.units/1"
COLUMNS: Final = (
    *("run", "app", "unit", "key", "group", "state", "args", "value", "failed", "code"),
    *("cpu_s", "wall_s", "attempts", "volunteers"),
)
"""The columns of every format, in this order."""
STREAMED: Final = ("jsonl", "csv")
FORMATS: Final = ("json", *STREAMED, "npz", "parquet", "files")
EXACT: Final = 2**63
"""Integers below it fit the columns of Parquet and NPZ; larger ones make their column text."""

Row: TypeAlias = dict[str, Any]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def about(view: RunView) -> dict[str, Any]:
    """Return what every file says of the run that it came from: plain JSON."""
    return {
        "schema": SCHEMA,
        "run": view.run,
        "project": view.project,
        "title": view.title,
        "app": view.app,
        "params": as_json(codec.decode(view.params)),
        "state": view.state,
        "created": view.created,
        "finished": view.finished,
        "volunteers": view.volunteers,
    }


def rows(view: RunView, units: Iterable[UnitView]) -> Iterator[Row]:
    """Yield a row for each unit: its values as Python has them. Raises CodecError for a value that cannot be read."""
    for unit in units:
        yield {
            "run": view.run,
            "app": view.app,
            "unit": unit.unit,
            "key": unit.key,
            "group": unit.group,
            "state": unit.state,
            "args": codec.decode(unit.args),
            "value": None if unit.value is None else codec.decode(unit.value),
            "failed": unit.failed,
            "code": unit.code,
            "cpu_s": unit.cpu_s,
            "wall_s": unit.wall_s,
            "attempts": unit.attempts,
            "volunteers": view.volunteers,
        }


def json_line(row: Row) -> bytes:
    """Return a row as one line of JSON, with its line end; integers beyond 2^53 are decimal strings."""
    return msgspec.json.encode(as_json(row)) + b"\n"


def csv_line(cells: Iterable[Any]) -> bytes:
    """Return one line of CSV (RFC 4180) in UTF-8; None is an empty cell."""
    text = io.StringIO(newline="")
    csv.writer(text).writerow([_cell(each) for each in cells])
    return text.getvalue().encode()


def no_formula(text: str) -> str:
    """Return a text for a cell of CSV: behind an apostrophe if spreadsheets would take it for a formula and compute
    it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def unit_lines(kind: str, each: Iterable[Row]) -> Iterator[bytes]:
    """Yield the rows as lines of a streamed format, "jsonl" or "csv" (whose first line is `csv_line(COLUMNS)`)."""
    if kind == "csv":
        yield from (csv_line(row[name] for name in COLUMNS) for row in each)
    else:
        yield from map(json_line, each)


def write_json(file: BinaryIO, told: Mapping[str, Any], each: Iterable[Row]) -> None:
    """Write one document `{"schema": ..., "data": {..., "units": [...]}}`."""
    head = {name: value for name, value in told.items() if name != "schema"}
    document = {"schema": SCHEMA, "data": {**head, "units": [as_json(row) for row in each]}}
    file.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def write_npz(file: BinaryIO, told: Mapping[str, Any], each: Iterable[Row]) -> None:
    """Write one array for each column, and `about` as JSON text. Needs numpy; no array holds Python objects."""
    numpy = _needed("numpy", "npz")
    columns = _columns(each)
    arrays = {name: _array(numpy, values) for name, values in columns.items()}
    numpy.savez_compressed(file, about=numpy.array(msgspec.json.encode(told).decode()), **arrays)


def write_parquet(file: BinaryIO, told: Mapping[str, Any], each: Iterable[Row]) -> None:
    """Write one Parquet table; `about` is in its metadata under the key "dsage". Needs pyarrow."""
    arrow = _needed("pyarrow", "parquet")
    parquet = _needed("pyarrow.parquet", "parquet")
    columns = {name: _typed(arrow, values) for name, values in _columns(each).items()}
    table = arrow.table(columns).replace_schema_metadata({"dsage": msgspec.json.encode(told)})
    parquet.write_table(table, file)


def write_files(folder: Path, told: Mapping[str, Any], each: Iterable[Row]) -> int:
    """Write each answer to a file of its own below `folder`, and say in `index.jsonl` which is whose; return how many.

    Bytes become `.bin`, text `.txt`, numpy arrays `.npy`, everything else `.json`. `run.json` is about the run.
    """
    index = bytearray()
    count = 0
    for row in each:
        kind, content = _content(row["value"])
        name = f"{row['key'] if _PLAIN_NAME.fullmatch(row['key']) else row['unit']}.{kind}"
        if row["value"] is not None:
            write_whole(folder / name, content, durable=False)
            count += 1
        index += json_line({**row, "value": name if row["value"] is not None else None})
    write_whole(folder / "index.jsonl", bytes(index))
    write_whole(folder / "run.json", msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    return count


def write(kind: str, file: BinaryIO, told: Mapping[str, Any], each: Iterable[Row]) -> None:
    """Write the rows to a binary file in a format of FORMATS other than "files".

    Raises UsageError if the format needs a package that is not installed.
    """
    if kind in STREAMED:
        file.write(csv_line(COLUMNS) if kind == "csv" else b"")
        file.writelines(unit_lines(kind, each))
    else:
        WRITERS[kind](file, told, each)


WRITERS: Final[dict[str, Callable[[BinaryIO, Mapping[str, Any], Iterable[Row]], None]]] = {
    "json": write_json,
    "npz": write_npz,
    "parquet": write_parquet,
}


def to_pandas(told: Mapping[str, Any], each: Iterable[Row]) -> Any:
    """Return the rows as a pandas DataFrame, values as Python has them; `about` is in its `attrs`. Needs pandas."""
    frame = _needed("pandas", "a DataFrame").DataFrame(list(each), columns=list(COLUMNS))
    frame.attrs["dsage"] = dict(told)
    return frame


def needs(kind: str) -> None:
    """Raise UsageError, saying what to install, if a format needs a package that is not here."""
    if kind in ("npz", "parquet"):
        _needed("numpy" if kind == "npz" else "pyarrow", kind)


def _needed(module: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        package = module.partition(".")[0]
        raise UsageError(
            f"{what} needs the package {package}, which is not installed",
            hint=f"Install it (pip install {package}), or choose jsonl or csv, which need nothing.",
        ) from None


def _columns(each: Iterable[Row]) -> dict[str, list[Any]]:
    gathered: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for row in each:
        for name in COLUMNS:
            gathered[name].append(row[name])
    return gathered


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return no_formula(value)
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return decimal(value)
    return _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(as_json(value)).decode()


def _alike(values: list[Any], *kinds: type) -> bool:
    """Say whether every value is of one of these kinds; a bool is no number, and no integer is too large."""
    return all(type(value) in kinds and (type(value) is not int or -EXACT <= value < EXACT) for value in values)


def _array(numpy: ModuleType, values: list[Any]) -> Any:
    """Return values as an array of numbers if they are numbers, or lists or arrays of one shape, else of text."""
    if _alike(values, int, float) or _alike(values, bool) or _alike(values, str):
        return numpy.array(values)
    if values and all(hasattr(value, "dtype") or _numbers(value) for value in values):
        arrays = [numpy.asarray(value) for value in values]
        if len({(array.shape, array.dtype.kind) for array in arrays}) == 1 and arrays[0].dtype.kind in "biufc":
            return numpy.stack(arrays)
    return numpy.array([value if isinstance(value, str) else _json(value) for value in values], dtype=str)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and (_alike(value, int, float) or all(map(_numbers, value)))


def _typed(arrow: ModuleType, values: list[Any]) -> Any:
    """Return values as a column of their own type where Arrow has one for all of them, else as JSON text."""
    told = [value for value in values if value is not None]
    kinds = [(int,), (float, int), (bool,), (str,), (bytes,)]
    if any(_alike(told, *kind) for kind in kinds):
        whole = [float(v) if v is not None and any(type(t) is float for t in told) else v for v in values]
        return arrow.array(whole)
    if told and all(_numbers(value) for value in told):
        try:
            return arrow.array(values)
        except arrow.ArrowInvalid:
            return arrow.array([_json(value) for value in values])
    return arrow.array([None if value is None else _json(value) for value in values], type=arrow.string())


def _content(value: Any) -> tuple[str, bytes]:
    if isinstance(value, bytes):
        return "bin", value
    if isinstance(value, str):
        return "txt", value.encode()
    if hasattr(value, "dtype"):
        held = io.BytesIO()
        _needed("numpy", "an array").save(held, value, allow_pickle=False)
        return "npy", held.getvalue()
    return "json", msgspec.json.encode(as_json(value)) + b"\n"
