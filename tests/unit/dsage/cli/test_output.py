"""Data on standard output, the rest on standard error."""

from __future__ import annotations

import json

import pytest

from dsage.cli.output import emit, say, table
from dsage.trust.inventory import Line


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    say("a word aside")
    emit("dsage.test/1", {"n": 1, "lines": [Line(role="root", where="here")]}, True, "for people")
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["schema"] == "dsage.test/1"
    assert document["data"]["lines"][0]["role"] == "root"
    assert captured.err == "a word aside\n"


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    emit("dsage.test/1", {"n": 1}, False, "for people")
    emit("dsage.test/1", {"n": 1}, False)
    assert capsys.readouterr().out == "for people\n"


def test_a_table_is_aligned() -> None:
    assert table(["A", "LONG"], [["wide cell", "x"]]) == "A          LONG\nwide cell  x"
