"""What is odd about a host beside all others: too fast, too regular, or confirmed by the same few again and again.

None of it is a lie that was proven, and nobody is convicted by it. A host that stands out is checked more often, and
the operator reads why.

Everything is measured against the other hosts of the same app version: "far" is in robust standard deviations (the
median absolute deviation, times 1.4826, is one of a normal distribution), and "often" by the exact tail of a binomial
distribution whose share is `SLACK` times that of the others. The level is parted among all hosts that are looked at
(Bonferroni), so that of a thousand honest ones all pass.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import Final

import msgspec

LEVEL: Final = 0.01
"""The chance that one look at all hosts finds anything of a kind, if they are all honest."""
SLACK: Final = 3.0
"""What happens three times as often as with others may have reasons: hosts differ, and work comes in batches."""
PEOPLE: Final = 8
"""Volunteers whose hosts must be known to compare with: a few are no crowd."""
FEWEST: Final = 20
"""Answers of a host without which its speed and its regularity are not judged."""

LEAST_REFERENCE_S: Final = 0.5
"""Units that are shorter say little of speed."""
LEAST_TOOK_S: Final = 0.01
FAR_BITS: Final = 3.0
"""Eight times as fast as others is the least that is too fast, however alike these are."""
FAR_DEVIATIONS: Final = 5.0
LEAST_SCALE: Final = 0.3
OWN_BITS: Final = 2.0
"""A host may be four times as fast as others in everything it does: that is a fast computer."""
FAST_SHARE: Final = 0.2

SAME_TIME: Final = 1e-4
"""Two times within this share of each other are the same: clocks tick more finely, and processors do not."""
REGULAR_SHARE: Final = 0.8
OTHERS_SHARE: Final = 0.5
"""Where so many answers of the middle host are the same, it lies in the work."""

RING: Final = 4
"""So many partners at most are looked at together."""
MEETINGS: Final = 5


class Kind(StrEnum):
    """What is odd."""

    FAST = "fast"
    REGULAR = "regular"
    PARTNERS = "partners"
    FAILING = "failing"
    """Units fail on this host that others answer."""
    MEMORY = "memory"
    """It crashes, and now and then it is wrong in a way of its own: its memory may be faulty."""
    DIFFER = "differ"
    """Of an app version: answers of hosts that are otherwise right are not the same."""
    BROKEN = "broken"
    """Of an app version: it fails on most hosts."""


CHECKED: Final = frozenset({Kind.FAST, Kind.REGULAR, Kind.PARTNERS})
"""What raises the share of a host's units that is checked."""
AUDIT: Final = 0.3
"""That share while a host stands out."""


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    """Something odd: `sentence` says why to a person, `figures` what was measured. `host` is 0 if it is the app version
    that is odd on all hosts, `app` is "" if it is the host with all of them."""

    host: int
    app: str
    kind: Kind
    sentence: str
    figures: Mapping[str, float]


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One answer that was found right. `took_s` is its processor time, or the time from lease to report if that is
    less: nobody can have computed for longer. `call` names the call in which it was leased, `partners` are the
    volunteers who said the same."""

    reference_s: float
    took_s: float
    value: str
    call: float = 0.0
    partners: tuple[int, ...] = ()


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The latest answers of a host with an app version, the oldest first."""

    host: int
    volunteer: int
    app: str
    answers: tuple[Answer, ...]


def outliers(profiles: Sequence[Profile]) -> list[Sign]:
    """Return what is odd among hosts, each measured by the others."""
    level = LEVEL / max(1, len(profiles))
    apps: defaultdict[str, list[Profile]] = defaultdict(list)
    for each in profiles:
        apps[each.app].append(each)
    crowds = [those for those in apps.values() if len({each.volunteer for each in those}) >= PEOPLE]
    found = _fast(crowds, level)
    for those in crowds:
        found += _same_times(those, level / 2) + _same_values(those, level / 2) + _same_partners(those, level)
    return found


