"""The form of all preferences: each field in and out again, and what is wrong beside the field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from manager_visit import Visit, fields_of

from dsage_client.guest.preferences import DAYS, Part, Preferences, Window
from dsage_client.manager.forms import as_number, changes_of, draft_of, read_draft
from dsage_client.manager.schedule import MAX_WINDOWS, Row, said, spans

SAVE = ("do", "save")
WHOLE = Preferences(
    when="always", idle_after_s=600, idle=Part(cores=3, percent=80), in_use=Part(cores=1, percent=25),
    hours=(Window(days=("mon", "sun"), start="22:30", end="06:00", part=Part(cores=2, percent=40)), Window()),
    on_battery=True, others_percent=30, memory_percent=70, hottest_c=71.5, exclusive_apps=("steam", "blender"),
    full_screen=True, disk_bytes=10 << 30, network_hours=(Window(days=("sat",), start="01:00", end="05:00"),),
    network_bytes_s=250_000, screen="calm", language="en",
)  # fmt: skip


def replaced(fields: list[tuple[str, str]], **texts: str) -> list[tuple[str, str]]:
    """Return fields with some typed anew."""
    return [(name, value) for name, value in fields if name not in texts] + list(texts.items())


async def test_a_form_saved_as_it_is_changes_nothing(visit: Visit) -> None:
    visit.owner.kept = WHOLE
    fields = fields_of((await visit.page("preferences")).text)
    answer = await visit.post("preferences", [*fields, SAVE])
    assert (answer.status, answer.headers["location"]) == (303, "preferences?did=saved")
    assert visit.owner.asked == []
    assert "Saved." in (await visit.page("preferences?did=saved")).text


async def test_every_preference_can_be_set(visit: Visit) -> None:
    visit.owner.kept = WHOLE
    fields = fields_of((await visit.page("preferences")).text)
    visit.owner.kept = Preferences()
    assert (await visit.post("preferences", [*fields, SAVE])).status == 303
    assert visit.owner.kept == WHOLE
    (_, changes) = visit.owner.asked[0]
    assert set(changes) == set(Preferences.__struct_fields__) - {"shares", "refused"}


@pytest.mark.parametrize(
    ("field", "text", "path", "value"),
    [
        ("idle_after_s", "0,5", "idle_after_s", 30.0),
        ("idle_after_s", " 10 ", "idle_after_s", 600.0),
        ("idle.percent", "1", "idle", {"cores": 0, "percent": 1}),
        ("in_use.cores", "4", "in_use", {"cores": 4, "percent": 100}),
        ("hottest_c", "82.5", "hottest_c", 82.5),
        ("disk_bytes", "0.5", "disk_bytes", 1 << 29),
        ("network_bytes_s", "100", "network_bytes_s", 100_000),
        ("exclusive_apps", "a\r\n\r\n b \na", "exclusive_apps", ("a", "b")),
        ("when", "never", "when", "never"),
    ],
)
async def test_what_is_typed_is_what_is_kept(visit: Visit, field: str, text: str, path: str, value: Any) -> None:
    visit.owner.kept = Preferences()
    fields = fields_of((await visit.page("preferences")).text)
    assert (await visit.post("preferences", [*replaced(fields, **{field: text}), SAVE])).status == 303
    assert visit.owner.asked == [("prefer", {path: value})]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("idle_after_s", "0"), ("idle_after_s", "soon"), ("idle_after_s", "1e3"), ("idle_after_s", "1441"),
        ("idle.percent", "0"), ("idle.percent", "101"), ("in_use.percent", "-1"), ("idle.cores", "1025"),
        ("others_percent", ""), ("memory_percent", "nan"), ("hottest_c", "151"), ("hottest_c", "inf"),
        ("disk_bytes", "9" * 40), ("network_bytes_s", "٣"), ("when", "sometimes"), ("screen", ""),
        ("language", "../../x"), ("exclusive_apps", "x" * 101), ("exclusive_apps", "\n".join(map(str, range(101)))),
        ("hours-0-start", "25:00"), ("hours-0-end", ""), ("network_hours-0-end", "9:00"), ("hours-0-percent", "0"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_said_beside_its_field_and_nothing_is_saved(
    visit: Visit, field: str, text: str
) -> None:  # fmt: skip
    visit.owner.kept = WHOLE
    fields = fields_of((await visit.page("preferences")).text)
    answer = await visit.post("preferences", [*replaced(fields, **{"memory_percent": "7", field: text}), SAVE])
    assert answer.status == 400
    assert f'id="{field}-wrong"' in answer.text
    assert f'href="#{field}"' in answer.text
    assert f'id="{field}"' in answer.text
    assert "Nothing was saved" in answer.text
    assert visit.owner.asked == []
    assert field == "memory_percent" or ("memory_percent", "7") in fields_of(answer.text)


async def test_hours_are_added_and_removed_without_a_script_and_without_saving(visit: Visit) -> None:
    visit.owner.kept = WHOLE
    fields = replaced(fields_of((await visit.page("preferences")).text), idle_after_s="7")
    added = await visit.post("preferences", [*fields, ("do", "add:hours")])
    assert added.status == 200
    names = {name for name, _ in fields_of(added.text)}
    assert "hours-2-start" in names
    assert ("idle_after_s", "7") in fields_of(added.text)
    removed = await visit.post("preferences", [*fields_of(added.text), ("do", "remove:hours-0")])
    left = fields_of(removed.text)
    assert "hours-2-start" not in {name for name, _ in left}
    assert ("hours-0-start", "00:00") in left
    assert visit.owner.asked == []
    assert (await visit.post("preferences", [*left, SAVE])).status == 303
    assert visit.owner.kept.hours == (Window(), Window(start="18:00", end="08:00"))
    for nonsense in ("remove:hours-9", "remove:hours-x", "add:when", "remove:", "add", f"remove:hours-{'9' * 5000}"):
        assert (await visit.post("preferences", [*left, ("do", nonsense)])).status == 200


async def test_hours_without_a_day_are_asked_for_one(visit: Visit) -> None:
    fields = [(name, value) for name, value in fields_of((await visit.page("preferences")).text)]
    fields = [(name, value) for name, value in fields if name != "hours-0-day"]
    answer = await visit.post("preferences", [*fields, SAVE])
    assert answer.status == 400
    assert "Choose at least one day" in answer.text


async def test_a_form_of_a_thousand_windows_is_cut() -> None:
    draft = read_draft([(f"hours-{n}-start", "00:00") for n in range(1000)])
    assert len(draft.rows["hours"]) == MAX_WINDOWS + 1


async def test_servers_choose_projects_and_shares(visit: Visit) -> None:
    visit.owner.kept = msgspec.structs.replace(visit.owner.kept, refused=("dark/waves", "lab/unseen", "lab/factor"))
    shown = [("server", "lab"), ("shown", "factor"), ("shown", "render")]
    answer = await visit.post("server", [*shown, ("support", "factor"), ("share", "250")])
    assert answer.status == 303
    assert visit.owner.kept.refused == ("dark/waves", "lab/render", "lab/unseen")
    assert visit.owner.kept.shares == {"lab": 250}
    wrong = await visit.post("server", [*shown, ("share", "lots")])
    assert wrong.status == 400
    assert 'id="share-wrong"' in wrong.text
    assert "lots" in wrong.text
    assert (await visit.post("server", [("server", "nobody"), ("share", "1")])).status == 404


@given(st.text())
def test_any_text_is_a_number_or_none(text: str) -> None:
    number = as_number(text)
    assert number is None or 0 <= number < 1e13


PARTS = st.builds(Part, cores=st.integers(0, 1024), percent=st.integers(1, 100))
CLOCKS = st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.integers(0, 59))
WINDOWS = st.builds(
    Window, days=st.sets(st.sampled_from(DAYS), min_size=1).map(lambda found: tuple(sorted(found, key=DAYS.index))),
    start=CLOCKS, end=CLOCKS, part=st.none() | PARTS,
)  # fmt: skip


@given(
    st.builds(
        Preferences, idle=PARTS, in_use=PARTS, hours=st.lists(WINDOWS, max_size=4).map(tuple),
        idle_after_s=st.floats(1, 86400), disk_bytes=st.integers(0, 10**15), network_bytes_s=st.integers(0, 10**11),
        hottest_c=st.floats(0, 150),
    )
)  # fmt: skip
def test_preferences_that_only_look_rounded_stay_as_they_are(preferences: Preferences) -> None:
    draft = draft_of(preferences)
    changes = changes_of(draft, preferences)
    assert changes == {}


@pytest.mark.parametrize(
    ("rows", "covered"),
    [
        ([Row(days=("mon",), start="18:00", end="08:00")], {"mon": [(1080, 1440)], "tue": [(0, 480)]}),
        ([Row(days=("sun",), start="18:00", end="08:00")], {"sun": [(1080, 1440)], "mon": [(0, 480)]}),
        ([Row(days=("mon",), start="00:00", end="00:00")], {"mon": [(0, 1440)]}),
        (
            [Row(days=("mon",), start="08:00", end="10:00"), Row(days=("mon",), start="09:00", end="12:00")],
            {"mon": [(480, 720)]},
        ),
        ([Row(days=("mon",), start="", end="12:00"), Row(days=(), start="08:00", end="12:00")], {}),
    ],
)
def test_the_week_is_covered_as_windows_say(rows: list[Row], covered: dict[str, list[tuple[int, int]]]) -> None:
    assert {day: found for day, found in spans(rows).items() if found} == covered


def test_hours_are_said_in_one_line() -> None:
    windows = (Window(days=DAYS[:5], start="18:00", end="08:00"), Window(days=("sat",)), Window(end="06:00"))
    assert said(windows) == "Mon–Fri 18:00–08:00; Sat 00:00–24:00; every day 00:00–06:00"
