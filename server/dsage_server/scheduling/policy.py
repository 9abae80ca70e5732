"""Which ready units a host gets: a pure decision over values.

1. A host gets no more than its record allows: the limit grows with validated work and shrinks with failures.
2. Runs take turns by fair shares over researchers, then projects and runs; the work handed out of late counts.
   Priority orders the runs of one researcher (shares.py).
3. Of the run whose turn it is, units are passed over that the host cannot do: platform, features of its client,
   packages, tags, memory, disk (fitting.py), and time.
4. Units are passed over of which the host's volunteer or its kin has a copy, or which it has failed repeatedly.
5. Copies that came back go first, then units in the order their driver made them (line.py); second copies, and those
   that decide between answers, stand anywhere among the first of these (ready.py).
6. The last copies of a run wait a while for fast, reliable hosts (tail.py).
7. What the run lacks for a full call comes from the next one.
8. A host gets nothing of the projects that its owner refuses.
9. Of a run for newcomers a host gets one unit, before anything it computed was found right, and never another.

What was chosen is out of the queue at once. A host that gets nothing is told why, in words, for each project.
"""

from __future__ import annotations

from typing import Final

from dsage_server.scheduling.fitting import HostView
from dsage_server.scheduling.line import Entry, Lane, RunQueue
from dsage_server.scheduling.ready import ReadyQueue
from dsage_server.scheduling.shares import FairShare
from dsage_server.scheduling.tail import Tail
from dsage_server.scheduling.terms import NEWCOMER, Choice, HostOffer, Needs, ReadyUnit, RunTerms

__all__ = [
    "Choice", "FairShare", "HostOffer", "HostView", "Needs", "ReadyQueue", "ReadyUnit", "RunTerms", "choose", "hungry",
]  # fmt: skip

RESERVE: Final = 1
"""Ready copies kept for each copy that live hosts can hold, so that a report is answered with work at once."""
RESERVE_FLOOR: Final = 2

SPENT: Final = (
    "too many units came back from this computer unanswered, wrong, or not at all; it gets more as time goes by"
)
IDLE: Final = "no work is waiting"
_SENTENCES: Final = {
    "you have a copy of each waiting unit already: another volunteer must confirm": (
        "every waiting unit needs another volunteer: you have a copy of each already"
    ),
    "each waiting unit has a copy of yours, or of one who shares your network, day of joining or team link": (
        "every waiting unit has a copy of yours, or of a volunteer who shares your network, day of joining or team "
        "link: another must confirm"
    ),
    "its last units go to faster computers now": "the last units of a run go to faster computers now",
    "its units want a faster computer": "the waiting units want a faster computer",
    "its run is paused": "the runs that have work are paused by their researchers",
    "its units failed just now, and rest": "the waiting units failed just now, and rest a while",
    "you refuse it": "you refuse the projects that have work",
}
BARRED, KIN, LAST, SLOW, PAUSED, RESTING, REFUSED = _SENTENCES
NOTHING: Final = "no unit waits"
MAX_SENTENCES: Final = 3
MAX_PAUSED: Final = 20


def choose(ready: ReadyQueue, shares: FairShare, host: HostView, want: int, now: float) -> Choice:
    """Return up to `want` units for a host and take these copies out of the queue; `now` is in seconds."""
    want = min(want, limit) if (limit := host.record.allowed(now)) else 0
    if want < 1:
        return Choice(volunteer=host.volunteer, reason="" if limit else SPENT)
    ready.tail.note(host, now)
    _bring_up_to_date(ready, shares)
    taken: list[Entry] = []
    charges: list[tuple[int, int]] = []
    empty: list[int] = []
    why: dict[tuple[str, str], None] = {}
    for number in shares.order():
        run = ready.runs[number]
        if not run.copies:
            empty.append(number)
            continue
        if run.terms.project in host.offer.refuses:
            why[run.terms.project, REFUSED] = None
            continue
        most = want - len(taken)
        if NEWCOMER in run.terms.tags:
            if not host.record.new:
                continue
            most = 1
        passed = host.passed.get(number)
        if passed is not None and passed[0] == run.newest:
            why[passed[1]] = None
            continue
        found, words = _of_run(run, ready.tail, host, most, now)
        if found:
            charges.append((number, sum([entry.unit.credit_milli for entry in found])))
            taken += found
            if len(taken) >= want:
                break
        else:
            why[run.terms.project, words] = None
            if words not in (LAST, SLOW):
                host.remember(number, run.newest, (run.terms.project, words))
    for number in empty:
        shares.leave(number)
    for number, credit_milli in charges:
        shares.charge(number, credit_milli, now)
    if not taken:
        return _nothing(ready, host.volunteer, why)
    ready.reserve(taken, host.volunteer)
    return Choice(volunteer=host.volunteer, copies=tuple([entry.unit for entry in taken]))