def tail(n: int, k: int, share: float) -> float:
    """Return the chance of `k` or more of `n`, if each comes with this one: the binomial distribution's exact tail."""
    if k <= 0:
        return 1.0
    if k > n or share <= 0.0:
        return 0.0
    if share >= 1.0:
        return 1.0
    up, down = math.log(share), math.log1p(-share)
    return min(1.0, math.fsum([math.exp(_log_choose(n, i) + i * up + (n - i) * down) for i in range(k, n + 1)]))


def deviation(values: Sequence[float]) -> float:
    """Return the robust standard deviation of some values."""
    middle = median(values)
    return 1.4826 * median([abs(value - middle) for value in values])


def often(n: int, k: int, others: float) -> float:
    """Return the chance of `k` or more of `n` where that is no more than SLACK times the others' share."""
    return tail(n, k, min(0.99, SLACK * others))


def rest(k: int, n: int, of_k: int, of_n: int) -> float:
    """Return the share that is left of a sum when one host's part is taken out, never none."""
    return (of_k - k + 1) / (of_n - n + 2)


# -- too fast ---------------------------------------------------------------------------------------------------------


def _fast(crowds: Sequence[Sequence[Profile]], level: float) -> list[Sign]:
    speeds = {profiles[0].app: _slowness(profiles) for profiles in crowds}
    usual: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for app, of in speeds.items():
        for host, values in of.items():
            usual[host][app] = median(values)
    found = []
    for profiles in crowds:
        app = profiles[0].app
        of = speeds[app]
        scale = max(LEAST_SCALE, deviation([value for values in of.values() for value in values] or [0.0]))
        far = max(FAR_BITS, FAR_DEVIATIONS * scale)
        counts = {host: sum(v - _own(usual[host], app) <= -far for v in values) for host, values in of.items()}
        of_k, of_n = sum(counts.values()), sum(map(len, of.values()))
        for host, k in counts.items():
            n = len(of[host])
            if n < FEWEST or k < FAST_SHARE * n or often(n, k, rest(k, n, of_k, of_n)) > level:
                continue
            middle = median(of[host])
            sentence = (
                f"{k} of {n} answers came at least {2**far:.0f} times as fast as the same work takes other computers"
            )
            figures = {"fast": k, "of": n, "times": round(2**-middle, 1), "z": round(middle / scale, 1)}
            found.append(Sign(host=host, app=app, kind=Kind.FAST, sentence=sentence, figures=figures))
    return found


def _slowness(profiles: Sequence[Profile]) -> dict[int, list[float]]:
    """Return of each host how slow each answer was beside those of other hosts to units of the same size: in bits."""
    sizes: defaultdict[int, dict[int, list[float]]] = defaultdict(dict)
    for each in profiles:
        for answer in each.answers:
            if answer.reference_s >= LEAST_REFERENCE_S:
                pace = math.log2(max(answer.took_s, LEAST_TOOK_S) / answer.reference_s)
                sizes[round(math.log2(answer.reference_s))].setdefault(each.host, []).append(pace)
    found: defaultdict[int, list[float]] = defaultdict(list)
    for hosts in sizes.values():
        if len(hosts) >= PEOPLE:
            middle = median([median(paces) for paces in hosts.values()])
            for host, paces in hosts.items():
                found[host] += [pace - middle for pace in paces]
    return found


def _own(usual: dict[str, float], app: str) -> float:
    """Return how fast a host is with other app versions: 0 if it is not fast, or has no others."""
    others = [value for name, value in usual.items() if name != app]
    return max(-OWN_BITS, min(0.0, median(others))) if others else 0.0


# -- too regular ------------------------------------------------------------------------------------------------------


def _same_times(profiles: Sequence[Profile], level: float) -> list[Sign]:
    counts: dict[int, tuple[int, int]] = {}
    for each in profiles:
        paces = [a.took_s / a.reference_s for a in each.answers if a.reference_s > 0 and a.took_s > 0]
        same = sum(abs(a - b) <= SAME_TIME * max(a, b) for a, b in pairwise(paces))
        counts[each.host] = same, max(0, len(paces) - 1)
    return [
        Sign(
            host=host, app=profiles[0].app, kind=Kind.REGULAR, figures={"same_times": k, "of": n},
            sentence=f"{k} of {n} answers took exactly as long as the one before, which those of others hardly ever do",
        )
        for host, k, n in _regular(counts, level)
    ]  # fmt: skip


