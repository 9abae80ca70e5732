"""The simulated world goes by the real code: what must come out of small worlds, and what is printed and drawn."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from random import Random

import msgspec
import pytest
from msgspec.structs import replace
from simulator import adversaries, plots, report, tables
from simulator.__main__ import main
from simulator.intervals import between, most_wrong
from simulator.rules import Boinc, Ours, Rule
from simulator.scenarios import OPTIONS, TINY, UNWATCHED, WORLDS, Job, Outcome, jobs, outcome
from simulator.tally import Tally
from simulator.world import Setting, World

from dsage.states import ReplicaState, UnitState
from dsage_server.scheduling import ready

LIARS = ((partial(adversaries.Liar, 0.3), 0.2),)
COLLUDERS = ((partial(adversaries.Colluder, 1.0), 0.2),)
SLEEPERS = ((partial(adversaries.Sleeper, 1.0), 0.2),)


def gone(rule: Rule, others: object = (), *, hosts: int = 15, units: int = 40, seed: int = 3) -> tuple[World, Tally]:
    world = World(Setting("tried", hosts, units, others), rule, seed)  # type: ignore[arg-type]
    return world, world.run()


@pytest.mark.parametrize("rule", [Ours, Boinc, partial(Rule, 2)])
def test_a_seed_makes_a_world(rule: type[Rule]) -> None:
    one, other = [gone(rule(), LIARS)[1] for _ in range(2)]
    assert (one.answers, one.wrong, one.days, one.marks) == (other.answers, other.wrong, other.days, other.marks)
    assert one.days != gone(rule(), LIARS, seed=4)[1].days


@pytest.mark.parametrize("quorum", [1, 2, 3])
def test_a_fixed_quorum_costs_what_it_says_whoever_answers(quorum: int) -> None:
    _, tally = gone(Rule(quorum))
    assert (tally.accepted, tally.wrong, tally.failed) == (600, 0, 0)
    assert quorum <= tally.answers / tally.accepted < quorum + 0.2
    assert tally.leases >= tally.answers


def test_without_checking_every_lie_is_taken() -> None:
    world, tally = gone(Rule(1), LIARS)
    canonical = {unit.canonical for unit in world.units}
    assert tally.wrong == len(canonical & world.lies.keys()) > 5
    assert sum(d.left_wrong for d in tally.dossiers) == tally.wrong


def test_colluders_are_convicted_and_what_they_had_taken_is_asked_again() -> None:
    world, tally = gone(Ours(), COLLUDERS, units=80)
    assert tally.wrong == 0
    assert all(d.convicted for d in tally.dossiers)
    assert tally.honest_convicted_now == 0
    assert gone(Rule(2), COLLUDERS, units=80)[1].wrong > 20
    assert len(world.hosts) == 15


def test_sleepers_lie_only_when_trusted_and_what_they_alone_said_is_reopened() -> None:
    _, tally = gone(Ours(), SLEEPERS, units=150)
    assert tally.wrong_at_acceptance > 0
    assert tally.reopened >= tally.wrong_at_acceptance - tally.wrong > 0
    assert gone(Boinc(), SLEEPERS, units=150)[1].wrong > 5 * tally.wrong


def test_sybils_come_back_and_kin_do_not_confirm_each_other_while_new() -> None:
    sybils = ((partial(adversaries.Sybil, 1.0), 0.3),)
    world, tally = gone(Ours(pairing=True), sybils, units=80)
    assert len(world.hosts) > 15
    assert tally.wrong_at_acceptance == 0
    assert gone(Ours(), sybils, units=80)[1].wrong_at_acceptance > 0


def test_the_server_s_own_checks_are_counted_apart_and_find_what_nobody_else_would() -> None:
    _, tally = gone(Ours(spot=1.0), COLLUDERS)
    assert tally.checks >= tally.accepted
    assert (tally.wrong, tally.honest_convicted) == (0, 0)


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - {"DSage", "DSage, kin kept apart", UNWATCHED}))
def test_every_option_makes_a_difference(name: str) -> None:
    usual, other = [outcome(Job("option", "colluding sleepers", rule, 20, 60, 1)) for rule in ("DSage", name)]
    assert usual.answers != other.answers


def test_checking_everybody_s_last_word_finds_who_lied_at_the_end_of_a_run() -> None:
    plotters = ((partial(adversaries.Conspirator, 0.4), 0.2),)
    rules = [Ours(closing=closing, known=0.0) for closing in (False, True)]
    usual, checked = [gone(rule, plotters, hosts=30, units=60, seed=4)[1] for rule in rules]
    assert usual.wrong > checked.wrong
    assert usual.answers < checked.answers < usual.answers * 1.1
    assert sum(d.kept for d in checked.dossiers) < sum(d.kept for d in usual.dossiers)


def test_one_who_contradicts_an_answer_taken_alone_is_heard() -> None:
    world, tally = gone(Ours(), SLEEPERS, hosts=30, units=60)
    overruled = [u for u in world.units if u.state is UnitState.VALID and u.replicas[0].state is ReplicaState.INVALID]
    assert overruled
    assert not world.contested
    assert (tally.accepted, tally.wrong) == (1800, sum(u.canonical in world.lies for u in world.units))


def test_hosts_that_leave_are_replaced() -> None:
    world = World(Setting("churn", 15, 60, life_days=0.5), Ours(), 1)
    assert world.run().accepted == 900
    assert len(world.hosts) > 20


def test_boinc_trusts_after_ten_checked_answers_and_forgets_everything_after_a_wrong_one() -> None:
    world, _ = gone(Boinc(), LIARS, units=60)
    honest = [h.streak for h in world.hosts if h.behaviour.honest]
    assert sum(streak >= 10 for streak in honest) > 8
    assert all(h.streak < 10 for h in world.hosts if not h.behaviour.honest)


def test_what_each_of_them_answers() -> None:
    rng = Random(1)
    assert adversaries.Sleeper(1.0).answer(1, False, rng) == adversaries.RIGHT
    assert adversaries.Sleeper(1.0).answer(1, True, rng) != adversaries.Sleeper(1.0).answer(1, True, rng)
    assert adversaries.Conspirator(1.0).answer(1, True, rng) == adversaries.Colluder(1.0).answer(1, False, rng)
    turncoat = adversaries.Turncoat(1.0, 2)
    assert [turncoat.answer(1, True, rng) for _ in range(4)] == [adversaries.RIGHT] * 2 + [adversaries.SAME_LIE] * 2
    ring = [adversaries.Copier(0.3).answer(unit, False, Random(unit)) for unit in range(300)]
    assert ring == [adversaries.Copier(0.3).answer(unit, True, rng) for unit in range(300)]
    assert 60 < sum(value != adversaries.RIGHT for value in ring) < 120
    assert adversaries.Constant(1.0).answer(1, False, rng) == adversaries.Constant(1.0).answer(2, True, rng)
    farmed = [adversaries.Farmer(0.8).answer(1, False, rng) for _ in range(500)]
    assert 60 < farmed.count(adversaries.RIGHT) < 140


def test_accomplices_know_who_has_the_second_copy_where_it_goes_to_the_next_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So it was once: they confirmed each other's lies, and kept them."""
    three = ((partial(adversaries.Accomplices, 1.0), 0.06),)
    _, mixed = gone(Ours(), three, hosts=50, units=200, seed=1)
    monkeypatch.setattr(ready, "CROWD", 10**9)
    _, in_order = gone(Ours(), three, hosts=50, units=200, seed=1)
    assert in_order.wrong > 20 > 2 >= mixed.wrong


