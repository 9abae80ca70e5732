"""Which answers stand together: each camp has a centre, and its members are the neighbours of that centre.

Nearness is no equality: of three answers the first may be near the second and the second near the third, but the first
far from the third. So nobody is a member by way of another member, and who is a centre does not depend on the order in
which answers came: the one with the most neighbours is, of several the one with the smallest id, then the same again
among those that are left. Two answers are asked about once, the smaller id first, so a question whose answer depends on
the order has one answer too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An answer that others may stand with. One that `leads` is a centre whatever the others say: it was accepted
    already, contests one that was, or proves itself. Who is near two of these stands with the `accepted` one."""

    replica: int
    value: bytes
    leads: bool = False
    accepted: bool = False


async def camps(answers: Sequence[Standing], near: Callable[[Standing, Standing], Awaitable[bool]]) -> dict[int, int]:
    """Return the id of the centre of each answer's camp, by id."""
    left = sorted(answers, key=lambda each: each.replica)
    found: dict[int, int] = {}
    leaders = sorted([each for each in left if each.leads], key=lambda each: not each.accepted)
    for leader in leaders:
        if leader.replica not in found:
            for each in left:
                first, second = sorted((leader, each), key=lambda one: one.replica)
                if each.replica not in found and (each is leader or await _together(first, second, near)):
                    found[each.replica] = leader.replica
    if leaders:
        return {each.replica: found.get(each.replica, each.replica) for each in left}
    neighbours = {each.replica: {each.replica} for each in left}
    for first, second in combinations(left, 2):
        if await _together(first, second, near):
            neighbours[first.replica].add(second.replica)
            neighbours[second.replica].add(first.replica)
    while neighbours:
        centre = min(neighbours, key=lambda number: (-len(neighbours[number]), number))
        members = neighbours[centre]
        found |= dict.fromkeys(members, centre)
        neighbours = {number: of - members for number, of in neighbours.items() if number not in members}
    return found


async def _together(first: Standing, second: Standing, near: Callable[[Standing, Standing], Awaitable[bool]]) -> bool:
    return first.value == second.value or await near(first, second)
