"""The words: always what, for whom and how far; a sentence if nothing runs; never in one place for long."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from desk_stand import idle_status

from dsage_client.door.words import Membership, Running
from dsage_client.guest.reasons import Reason, Work
from dsage_client.saver import caption
from dsage_client.saver.shapes import Box, Words
from dsage_client.saver.show import moment

MEMBER = Membership(
    server="s", name="Lab", url="u", pages="", pseudonym="quiet-heron", reason=Reason.WORKING, sentence="",
    granted=1234.5, pending=2.0, team="Sievers",
)  # fmt: skip
UNIT = Running(
    server="s", unit=7, project="factor", title="Prime factors", fraction=0.43, scene="curves",
    shows={"curve": 37, "curves": 120, "b1": 11_000_000},
)  # fmt: skip


def said(**fields: object) -> str:
    status = idle_status(running=[UNIT], servers=[MEMBER])
    for name, value in fields.items():
        setattr(status, name, value)
    _, shapes = moment(status, status.sentence, 1800, 1000, 5.0, calm=False, names=True)
    return " | ".join(shape.text for shape in shapes.values() if isinstance(shape, Words))


def test_project_share_credit_and_person_are_said() -> None:
    text = said()
    for part in ("Prime factors", "factor · Lab", "43.0 %", "Curve 37 of 120 · bound 11,000,000", "1,234.50", "2.00",
                 "quiet-heron · Sievers"):  # fmt: skip
        assert part in text


def test_names_stay_out_if_they_are_to() -> None:
    status = idle_status(running=[UNIT], servers=[MEMBER])
    seen = caption.shown(status, "", UNIT, names=False)
    assert seen.person == ""
    assert seen.credit


def test_an_app_that_tells_nothing_has_no_share() -> None:
    text = said(running=[msgspec.structs.replace(UNIT, fraction=None, shows={})])
    assert "%" not in text
    assert "Prime factors" in text


@pytest.mark.parametrize("held", [True, False])
def test_why_nothing_is_computed(held: bool) -> None:
    running = [msgspec.structs.replace(UNIT, held=True)] if held else []
    text = said(running=running, work=Work.HOLD, reason=Reason.IN_USE, sentence="Waiting: you are here")
    assert "Waiting: you are here" in text
    assert "43" not in text


def test_what_others_wrote_is_one_short_printable_line() -> None:
    text = said(running=[msgspec.structs.replace(UNIT, title="A\n\u202eB" + "x" * 500, project="p\x1b[2J")])
    assert text.isprintable()
    assert "x" * caption.LONGEST not in text
    assert "…" in text


@pytest.mark.parametrize(
    "shows", [{"curve": "3", "curves": [1]}, {"curve": 3}, {"tile": 1, "tiles": {}}, {"b1": "many"}, {}]
)
def test_facts_of_another_kind_are_left_out(shows: dict[str, object]) -> None:
    assert "Curve" not in said(running=[msgspec.structs.replace(UNIT, shows=shows)])


def test_several_units_take_turns() -> None:
    units = [msgspec.structs.replace(UNIT, unit=number) for number in (1, 2, 3)]
    turns = [caption.turn(units, caption.TURN_S * step) for step in range(6)]
    assert [unit and unit.unit for unit in turns] == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize("calm", [True, False])
def test_the_words_wander_and_stay_on_the_screen(calm: bool) -> None:
    places = [caption.place(1200, 700, 60.0 * minute, calm=calm) for minute in range(120)]
    assert all(0 <= x <= 1200 and 0 <= y <= 700 for x, y in places)
    assert all(first != second for first, second in pairwise(places))
    assert max(x for x, _ in places) - min(x for x, _ in places) > 900


def test_calm_words_stand_still_for_a_while() -> None:
    assert caption.place(1200, 700, 61.0, calm=True) == caption.place(1200, 700, 119.0, calm=True)


@pytest.mark.parametrize(("width", "height"), [(1800, 1000), (640, 480), (320, 240), (3840, 2160)])
def test_the_paper_is_within_the_window(width: int, height: int) -> None:
    seen = caption.shown(idle_status(), "Waiting: " + "word " * 60, None)
    for seconds in range(0, 600, 7):
        paper = caption.picture(seen, width, height, float(seconds), calm=False)["words.paper"]
        assert isinstance(paper, Box)
        assert 0 <= paper.left < paper.right <= width
        assert 0 <= paper.top < paper.bottom <= height


def test_a_preview_has_no_words() -> None:
    assert caption.picture(caption.Shown(title="x"), 152, 112, 0.0, calm=False) == {}


def test_no_two_scenes_share_a_name_with_the_words() -> None:
    for scene in ("curves", "tiles", "spectrum", ""):
        status = idle_status(running=[msgspec.structs.replace(UNIT, scene=scene)], servers=[MEMBER])
        _, shapes = moment(status, "", 1800, 1000, 5.0, calm=False, names=True)
        assert len([name for name, shape in shapes.items() if isinstance(shape, Words)]) == 7
        assert list(shapes)[-10:] == [name for name in shapes if name.startswith("words.")]
