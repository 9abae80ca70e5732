"""Values, numbers and results as people read them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from dsage import assets
from dsage.wire import RunView
from dsage_server.web import plain, show
from dsage_server.web.public import lines
from dsage_server.web.shapes import Factorisation, shape_of
from dsage_server.web.speech import FAST, Speech
from dsage_server.web.testing import World
from dsage_server.web.words import language

ENGLISH = Speech(language("en"))
GERMAN = Speech(language("de"))
SITE = show.Site("Test", assets.load(show.STATIC))
Client = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[Client]]

P30, P40 = 3 * 10**29 + 1, 10**40 + 121
FACTORED = {
    "n": 2**3 * 61 * P30, "factors": [[P30, 1], [2, 3], [61, 1]], "found_by": [[P30, 2]],
    "unfinished": [], "complete": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (60, "1 min"), (192, "3 min 12 s"), (7500, "2 h 5 min"),
     (7200, "2 h"), (90000, "1 d 1 h"), (86400 * 4000.0, "4,000 d"), (-1, "0.0 s")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert ENGLISH.lasting(seconds).replace(FAST, " ") == text


@pytest.mark.parametrize(
    "said",
    [ENGLISH.lasting(7500), ENGLISH.lasting(5), ENGLISH.ago(500.0, 0.0), ENGLISH.percent(0.5), ENGLISH.percent(1.0),
     GERMAN.lasting(90000), GERMAN.ago(90000.0, 0.0), ENGLISH.size(5), ENGLISH.size(3_200_000)],
)  # fmt: skip
def test_no_line_ends_between_a_number_and_its_unit(said: str) -> None:
    assert re.search(rf"\d{FAST}[a-z%]", said, re.IGNORECASE)
    assert not re.search(r"\d ", said)


@pytest.mark.parametrize(
    ("length", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1,0 kB"), (3_249_000, "3,2 MB"), (10**15, "1.000,0 TB")]
)
def test_sizes_are_written_as_the_language_does(length: int, text: str) -> None:
    assert GERMAN.size(length).replace(FAST, " ") == text


@pytest.mark.parametrize(("share", "text"), [(0, "0.0 %"), (0.99999, "99.9 %"), (1.0, "100 %"), (0.4317, "43.2 %")])
def test_a_hundred_per_cent_means_done(share: float, text: str) -> None:
    assert ENGLISH.percent(share).replace(FAST, " ") == text


def test_small_words() -> None:
    assert (ENGLISH.credit(2.5), ENGLISH.credit(12345.678)) == ("2.50", "12,345.7")
    assert [ENGLISH.credit(each) for each in (0.0, 0.002, -0.002, 0.0004)] == ["0.00", "0.002", "-0.002", "0.00"]
    assert (GERMAN.credit(12345.678), GERMAN.count(1000)) == ("12.345,7", "1.000")


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "nothing"), ([], "nothing"), ({}, "nothing"), (True, "flag"), (1, "integer"), (1.5, "real"), ("a", "text"),
     (b"a", "bytes"), ({"a": 1}, "pairs"), ([1, 2], "list"), ([[1, 2], [3, 4]], "rows"), ([[1, 2], [3]], "list"),
     ([{"a": 1}, {"a": 2}], "rows"), ([{"a": 1}, {"b": 2}], "list"), ([{"a": []}], "list"), ([[1], {"a": 1}], "list")],
)  # fmt: skip
def test_kinds_of_values(value: Any, kind: str) -> None:
    assert show.kind(value) == kind


@pytest.mark.parametrize(
    ("params", "text"),
    [({"n": "11^150+1", "k": 3}, "n = 11^150+1, k = 3"), ({"n": 10**4000}, ""), ({"n": "x" * 80}, ""), ([1], ""),
     ({"a": [1]}, "")],
)  # fmt: skip
def test_a_run_is_told_by_its_parameters_if_they_are_few(params: Any, text: str) -> None:
    assert plain.about(params) == text


def test_integers_of_any_size_have_digits_at_once() -> None:
    assert plain.decimal(10**10_000) == "1" + "0" * 10_000
    assert plain.digits_in(-(10**10_000)) == 10_001
    huge = 1 << (8 << 20)
    assert plain.decimal(huge).startswith("0x1")
    assert plain.digits_in(huge) == 2_525_223


def test_json_keeps_integers_exact() -> None:
    class Page(msgspec.Struct):
        value: Any

    text = plain.to_json("x/1", Page([2**53, 2**53 + 1, -(10**30), b"ab", True, float("nan")]))
    assert text == (
        b'{"schema":"x/1","data":{"value":[9007199254740992,"9007199254740993",'
        b'"-1000000000000000000000000000000","YWI=",true,null]}}'
    )


@pytest.mark.parametrize(
    ("value", "share"),
    [(0.5, 0.5), (7, 1.0), (-1, 0.0), (True, None), ("1", None), (float("nan"), None), (10**400, None), (None, None)],
)
def test_shares_that_authors_report_are_not_trusted(value: Any, share: float | None) -> None:
    assert plain.fraction(value) == share


def test_progress_that_is_no_progress_is_harmless() -> None:
    view = RunView(
        run=1, project="p", title="", app="a", state="running", created=0, finished=None, driver_seen=None, step=0,
        units={}, replicas={}, credit_milli=0, volunteers=0, progress=b"\xc1", result=None, reason="", params=b"\xc1",
    )  # fmt: skip
    line = lines.run_line(view)
    assert (line.title, line.phase, line.fraction, line.eta_s) == ("p", "", None, None)


def test_a_factorisation_is_known_by_its_shape() -> None:
    shape = shape_of(FACTORED)
    assert (shape.name, shape.units(FACTORED)) == ("factorisation", [2])
    made: Factorisation = shape.make(FACTORED, {2: "steady-otter-417"})
    assert [(factor.value, factor.power, factor.unit, factor.finder) for factor in made.primes] == [
        (2, 3, None, ""), (61, 1, None, ""), (P30, 1, 2, "steady-otter-417")
    ]  # fmt: skip


@pytest.mark.parametrize("unfinished", [[], False, [P40 * P30], [[P40 * P30, 2]]])
def test_the_check_lines_are_python_that_prints_true(unfinished: Any) -> None:
    n = 2**3 * 61
    for part in unfinished or ():
        n *= part[0] ** part[1] if isinstance(part, list) else part
    value = {"n": n, "factors": [[2, 3], [61, 1]], "unfinished": unfinished}
    said = StringIO()
    with redirect_stdout(said):
        exec(shape_of(value).make(value, {}).check, {})
    assert said.getvalue().split() == ["True", "True"]


def test_the_check_lines_of_a_number_too_long_for_decimal_literals_still_run() -> None:
    value = {"n": 2**20_000, "factors": [[2, 20_000]]}
    said = StringIO()
    with redirect_stdout(said):
        exec(shape_of(value).make(value, {}).check, {})
    assert said.getvalue().split() == ["True", "True"]


@pytest.mark.parametrize(
    "value",
    [None, 5, [], {}, {"n": 6}, {"n": "6", "factors": [[2, 1]]}, {"n": 6, "factors": [[2, True]]},
     {"n": 6, "factors": [[2]]}, {"n": 6, "factors": [], "found_by": {}}, {"n": 6, "factors": [], "unfinished": "x"}],
)  # fmt: skip
def test_what_only_resembles_a_factorisation_is_shown_as_it_is(value: Any) -> None:
    assert shape_of(value).name == "value"


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@settings(max_examples=40, deadline=None)
@given(values)
def test_any_value_can_be_shown(value: Any) -> None:
    text = SITE.page("results/value", {"made": value})
    assert not re.search(r"<(?!/?(span|small|dl|div|dt|dd|table|thead|tbody|tr|th|td|ul|li|p)\b)", text)


async def test_a_finished_factorisation_on_its_page(world: World, browse: Open) -> None:
    otter, wren = world.join("steady-otter-417"), world.join("brisk-wren-203")
    run = world.submit("Factor a number", n="8*61*p")
    units = world.step(run, args=[1, 2])
    world.compute(units[1], P30, otter, wren)
    world.step(run, finished=True, result=FACTORED)
    client = await browse()
    text = await (await client.get(f"/run/{run}")).text()
    assert re.search(r"steady-otter-417</strong>, <a href=\"/unit/2\">unit 2</a>", text)
    assert "<sup>3</sup>" in text
    assert "from math import prod" in text
    assert "no longer needed" in text
    data = (await (await client.get(f"/run/{run}.json")).json())["data"]
    assert data["result"]["value"]["factors"][0] == [str(P30), 1]
    assert data["finders"] == [{"unit": 2, "pseudonym": "steady-otter-417"}]
    assert data["run"]["fraction"] == 1.0


async def test_other_results_and_too_large_ones_have_pages(world: World, browse: Open) -> None:
    small, large, failed = world.submit("Small"), world.submit("Large"), world.submit("Failed")
    world.step(small, finished=True, result={"sum": 15, "parts": [{"i": 1, "v": "<i>"}]})
    world.step(large, finished=True, result="x" * plain.MAX_VALUE_BYTES)
    world.step(failed, failed="unit `a` failed")
    client = await browse()
    text = await (await client.get(f"/run/{small}")).text()
    assert "&lt;i&gt;" in text
    assert "<code>dsage results 2</code> fetches them" in await (await client.get(f"/run/{large}")).text()
    assert "<code>a</code>" in await (await client.get(f"/run/{failed}")).text()


def test_vendored_files_are_what_the_readme_says() -> None:
    readme = (show.STATIC / "README.md").read_text()
    for checksum, name in re.findall(r"sha256 +([0-9a-f]{64}) +(\S+)", readme):
        assert hashlib.sha256((show.STATIC / name).read_bytes()).hexdigest() == checksum


def test_no_template_switches_escaping_off() -> None:
    for path in show.TEMPLATES.rglob("*.html"):
        assert not re.search(r"\|\s*safe|autoescape|Markup", path.read_text()), path
