"""Units in other programs' formats: each file is read back by somebody else's reader."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from dsage import codec, exports
from dsage.errors import UsageError
from dsage.wire import RunView, UnitView

RUN = RunView(
    run=3, project="lab", title="Sum", app="a" * 64, state="done", created=1.0, finished=2.0, driver_seen=None, step=1,
    units={"valid": 2, "failed": 1}, replicas={}, credit_milli=0, volunteers=4, progress=b"", result=None, reason="",
    params=codec.encode({"n": 2**80}),
)  # fmt: skip


def units(*values: Any) -> list[UnitView]:
    made = [
        UnitView(unit=10 + i, key=f"1.{i}", group="", state="valid", args=codec.encode([i, "a,b"]),
                 value=codec.encode(value), cpu_s=0.5, wall_s=1.0, attempts=2)
        for i, value in enumerate(values)
    ]  # fmt: skip
    lost = UnitView(
        unit=99, key="../x", group="g", state="failed", args=codec.encode(None), value=None, failed="no", code="cpu"
    )
    return [*made, lost]


def rows(*values: Any) -> list[exports.Row]:
    return list(exports.rows(RUN, units(*values)))


def written(kind: str, *values: Any) -> bytes:
    file = io.BytesIO()
    exports.write(kind, file, exports.about(RUN), iter(rows(*values)))
    return file.getvalue()


def test_a_row_can_be_used_alone() -> None:
    first, last = rows(7)
    assert (first["run"], first["app"], first["volunteers"], first["attempts"]) == (3, "a" * 64, 4, 2)
    assert (first["args"], first["value"], first["state"]) == ([0, "a,b"], 7, "valid")
    assert (last["value"], last["failed"], last["code"]) == (None, "no", "cpu")
    assert tuple(first) == exports.COLUMNS


def test_json_lines() -> None:
    told = [json.loads(line) for line in written("jsonl", 2**80, {"x": b"\0"}).splitlines()]
    assert [each["value"] for each in told] == [str(2**80), {"x": "AA=="}, None]
    assert list(told[0]) == list(exports.COLUMNS)


def test_json_is_one_document() -> None:
    told = json.loads(written("json", 1))
    assert told["schema"] == "dsage.units/1"
    assert (told["data"]["params"], len(told["data"]["units"])) == ({"n": str(2**80)}, 2)


def test_csv_says_all_in_every_cell() -> None:
    text = written("csv", 'say "no", twice\nor not', 2**80).decode()
    told = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [each["value"] for each in told] == ['say "no", twice\nor not', str(2**80), ""]
    assert json.loads(told[0]["args"]) == [0, "a,b"]
    assert told[2]["failed"] == "no"


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_of_a_volunteer_is_computed_by_a_spreadsheet(begin: str) -> None:
    text = written("csv", f"{begin}cmd|'/c calc'!A0", -2.5, -3).decode()
    told = [each["value"] for each in csv.DictReader(io.StringIO(text, newline=""))]
    assert told[:3] == [f"'{begin}cmd|'/c calc'!A0", "-2.5", "-3"]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ((1, 2), [1, 2, None]),
        ((1, 2.5), [1.0, 2.5, None]),
        ((b"\0", b""), [b"\0", b"", None]),
        (([1, 2], [3]), [[1, 2], [3], None]),
        ((2**80, 1), [f'"{2**80}"', "1", None]),
        (({"a": 1}, "x"), ['{"a":1}', '"x"', None]),
        (((True, 1)), ["true", "1", None]),
    ],
)
def test_parquet_keeps_types_where_it_can(values: tuple[Any, ...], read: list[Any]) -> None:
    table = pyarrow.parquet.read_table(io.BytesIO(written("parquet", *values)))
    assert table.column("value").to_pylist() == read
    assert table.column("unit").to_pylist() == [10, 11, 99]
    assert json.loads(table.schema.metadata[b"dsage"])["app"] == "a" * 64


def test_npz_has_an_array_for_each_column() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    with numpy.load(io.BytesIO(written("npz", [1, 2], [3, 4])), allow_pickle=False) as told:
        assert json.loads(str(told["about"]))["run"] == 3
        assert told["unit"].tolist() == [10, 11, 99]
        assert told["value"].tolist() == ["[1,2]", "[3,4]", "null"]
    file = io.BytesIO()
    exports.write_npz(file, {}, rows([1, 2], [3, 4])[:2])
    with numpy.load(io.BytesIO(file.getvalue()), allow_pickle=False) as told:
        assert told["value"].tolist() == [[1, 2], [3, 4]]


def test_a_file_for_each_answer(tmp_path: Path) -> None:
    assert exports.write_files(tmp_path / "out", exports.about(RUN), rows(b"\1", "text", {"a": 1})) == 3
    assert (tmp_path / "out" / "1.0.bin").read_bytes() == b"\1"
    assert (tmp_path / "out" / "1.1.txt").read_text() == "text"
    assert json.loads((tmp_path / "out" / "1.2.json").read_text()) == {"a": 1}
    index = [json.loads(line) for line in (tmp_path / "out" / "index.jsonl").read_text().splitlines()]
    assert [each["value"] for each in index] == ["1.0.bin", "1.1.txt", "1.2.json", None]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["volunteers"] == 4


@pytest.mark.parametrize(("kind", "package"), [("npz", "numpy"), ("parquet", "pyarrow")])
def test_a_missing_package_is_named(kind: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(UsageError, match=package) as caught:
        exports.needs(kind)
    assert f"pip install {package}" in caught.value.hint
    exports.needs("csv")


def test_pandas() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = exports.to_pandas(exports.about(RUN), rows(1, 2))
    assert frame["unit"].tolist() == [10, 11, 99]
    assert frame.attrs["dsage"]["run"] == 3
