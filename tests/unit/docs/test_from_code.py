"""The tables that documents take from the code: they say what the code says, and each name in a document is known."""

from __future__ import annotations

import re
from pathlib import Path

import from_code
import msgspec
import pytest

from dsage import states
from dsage.account import Privacy
from dsage.errors import Conflict, DSageError
from dsage_server import badges
from dsage_server.store import schema

DOCS = Path(__file__).resolve().parents[3] / "docs"
NAMED = {
    name: path.name
    for path in DOCS.rglob("*.md")
    for name in re.findall(r"^:::\{from-code\} (\S+)$", path.read_text(), re.MULTILINE)
}


def cells(text: str) -> list[list[str]]:
    """Return the cells of a table below its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_documents_name_each_table_and_no_other() -> None:
    assert set(NAMED) == set(from_code.TABLES)


@pytest.mark.parametrize("name", sorted(from_code.TABLES))
def test_each_table_has_rows_and_words_for_all_of_them(name: str) -> None:
    text = from_code.TABLES[name]()
    if name == "error-tree":
        assert len(text.splitlines()) > 20
        return
    found = cells(text)
    assert len(found) >= 3
    assert len({len(row) for row in found}) == 1
    assert name == "kept" or not [row for row in found if "" in row]


@pytest.mark.parametrize("kind", list(states.MOVES))
def test_states_are_those_of_the_one_table_with_every_move(kind: type[states.UnitState]) -> None:
    found = {
        re.findall("`(.+)`", row[0])[0]: set(re.findall("`(.+?)`", row[2])) for row in cells(from_code.moves(kind))
    }
    assert found == {state.value: {way.value for way in ways} for state, ways in states.MOVES[kind].items()}


def test_each_badge_and_each_switch_is_told() -> None:
    assert [row[1] for row in cells(from_code.badge_levels())] == [f"{level:,}" for level in badges.LEVELS]
    assert [row[:2] for row in cells(from_code.consents())] == [
        [f"`{field.name}`", "on" if field.default else "off"] for field in msgspec.structs.fields(Privacy)
    ]


def test_what_is_kept_of_a_person_has_every_table_that_names_a_volunteer_or_a_computer() -> None:
    found = {row[0].strip("`"): row[1] for row in cells(from_code.kept())}
    assert {"volunteer", "host", "kin", "replica", "credit_entry"} <= set(found)
    assert {"run", "blob", "meta"}.isdisjoint(found)
    assert all(f"`{column.name}`" in found["host"] for column in schema.host.columns)


def test_the_tree_of_errors_is_that_of_the_classes() -> None:
    lines = from_code.error_tree().splitlines()
    assert lines[0].startswith(f"* `{DSageError.__name__}`")
    assert any(line.startswith(f"    * `{Conflict.__name__}` (`conflict`)") for line in lines)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.5, "0.5 seconds"), (1, "1 second"), (600, "10 minutes"), (7 * 86400, "7 days"), (36e6, "1.14 years")],
)  # fmt: skip
def test_durations_are_told_in_their_largest_unit(seconds: float, told: str) -> None:
    assert from_code.span(seconds) == told


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert cells(from_code.table(["a", "b"], [["x|y", 1]])) == [["x\\|y", "1"]]
