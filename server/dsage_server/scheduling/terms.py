"""The facts that scheduling goes by: what units ask for, what runs are, what hosts offer."""

from __future__ import annotations

from typing import Final

import msgspec

from dsage.wire import INPUTS

REFERENCE_S_PER_MILLI: Final = 0.06
"""Seconds on one core of the reference computer in a thousandth of a credit, which is a minute."""

NEWCOMER: Final = "newcomer"
"""The tag of a run whose units are for computers that have done nothing yet, one each: the server alone gives it."""


class Needs(msgspec.Struct, frozen=True):
    """What a run's units ask of a host; units with equal needs are for the same hosts. 0 or empty: anything will do."""

    packages: frozenset[str] = frozenset()
    platforms: tuple[str, ...] = ()
    """Prefixes such as "linux-x86_64" or "linux": one must fit."""
    tags: frozenset[str] = frozenset()
    memory_bytes: int = 0
    disk_bytes: int = 0
    wall_s: float = 0.0
    """The longest that one unit may run."""
    features: frozenset[str] = frozenset()
    """What the client must be able to do, that older ones cannot."""
    proves: bool = False
    """Whether an answer proves itself; where it does not, its volunteer has to be trusted."""


class RunTerms(msgspec.Struct, frozen=True):
    """What is fixed about a run. A higher `priority` goes first among the runs of the same researcher only."""

    run: int
    project: str
    researcher: bytes
    priority: int = 0
    packages: frozenset[str] = frozenset()
    platforms: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()
    proves: bool = False
    """Whether its app verifies answers."""
    features: frozenset[str] = frozenset()
    """What clients must be able to do to read its app."""
    homogeneous: bool = False
    """Whether the copies of one unit are for computers of one kind."""

    def needs(
        self, *, memory_bytes: int = 0, disk_bytes: int = 0, wall_s: float = 0.0, inputs: bool = False, kind: str = ""
    ) -> Needs:
        """Return what a unit of this run with these limits, perhaps with input files, asks of a host: one of this
        `kind`, if another has a copy already that it is to be like."""
        return Needs(
            packages=self.packages, platforms=(kind,) if kind else self.platforms, tags=self.tags,
            memory_bytes=memory_bytes, disk_bytes=disk_bytes, wall_s=wall_s,
            features=self.features | {INPUTS} if inputs else self.features, proves=self.proves,
        )  # fmt: skip


class HostOffer(msgspec.Struct, frozen=True):
    """What a host says it has: memory and disk are what one unit may use at most, 0 if it did not say."""

    platform: str = ""
    packages: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    memory_bytes: int = 0
    disk_bytes: int = 0
    cores: int = 1
    features: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    """Projects that its owner does nothing for."""
    verifiable_only: bool = False
    """Whether it gets nothing but units whose answers prove themselves: its volunteer is a stranger. The server says
    this of a host, and no host of itself; so it does of the next."""
    kin: frozenset[str] = frozenset()
    """What its volunteer shares with others who may be the same person: they do not confirm each other."""


class ReadyUnit(msgspec.Struct, frozen=True, gc=False):
    """A unit as it stands in the tables: `unsent` copies are to go out, to volunteers who are not `barred`, nor
    `kin` to one who has a copy.

    `freed`: a copy came back, ran out of time or disagreed, so somebody waits for this unit already. `accepted`: it has
    an answer, which somebody else is asked about; no refill finds it.
    """

    unit: int
    run: int
    unsent: int
    needs: Needs
    barred: frozenset[int] = frozenset()
    kin: frozenset[str] = frozenset()
    credit_milli: int = 1000
    deadline_s: float = 3600.0
    freed: bool = False
    accepted: bool = False

    @property
    def work_s(self) -> float:
        """Seconds that the reference computer takes."""
        return self.credit_milli * REFERENCE_S_PER_MILLI


class Choice(msgspec.Struct, frozen=True):
    """The copies chosen, in the order to send them; or why there are none: in one sentence, and by project."""

    volunteer: int
    copies: tuple[ReadyUnit, ...] = ()
    reason: str = ""
    reasons: tuple[tuple[str, str], ...] = ()

    @property
    def units(self) -> tuple[int, ...]:
        """The ids of the units."""
        return tuple([copy.unit for copy in self.copies])
