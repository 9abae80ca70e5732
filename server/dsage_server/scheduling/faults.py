"""Whose fault failures are, by the two-way table of hosts and app versions; what is wrong with neither of them shows.

An app version that fails, or answers in another way, on most of its hosts is at fault itself, and no host is convicted
by it. A host that fails where others answer is at fault, whatever it computes. Everything of an app version goes by
the middle one of its hosts: fewer than half of them, in whatever way they lie, do not move it far.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

import msgspec

from dsage_validator.outliers import LEVEL, Kind, Sign, often, rest

HOSTS: Final = 6
"""Hosts whose answers must have been compared before an app version is said to differ."""
MANY: Final = 4
"""Volunteers whose answers must have been contradicted, or on whose computers it must have failed."""
COMPARED: Final = 8
"""Comparisons of a host that say something."""
DIFFERENT: Final = 0.04
"""Share of its comparisons in which the middle host was contradicted: one answer in 25 that differs by chance convicts
each host before long."""
APART: Final = 3
"""Units that were given up because no two answers were the same."""
BREAKING: Final = 0.2
"""Share of its copies that fail on the middle host."""
TRIED: Final = 4

FAILED: Final = 5
FAILING: Final = 0.2
"""Of a host: copies that failed where others answered, and their share of all."""

JUDGED: Final = 20
RARELY: Final = 0.05
CRASHES: Final = 2
"""Faulty memory: so many answers judged, of which at most that share was wrong, and copies that crashed."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the latest copies of a host with an app version.

    `right` were accepted, of them `confirmed` with another host's; `wrong` were contradicted, of them `alone` by all;
    `refuted` ones the app's `verify` refused. `errors` failed, of them `elsewhere` on units that others answered, and
    of these `crashes` in a way that the program has no say in.
    """

    host: int
    volunteer: int
    app: str
    right: int = 0
    confirmed: int = 0
    wrong: int = 0
    alone: int = 0
    refuted: int = 0
    errors: int = 0
    elsewhere: int = 0
    crashes: int = 0

    @property
    def compared(self) -> int:
        """Answers that were held against others'."""
        return self.confirmed + self.wrong

    @property
    def tried(self) -> int:
        """Copies that came to an end on the host."""
        return self.right + self.wrong + self.refuted + self.errors

    @property
    def good(self) -> bool:
        """Whether it was compared often enough, and is right more often than not."""
        return self.compared >= COMPARED and 2 * self.wrong < self.compared


def faults(rows: Sequence[Row], apart: dict[str, int]) -> list[Sign]:
    """Return what is wrong with app versions and with hosts.

    `apart` says of how many units of an app version no two answers were the same, until they were given up.
    """
    apps: defaultdict[str, list[Row]] = defaultdict(list)
    hosts: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        apps[row.app].append(row)
    found = [_differs(app, apps[app], apart.get(app, 0)) for app in apps.keys() | apart.keys()]
    found += [_breaks(app, of) for app, of in apps.items()]
    guilty = {sign.app for sign in found if sign is not None}
    for row in rows:
        if row.app not in guilty:
            hosts[row.host].append(row)
    level = LEVEL / max(1, len(hosts))
    of_k = sum(row.elsewhere for of in hosts.values() for row in of)
    of_n = sum(row.tried for of in hosts.values() for row in of)
    for of in hosts.values():
        found += [_fails(of, of_k, of_n, level), memory(of)]
    return [sign for sign in found if sign is not None]


def memory(rows: Iterable[Row]) -> Sign | None:
    """Return the sign that a host's memory may be faulty, if it looks like that: rarely wrong, each time in a way that
    nobody else was, and crashes now and then where others do not."""
    known = list(rows)
    refuted = sum(row.refuted for row in known)
    wrong, alone = refuted + sum(row.wrong for row in known), refuted + sum(row.alone for row in known)
    judged, crashes = wrong + sum(row.right for row in known), sum(row.crashes for row in known)
    if not 0 < wrong == alone <= RARELY * judged or judged < JUDGED or not CRASHES <= crashes <= judged:
        return None
    sentence = (
        f"{_n(wrong, 'answer')} of {judged} differed from what everybody else found, each in its own way, and "
        f"{_n(crashes, 'unit')} crashed that other computers answered: its memory may be faulty"
    )
    figures = {"wrong": wrong, "of": judged, "crashes": crashes}
    return Sign(host=known[0].host, app="", kind=Kind.MEMORY, sentence=sentence, figures=figures)


def _differs(app: str, rows: Iterable[Row], apart: int) -> Sign | None:
    good = [row for row in rows if row.good]
    shares = [row.wrong / row.compared for row in good]
    people = len({row.volunteer for row in good if row.wrong})
    spread = len(good) >= HOSTS and people >= MANY and median(shares) >= DIFFERENT
    if not spread and apart < APART:
        return None
    what = (
        f"{people} otherwise good volunteers were contradicted, the middle one in {median(shares):.0%} of the answers"
        if spread
        else f"no two answers to {_n(apart, 'unit')} were the same"
    )
    figures = {"hosts": len(good), "volunteers": people, "apart": apart, "share": median(shares) if shares else 0.0}
    sentence = f"answers of honest computers differ ({what}): set agree = close(...), or homogeneous = True"
    return Sign(host=0, app=app, kind=Kind.DIFFER, sentence=sentence, figures=figures)


def _breaks(app: str, rows: Iterable[Row]) -> Sign | None:
    tried = [row for row in rows if row.tried >= TRIED]
    people = len({row.volunteer for row in tried if row.errors})
    if people < MANY or (share := median([row.errors / row.tried for row in tried])) < BREAKING:
        return None
    sentence = f"it fails on the computers of {people} volunteers, on the middle one in {share:.0%} of its units"
    return Sign(host=0, app=app, kind=Kind.BROKEN, sentence=sentence, figures={"volunteers": people, "share": share})


def _fails(rows: Sequence[Row], of_k: int, of_n: int, level: float) -> Sign | None:
    k, n = sum(row.elsewhere for row in rows), sum(row.tried for row in rows)
    if k < FAILED or k < FAILING * n or often(n, k, rest(k, n, of_k, of_n)) > level:
        return None
    apps = len([row for row in rows if row.elsewhere])
    sentence = f"{k} of {n} units of {_n(apps, 'app version')} failed here, and other computers answered them"
    return Sign(host=rows[0].host, app="", kind=Kind.FAILING, sentence=sentence, figures={"failed": k, "of": n})


def _n(number: int, what: str) -> str:
    return f"one {what}" if number == 1 else f"{number} {what}s"