def fair(want: int, unsent: int, idle: int) -> int:
    """Return how many copies a host may have of `unsent` while `idle` others wait for some: no hoard for later, as long
    as there are fewer than enough."""
    return min(want, -(-unsent // (idle + 1))) if unsent else want


def hungry(capacity: int, unsent: int) -> int:
    """Return how many more units drivers should make, given how many copies live hosts can hold at once."""
    return max(0, capacity * RESERVE + RESERVE_FLOOR - unsent)


def _bring_up_to_date(ready: ReadyQueue, shares: FairShare) -> None:
    for number in ready.ended:
        shares.forget(number)
    ready.ended.clear()
    for terms in ready.woken.values():
        shares.enter(terms)
    ready.woken.clear()


def _of_run(run: RunQueue, tail: Tail, host: HostView, want: int, now: float) -> tuple[list[Entry], str]:
    """Return up to `want` entries of one run for a host, or why there are none."""
    lanes: list[Lane] = []
    words = ""
    for lane in run.lanes.values():
        if not lane.first.alive and not lane.rest.alive:
            continue
        lack = host.lacks(lane)
        if lack:
            words = words or "needs " + lack
        elif lane.needs.wall_s and tail.too_slow(host, lane, now):
            words = SLOW
        else:
            lanes.append(lane)
    if not lanes:
        return [], words
    if len(lanes) > 1:
        lanes.sort(key=Lane.oldest)
    if tail.near(run, now) and tail.slow(host, now):
        return _of_tail(lanes, tail, host, want, now)
    found: list[Entry] = []
    for line in [lane.first for lane in lanes] + [lane.rest for lane in lanes]:
        if line.alive:
            found += line.find(host.volunteer, want - len(found), host.offer.kin)
            if len(found) >= want:
                break
    return found, KIN if host.offer.kin else BARRED


def _of_tail(lanes: list[Lane], tail: Tail, host: HostView, want: int, now: float) -> tuple[list[Entry], str]:
    """Return what a slow host gets of a run at its end: what no better one is likely to take soon."""
    found: list[Entry] = []
    words = KIN if host.offer.kin else BARRED
    for lane in lanes:
        for entry in (*lane.first, *lane.rest):
            if not entry.open_to(host.volunteer, host.offer.kin):
                continue
            if tail.patient(entry, now) and tail.awaited(entry, lane, now):
                words = LAST
            elif len(found) < want:
                found.append(entry)
    return found, words


def _held_back(ready: ReadyQueue) -> dict[str, str]:
    """Return why the units of a project are not handed out, by project: its run was paused, or they failed just now."""
    found = dict.fromkeys(sorted(ready.paused.values())[:MAX_PAUSED], PAUSED)
    if ready.resting:
        runs = (ready.runs.get(number) for number in ready.resting.runs())
        found |= {run.terms.project: RESTING for run in runs if run is not None}
    return found


def _nothing(ready: ReadyQueue, volunteer: int, why: dict[tuple[str, str], None]) -> Choice:
    sentences = {_SENTENCES.get(words, f"the waiting units {words.replace('needs', 'need', 1)}") for _, words in why}
    reasons: dict[str, list[str]] = {}
    for project, words in why:
        reasons.setdefault(project, []).append(words)
    held = _held_back(ready) if not why else {}
    for project, words in held.items():
        reasons.setdefault(project, [words])
        sentences.add(_SENTENCES[words])
    for project in ready.projects:
        reasons.setdefault(project, [NOTHING])
    return Choice(
        volunteer=volunteer,
        reason="; ".join(sorted(sentences)[:MAX_SENTENCES]) or IDLE,
        reasons=tuple([(project, "; ".join(words[:MAX_SENTENCES])) for project, words in reasons.items()]),
    )
