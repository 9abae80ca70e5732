"""Fair shares: whose run is next, by the work handed out of late.

Researchers come first, so that nobody gets more by splitting work into many runs; then, of one researcher, higher
priority; then projects; then runs. At each level the one that was given least goes first. What was given counts
half after HALF_LIFE_S: of an hour ago hardly anything is left. Source of the idea: virtual-time fair queueing
(Demers, Keshav & Shenker 1989) with the decayed usage of cluster schedulers.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from operator import attrgetter
from typing import Final

from dsage_server.scheduling.terms import RunTerms

HALF_LIFE_S: Final = 600.0
RESCALE_HALF_LIVES: Final = 30
NOTHING_MILLI: Final = 1.0
"""Credit so small that who was given it need not be remembered."""

_standing = attrgetter("standing")


class _Node:
    """A researcher, a project at one priority, or a run: what it was given, and which of its parts wait."""

    __slots__ = ("given", "parent", "parts", "rank", "run", "standing", "waits")

    def __init__(self, parent: _Node | None, *, rank: int = 0, run: int = 0) -> None:
        self.parent = parent
        self.rank = rank
        self.run = run
        self.parts: list[_Node] = []
        self.waits = False
        self.stand(0.0)

    def stand(self, given: float) -> None:
        self.given = given
        self.standing = (self.rank, given)


class FairShare:
    """The runs that have waiting units, in the order of their turns; times in seconds of any one clock."""

    def __init__(self) -> None:
        self._root = _Node(None)
        self._nodes: dict[tuple[object, ...], _Node] = {}
        self._leaves: dict[int, _Node] = {}
        self._since = 0.0

    def enter(self, terms: RunTerms) -> None:
        """A run has waiting units now."""
        leaf = self._leaves.get(terms.run)
        if leaf is None:
            researcher = self._node((terms.researcher,), self._root)
            project = self._node((terms.researcher, terms.priority, terms.project), researcher, -terms.priority)
            leaf = self._leaves[terms.run] = _Node(project, run=terms.run)
        node = leaf
        while node.parent is not None and not node.waits:
            node.waits = True
            insort(node.parent.parts, node, key=_standing)
            node = node.parent

    def leave(self, run: int) -> None:
        """Nothing of a run waits at present; what it was given is remembered."""
        node = self._leaves.get(run)
        while node is not None and node.parent is not None and node.waits and not node.parts:
            node.waits = False
            node.parent.parts.remove(node)
            node = node.parent

    def forget(self, run: int) -> None:
        """A run has ended."""
        self.leave(run)
        self._leaves.pop(run, None)

    def order(self) -> Iterator[int]:
        """Yield the runs that have waiting units, those whose turn it is first. Not to be changed meanwhile."""
        for researcher in self._root.parts:
            for project in researcher.parts:
                for leaf in project.parts:
                    yield leaf.run

    def charge(self, run: int, credit_milli: int, now: float) -> None:
        """Copies worth so much were handed out of a run."""
        node = self._leaves.get(run)
        half_lives = (now - self._since) / HALF_LIFE_S
        if not 0.0 <= half_lives <= RESCALE_HALF_LIVES:
            self._rescale(0.5 ** max(0.0, half_lives), now)
            half_lives = 0.0
        amount = credit_milli * 2.0**half_lives
        while node is not None and node.parent is not None:
            parts = node.parent.parts
            if node.waits and len(parts) > 1:
                parts.remove(node)
                node.stand(node.given + amount)
                insort(parts, node, key=_standing)
            else:
                node.stand(node.given + amount)
            node = node.parent

    def _node(self, name: tuple[object, ...], parent: _Node, rank: int = 0) -> _Node:
        if name not in self._nodes:
            self._nodes[name] = _Node(parent, rank=rank)
        return self._nodes[name]

    def _rescale(self, factor: float, now: float) -> None:
        """Count from now on; those who have nothing left and no run are forgotten."""
        for node in (*self._nodes.values(), *self._leaves.values()):
            node.stand(node.given * factor)
        needed = {
            above for leaf in self._leaves.values() for above in (leaf.parent, leaf.parent and leaf.parent.parent)
        }
        self._nodes = {n: node for n, node in self._nodes.items() if node in needed or node.given >= NOTHING_MILLI}
        self._since = now
