"""Where copies of a run failed: by computer, by platform and by reason, and whose fault that looks like.

A two-way table tells the code from the computers: units that fail on many computers are at fault themselves, or their
code is; a computer that fails many units is (docs/trust.md). Pure: it takes how copies ended, and counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import msgspec

from dsage.states import ReplicaState
from dsage_server.store.looking import Sent

BAD: Final = frozenset({ReplicaState.ERROR, ReplicaState.INVALID, ReplicaState.EXPIRED})
FEW: Final = 3
"""So few failures say nothing of whose fault they are."""
MOST: Final = 0.5
"""A computer that fails more than this share of its copies stands out, if the others ..."""
LITTLE: Final = 0.25
"""... fail less than this part of that share of theirs."""
ROWS: Final = 25
REASONS: Final = 6
"""Columns; rarer reasons are counted together."""

Verdict = Literal["none", "few", "computer", "platform", "units", "spread"]


class Row(msgspec.Struct, kw_only=True):
    """Copies of one computer, platform or version. `error`, `wrong` and `late` are those that failed, disagreed or came
    too late; `units` is how many different units that were."""

    name: str
    copies: int = 0
    valid: int = 0
    error: int = 0
    wrong: int = 0
    late: int = 0
    units: int = 0

    @property
    def bad(self) -> int:
        """How many failed in any way."""
        return self.error + self.wrong + self.late


class Cross(msgspec.Struct, kw_only=True):
    """A reason by platform: `counts` in the order of `Failures.platforms_named`."""

    reason: str
    counts: list[int]


class Failures(msgspec.Struct, kw_only=True):
    """How the copies ended that were looked at; computers and platforms with most failures first.

    `verdict` says whose fault it looks like, and `about` how the computer or platform is called. `shared` units failed
    on more than one computer.
    """

    copies: int = 0
    bad: int = 0
    verdict: Verdict = "none"
    about: str = ""
    shared: int = 0
    computers: list[Row] = []
    more_computers: int = 0
    platforms: list[Row] = []
    platforms_named: list[str] = []
    reasons: list[Cross] = []


def failures(sent: Sequence[Sent], name: Callable[[int], str]) -> Failures:
    """Return how copies failed; `name` is what a host is called."""
    bad = [copy for copy in sent if copy.state in BAD]
    computers = [row for row in _rows(sent, lambda copy: name(copy.host)) if row.bad]
    platforms = _rows(sent, lambda copy: copy.platform or "?")
    named = [row.name for row in platforms if row.bad]
    found = Failures(
        copies=len(sent), bad=len(bad), computers=computers[:ROWS], more_computers=max(len(computers) - ROWS, 0),
        platforms=platforms, platforms_named=named, reasons=_reasons(bad, named), shared=_shared(bad),
    )  # fmt: skip
    found.verdict, found.about = _verdict(found)
    return found


def _rows(sent: Iterable[Sent], of: Callable[[Sent], str]) -> list[Row]:
    rows: dict[str, Row] = {}
    units: dict[str, set[int]] = defaultdict(set)
    for copy in sent:
        which = of(copy)
        row = rows.setdefault(which, Row(name=which))
        row.copies += 1
        row.valid += copy.state == ReplicaState.VALID
        row.error += copy.state == ReplicaState.ERROR
        row.wrong += copy.state == ReplicaState.INVALID
        row.late += copy.state == ReplicaState.EXPIRED
        if copy.state in BAD:
            units[which].add(copy.unit)
    for which, row in rows.items():
        row.units = len(units[which])
    return sorted(rows.values(), key=lambda row: (-row.bad, -row.copies, row.name))


def _reasons(bad: Iterable[Sent], platforms: Sequence[str]) -> list[Cross]:
    """Return reasons by platform, the most frequent first, the rare ones as one row."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * len(platforms))
    for copy in bad:
        counts[_reason(copy)][platforms.index(copy.platform or "?")] += 1
    ordered = sorted(counts.items(), key=lambda each: (-sum(each[1]), each[0]))
    found = [Cross(reason=reason, counts=each) for reason, each in ordered[:REASONS]]
    if rest := ordered[REASONS:]:
        found.append(Cross(reason="others", counts=[sum(each) for each in zip(*(row for _, row in rest), strict=True)]))
    return found


def _reason(copy: Sent) -> str:
    if copy.state == ReplicaState.INVALID:
        return "wrong answer"
    if copy.state == ReplicaState.EXPIRED:
        return "no answer in time"
    return copy.code or "error"


def _shared(bad: Iterable[Sent]) -> int:
    hosts: dict[int, set[int]] = defaultdict(set)
    for copy in bad:
        hosts[copy.unit].add(copy.host)
    return sum(len(those) > 1 for those in hosts.values())


def _verdict(found: Failures) -> tuple[Verdict, str]:
    """Say whose fault the failures look like: of a unit's code before anybody's computer."""
    if not found.bad:
        return "none", ""
    if found.bad < FEW:
        return "few", ""
    failed = sum(row.units for row in found.computers)
    if found.shared and 2 * found.shared >= failed / 2:
        return "units", ""
    for worst in found.computers:
        copies, bad = found.copies - worst.copies, found.bad - worst.bad
        if worst.units >= FEW and worst.bad > MOST * worst.copies and bad * worst.copies < LITTLE * worst.bad * copies:
            return "computer", worst.name
    others = sum(row.valid for row in found.platforms[1:])
    first = found.platforms[0]
    if len(found.platforms) > 1 and first.bad > 0.9 * found.bad and others >= first.valid / 10:
        return "platform", first.name
    return "spread", ""
