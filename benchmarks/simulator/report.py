"""What the worlds say together: a table for people, and the figures."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec
from figures import figure, say

from simulator.intervals import between, most_wrong
from simulator.scenarios import (
    BESIDE,
    EVERY,
    LEARN,
    OPTION_WORLDS,
    OPTIONS,
    RATES,
    SHARED,
    SHARES,
    TURN,
    UNCLOSED,
    UNKNOWN,
    WORLDS,
    Outcome,
)  # fmt: skip

MILLION = 1e6
MORE_WASTE = 4.0


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """One world under one rule, over all seeds. Wrong results are per million; `net` is the credit that those who are
    not honest kept for wrong answers less what they lost of the rest, in units, all hosts together."""

    seeds: int
    hosts: int
    others: int
    accepted: int
    at_acceptance: float
    end: float
    low: float
    high: float
    replicas: float
    checks: float
    lost_leases: float
    net: float
    net_high: float
    detected: float
    to_detect: float
    convicted: int
    convicted_now: int
    honest: int
    median_h: float
    p99_h: float
    failed: int


def sum_up(found: Sequence[Outcome]) -> Sum:
    """Add up the seeds of one world under one rule."""
    accepted = sum(o.accepted for o in found) or 1
    dossiers = [d for o in found for d in o.dossiers]
    left = [d.left_wrong for d in dossiers]
    net = [d.kept - d.lost for d in dossiers]
    lied = [d for d in dossiers if d.lies]
    seen = [d.to_detect for d in lied if d.to_detect >= 0]
    wrong, early = sum(o.wrong for o in found), sum(o.wrong_at_acceptance for o in found)
    return Sum(
        seeds=len(found), hosts=found[0].job.hosts, others=len(dossiers), accepted=accepted,
        at_acceptance=MILLION * early / max(1, sum(o.acceptances for o in found)), end=MILLION * wrong / accepted,
        low=MILLION * between(left)[0] / accepted, high=MILLION * most_wrong(left, early) / accepted,
        replicas=sum(o.answers for o in found) / accepted, checks=sum(o.checks for o in found) / accepted,
        lost_leases=sum(o.leases - o.answers for o in found) / accepted, net=sum(net), net_high=between(net)[1],
        detected=len(seen) / len(lied) if lied else 0.0, to_detect=median(seen) if seen else 0.0,
        convicted=sum(o.honest_convicted for o in found), convicted_now=sum(o.honest_convicted_now for o in found),
        honest=sum(o.honest for o in found), median_h=median([o.median_wait_h for o in found]),
        p99_h=median([o.p99_wait_h for o in found]), failed=sum(o.failed for o in found),
    )  # fmt: skip


def select(found: Sequence[Outcome], part: str, world: str, rule: str, share: float = 0.0) -> list[Outcome]:
    """Return the outcomes of one world under one rule."""
    wanted = (part, world, rule, share)
    return [o for o in found if (o.job.part, o.job.world, o.job.rule, o.job.share) == wanted]


def cost_at(found: Sequence[Outcome], units: int) -> float:
    """Return copies computed per accepted result up to a number of units per host."""
    marks = [m for o in found for m in o.marks if m.units == units]
    return sum(m.answers for m in marks) / sum(m.accepted for m in marks) if marks else 0.0


def report(found: Sequence[Outcome]) -> None:
    """Print everything."""
    for part, units in (("long", 1000), ("short", 100)):
        say(f"\n{units:,} units per host. Wrong results per million, copies computed per accepted result:")
        say(HEAD)
        for world, (words, _) in WORLDS.items():
            say(f"{world}: {words}")
            for rule in (*EVERY, *BESIDE.get((part, world), ())):
                _row(rule, sum_up(select(found, part, world, rule)))
    _beside(found)
    for part, units in (("long", 1000), ("short", 100)):
        _figures(found, part, units)


HEAD = (
    f"  {'':30}{'seeds x hosts':>14}{'results':>9}{'taken':>8}{'end':>8}{'95 % interval':>18}"
    f"{'copies':>8}{'net credit':>11}"
    f"{'detected':>10}{'after':>7}{'honest convicted':>18}{'valid after':>15}"
)


def _row(rule: str, s: Sum) -> None:
    cells = [
        f"{f'{s.seeds} x {s.hosts}':>14}{s.accepted:9,}",
        f"{s.at_acceptance:8.0f}{s.end:8.0f}{f'{s.low:.0f} to {s.high:.0f}':>18}{s.replicas:8.3f}{s.net:11.0f}",
        f"{f'{s.detected:.0%}' if s.others else '':>10}{s.to_detect:7.0f}",
        f"{f'{s.convicted}/{s.convicted_now} of {s.honest}':>18}{f'{s.median_h:.1f}/{s.p99_h:.0f} h':>15}",
        f" +{s.checks:.4f} by the server" if s.checks else "",
        f" {s.failed} given up" if s.failed else "",
    ]
    say(f"  {rule:30}" + "".join(cells))


def _beside(found: Sequence[Outcome]) -> None:
    say("\nOther ways for DSage, 300 units per host:\n" + HEAD)
    for world in OPTION_WORLDS:
        say(world)
        for rule in OPTIONS:
            _row(rule, sum_up(select(found, "option", world, rule)))
    say("\nHow many may collude, 100 units per host:\n" + HEAD)
    for world, rules in SHARED.items():
        for share in SHARES:
            say(f"{share:.0%} {world}")
            for rule in rules:
                _row(rule, sum_up(select(found, "share", world, rule, share)))
    say(f"\nHow many who were honest for {TURN} answers may turn together, 300 units per host:\n" + HEAD)
    for share in SHARES:
        _row(f"{share:.0%} turn", sum_up(select(found, "turn", "colluders", "DSage", share)))
    say("\nHow often one lies, 10 % who are honest until trusted, 300 units per host:\n" + HEAD)
    for rate in RATES:
        say(f"{rate:.1%} of its answers")
        for rule in LEARN:
            _row(rule, sum_up(select(found, "rate", "sleepers", rule, rate)))
    say("\nHosts that come and go (most stay a few days), 300 units for each that is there:\n" + HEAD)
    for rule in LEARN:
        _row(rule, sum_up(select(found, "churn", "honest", rule)))


BARS = {"liars": 10.0, "colluders": 100.0}
NO_PROFIT = frozenset({"sleepers", "colluding sleepers", "rare liars"})


def _figures(found: Sequence[Outcome], part: str, units: int) -> None:
    for world in WORLDS:
        ours, boinc = [sum_up(select(found, part, world, rule)) for rule in LEARN]
        at = f"{world}, {units:,} units per host, {ours.seeds} seeds of {ours.hosts} hosts"
        if world == "honest":
            demanded = 1.05 if units == 1000 else 1.15
            figure(f"copies per accepted result: {at}", ours.replicas, "copies", bar=demanded,
                   peer=("BOINC's rule", boinc.replicas))  # fmt: skip
            without = sum_up(select(found, part, world, UNKNOWN))
            figure(f"copies per accepted result, without known answers: {at}", without.replicas, "copies")
            figure(f"time to validity, median: {at}", ours.median_h, "h", peer=("BOINC's rule", boinc.median_h))
            figure(f"time to validity, 99 %: {at}", ours.p99_h, "h", peer=("BOINC's rule", boinc.p99_h))
            continue
        peer = ("BOINC's rule", boinc.end)
        figure(f"wrong in the end: {at}", ours.end, "per million", bar=BARS.get(world, max(boinc.end, 0.0)), peer=peer)
        figure(f"wrong in the end, upper 95 % limit: {at}", ours.high, "per million", peer=("BOINC's rule", boinc.high))
        figure(f"wrong when accepted: {at}", ours.at_acceptance, "per million",
               peer=("BOINC's rule", boinc.at_acceptance))  # fmt: skip
        figure(f"more copies than BOINC's rule: {at}", 100 * (ours.replicas - boinc.replicas), "points", bar=MORE_WASTE)
        figure(f"net credit stolen: {at}", ours.net, "units", bar=0.0 if world in NO_PROFIT else None,
               peer=("BOINC's rule", boinc.net))  # fmt: skip
        figure(f"net credit stolen, upper 95 % limit: {at}", ours.net_high, "units")
        if UNCLOSED in BESIDE.get((part, world), ()):
            last = sum_up(select(found, part, world, UNCLOSED))
            figure(f"net credit stolen, last words unchecked: {at}", last.net, "units")
            figure(f"wrong in the end, last words unchecked: {at}", last.end, "per million")
        if UNKNOWN in BESIDE.get((part, world), ()):
            without = sum_up(select(found, part, world, UNKNOWN))
            figure(f"wrong in the end, without known answers: {at}", without.end, "per million")
        figure(f"answers until a lie was refused, median: {at}", ours.to_detect, "answers",
               peer=("BOINC's rule", boinc.to_detect))  # fmt: skip
        figure(f"honest hosts convicted in the end: {at}", ours.convicted_now, f"of {ours.honest}")