def test_known_answers_are_checks_that_nobody_else_answers() -> None:
    usual, more = [gone(Ours(known=known), hosts=30, units=100)[1] for known in (0.0, 0.05)]
    assert usual.accepted == more.accepted == 3000
    assert usual.answers + 20 < more.answers < usual.answers * 1.06


def test_who_answers_too_fast_stands_out_and_is_checked_more_often_and_nobody_honest_does() -> None:
    farmers = ((partial(adversaries.Farmer, 0.5), 0.05),)
    world, tally = gone(Ours(watch=True), farmers, hosts=40, units=120)
    assert {h.number for h in world.hosts if h.odd} == {h.number for h in world.hosts if not h.behaviour.honest}
    assert tally.accepted == 4800


def test_cherry_pickers_hand_long_units_back() -> None:
    world, tally = gone(Rule(1), ((partial(adversaries.Picker, 0.0), 0.5),), hosts=6)
    assert tally.accepted == 240
    pickers = {h.number for h in world.hosts if not h.behaviour.honest}
    done = [u.id for u in world.units for r in u.replicas if r.id == u.canonical and r.host in pickers]
    assert 0 < max(world.size_milli[unit] for unit in done) <= adversaries.Picker.most_milli < max(world.size_milli)


def test_how_sure_a_count_is() -> None:
    low, high = between([0.0] * 90 + [10.0] * 10)
    assert 30 <= low < 100 < high <= 180
    assert most_wrong([], 5) == 0.0
    assert most_wrong([0] * 100, 0) == 3.0
    assert most_wrong([0] * 100, 400) == 12.0
    assert most_wrong([5], 5) == 5.0


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """One small world in the place of every other."""
    honest = outcome(Job("long", "honest", "DSage", 5, 30, 1))
    one = outcome(Job("long", "colluders", "DSage", 10, 30, 1))
    return [replace(honest if job.world == "honest" else one, job=job) for job in jobs(TINY)]