def _same_values(profiles: Sequence[Profile], level: float) -> list[Sign]:
    tops: dict[int, tuple[str, int, int]] = {}
    for each in profiles:
        values = Counter([a.value for a in each.answers])
        value, k = values.most_common(1)[0] if values else ("", 0)
        tops[each.host] = value, k, len(each.answers)
    counts = {host: (k, n) for host, (_, k, n) in tops.items()}
    of_n = sum(n for _, n in counts.values())
    given: Counter[str] = Counter()
    for value, k, _ in tops.values():
        given[value] += k
    shares = {host: rest(k, n, given[value], of_n) for host, (value, k, n) in tops.items()}
    return [
        Sign(
            host=host, app=profiles[0].app, kind=Kind.REGULAR, figures={"same_values": k, "of": n},
            sentence=f"{k} of {n} answers to different units are the same, where those of others vary",
        )
        for host, k, n in _regular(counts, level / FEWEST, shares)
    ]  # fmt: skip


def _regular(
    counts: dict[int, tuple[int, int]], level: float, shares: dict[int, float] | None = None
) -> list[tuple[int, int, int]]:
    """Return (host, k, n) of those whose k of n are far more than the others', of which the middle one has few."""
    enough = {host: (k, n) for host, (k, n) in counts.items() if n >= FEWEST - 1}
    if len(enough) < PEOPLE or median([k / n for k, n in enough.values()]) > OTHERS_SHARE:
        return []
    of_k, of_n = sum(k for k, _ in enough.values()), sum(n for _, n in enough.values())
    found = []
    for host, (k, n) in enough.items():
        others = rest(k, n, of_k, of_n) if shares is None else shares[host]
        if k >= REGULAR_SHARE * n and often(n, k, others) <= level:
            found.append((host, k, n))
    return found


# -- the same few partners --------------------------------------------------------------------------------------------


def _same_partners(profiles: Sequence[Profile], level: float) -> list[Sign]:
    """What is leased in one call meets the same partners, so calls are counted, not answers."""
    met = {each.host: _met(each.answers) for each in profiles}
    of_n = sum(len(calls) for calls in met.values())
    of_k = Counter(partner for calls in met.values() for partners in calls for partner in partners)
    found = []
    for host, calls in met.items():
        ring = _ring(calls, of_k, of_n, level)
        if ring:
            k, n = sum(not ring.isdisjoint(partners) for partners in calls), len(calls)
            who = "the same partner" if len(ring) == 1 else f"the same {len(ring)} partners"
            sentence = f"{k} of the {n} times that others confirmed it, {who} did, far more often than chance has it"
            figures = {"met": k, "of": n, "partners": len(ring), "volunteers": len(of_k)}
            found.append(Sign(host=host, app=profiles[0].app, kind=Kind.PARTNERS, sentence=sentence, figures=figures))
    return found


def _met(answers: Iterable[Answer]) -> list[frozenset[int]]:
    calls: defaultdict[float, set[int]] = defaultdict(set)
    for answer in answers:
        if answer.partners:
            calls[answer.call].update(answer.partners)
    return [frozenset(partners) for partners in calls.values()]


def _ring(calls: Sequence[frozenset[int]], of_k: Counter[int], of_n: int, level: float) -> frozenset[int]:
    """Return the fewest partners whom these calls met far too often, if there are such."""
    n = len(calls)
    often_met = Counter(partner for partners in calls for partner in partners).most_common(RING)
    ring: frozenset[int] = frozenset()
    share = 0.0
    for size, (partner, k) in enumerate(often_met, start=1):
        if k < 2:
            break
        ring |= {partner}
        share += rest(k, n, of_k[partner], of_n)
        together = sum(not ring.isdisjoint(partners) for partners in calls)
        chosen = math.comb(len(of_k), size) * RING
        if together >= MEETINGS and often(n, together, share) * chosen <= level:
            return ring
    return frozenset()


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
