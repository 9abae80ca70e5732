"""The figures as tables, written into a document between the marks that name them: `<!-- simulated: long -->` and
`<!-- simulated end -->`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from simulator.report import Sum, select, sum_up
from simulator.scenarios import (
    FIXED,
    LEARN,
    OPTION_WORLDS,
    OPTIONS,
    SHARED,
    SHARES,
    WORLDS,
    Outcome,
    learners,
)  # fmt: skip

MARKED: Final = re.compile(r"(<!-- simulated: (\w+) -->\n).*?(<!-- simulated end -->)", re.DOTALL)

LEARNING: Final = (
    "world", "rule", "results", "accepted", "end (95 %)", "copies", "net credit (up to)", "refused after",
    "valid after",
)  # fmt: skip


def write(found: Sequence[Outcome], document: Path) -> None:
    """Replace what stands between the marks of a document; raises KeyError for a mark that names no table."""
    made = {
        "long": lambda: learning(found, "long"),
        "short": lambda: learning(found, "short"),
        "fixed": lambda: fixed(found),
        "shares": lambda: shares(found),
        "options": lambda: options(found),
    }
    text = document.read_text()
    document.write_text(MARKED.sub(lambda mark: f"{mark[1]}{made[mark[2]]()}\n{mark[3]}", text))


def learning(found: Sequence[Outcome], part: str) -> str:
    """Every world under the rules that learn."""
    rows: list[tuple[str, ...]] = [LEARNING]
    for world in WORLDS:
        for rule in learners(part, world):
            s = sum_up(select(found, part, world, rule))
            rows.append((world if rule == LEARN[0] else "", rule, f"{s.accepted:,}", *_cells(s)))
    return _table(rows)


def _cells(s: Sum) -> tuple[str, ...]:
    return (
        f"{s.at_acceptance:,.0f}",
        f"{s.end:,.0f} ({s.low:,.0f} to {s.high:,.0f})",
        f"{s.replicas:.3f}",
        f"{s.net:,.0f} ({s.net_high:,.0f})" if s.others else "",
        f"{s.to_detect:.0f}" if s.detected else "",
        f"{s.median_h:.1f} / {s.p99_h:.0f} h",
    )


def fixed(found: Sequence[Outcome]) -> str:
    """Every world under the rules that do not learn, at both sizes: wrong in the end, copies."""
    rows: list[tuple[str, ...]] = [("world", *[f"{rule}, {units}" for rule in FIXED for units in ("1,000", "100")])]
    for world in WORLDS:
        sums = [sum_up(select(found, part, world, rule)) for rule in FIXED for part in ("long", "short")]
        rows.append((world, *[f"{s.end:,.0f}; {s.replicas:.2f}" for s in sums]))
    return _table(rows)


def shares(found: Sequence[Outcome]) -> str:
    """What is wrong in the end where many collude."""
    rules = SHARED["colluders"]
    rows: list[tuple[str, ...]] = [("share", *rules, "they turn later")]
    for share in SHARES:
        sums = [sum_up(select(found, "share", "colluders", rule, share)) for rule in rules]
        sums.append(sum_up(select(found, "turn", "colluders", LEARN[0], share)))
        rows.append((f"{share:.0%}", *[f"{s.end:,.0f}" for s in sums]))
    return _table(rows)


def options(found: Sequence[Outcome]) -> str:
    """The other ways: wrong when accepted, in the end; copies."""
    rows: list[tuple[str, ...]] = [("way", *OPTION_WORLDS)]
    for rule in OPTIONS:
        sums = [sum_up(select(found, "option", world, rule)) for world in OPTION_WORLDS]
        rows.append((rule, *[f"{s.at_acceptance:,.0f}, {s.end:,.0f}; {s.replicas:.3f}" for s in sums]))
    return _table(rows)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head, *rest = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])