def test_every_figure_is_printed(outcomes: list[Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    report.report(outcomes)
    figures = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    bars = {f["figure"].split(",")[0]: f["bar"] for f in figures if f["bar"] is not None}
    assert bars["copies per accepted result: honest"] == 1.15
    assert bars["wrong in the end: liars"] == 10.0
    assert bars["wrong in the end: colluders"] == 100.0
    assert bars["net credit stolen: sleepers"] == 0.0
    assert bars["more copies than BOINC's rule: copiers"] == 4.0


def test_pictures_are_drawn_of_everything(outcomes: list[Outcome], tmp_path: Path) -> None:
    plots.draw(outcomes, tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == ["trust-colluders.svg", "trust-cost.svg", "trust-rates.svg", "trust-worlds.svg"]
    for path in tmp_path.iterdir():
        root = ET.fromstring(path.read_text())
        assert "prefers-color-scheme: dark" in (root.find("{*}style").text or "")  # type: ignore[union-attr]
        assert len(root.findall("{*}circle")) > 6


def test_a_run_that_was_cut_short_goes_on(
    outcomes: list[Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.jsonl"
    churn = [each for each in outcomes if each.job.part == "churn"]
    kept.write_bytes(b"".join([msgspec.json.encode(each) + b"\n" for each in outcomes if each not in churn[1:]]))
    monkeypatch.setattr("sys.argv", ["simulator", "--tiny", "--keep", str(kept), "--processes", "1"])
    main()
    assert "1 worlds on 1 processes" in capsys.readouterr().err
    assert len(kept.read_bytes().splitlines()) == len(outcomes)


def test_tables_are_written_between_their_marks(outcomes: list[Outcome], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    names = ("long", "short", "fixed", "shares", "options")
    page.write_text(
        "before\n" + "\n".join(f"<!-- simulated: {n} -->\nold\n<!-- simulated end -->" for n in names) + "\nafter"
    )
    tables.write(outcomes, page)
    once = page.read_text()
    assert once.startswith("before\n")
    assert once.endswith("\nafter")
    assert "old" not in once
    for world in WORLDS:
        assert once.count(f"| {world} |") >= 3
    tables.write(outcomes, page)
    assert page.read_text() == once
    page.write_text("<!-- simulated: nothing -->\n<!-- simulated end -->")
    with pytest.raises(KeyError):
        tables.write(outcomes, page)
