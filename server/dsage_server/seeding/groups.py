"""Teams of a made-up world: who founded them, who joined, and who left again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from dsage_server.pseudonyms import FIRST, SECOND
from dsage_server.seeding import words
from dsage_server.store.daybook import DAY_S

if TYPE_CHECKING:
    from dsage_server.seeding.people import Person

TEAM_SHARE: Final = 0.34
LEFT: Final = 0.06
"""Of those in no team, how many were in one; of the others, how many were in another one before, if they can."""
A_TEAM: Final = 50
"""Volunteers for each team of a world that has more than the usual ones."""


@dataclass(slots=True)
class Team:
    """A group of volunteers, led by its founder; nobody is in one that is `gone`."""

    id: int
    name: str
    founder: int | None
    created: float
    gone: float | None = None


def grouped(rng: random.Random, people: list[Person], begin: float, now: float, seed: int) -> list[Team]:
    """Found teams, and let people join them: few are large. The last of the usual ones is over."""
    stayed = [p for p in people if not p.erased and p.created < now - 2 * DAY_S]
    usual = min(len(words.TEAMS), len(stayed) // 4)
    names = [*words.TEAMS[:usual], *_more_names(len(people) // A_TEAM - usual, seed)]
    teams = []
    for number, founder in enumerate(rng.sample(stayed, len(names)), start=1):
        founded = max(founder.created, begin) + rng.uniform(0.1, 2.0) * DAY_S * 0.5
        if number == usual and usual > 3:
            over = max(now - 3 * DAY_S, founded + 3600.0)
            founder.before.append((number, founded, over))
            teams.append(Team(number, names[number - 1], None, founded, over))
            continue
        founder.team, founder.team_since = number, founded
        teams.append(Team(number, names[number - 1], founder.id, founded))
    alive = [team for team in teams if team.gone is None]
    shares = list(accumulate(1 / (n + 1) for n in range(len(alive))))
    for person in stayed if alive else ():
        if person.team is None and not person.before and rng.random() < TEAM_SHARE:
            chosen = rng.choices(alive, cum_weights=shares)[0]
            person.team = chosen.id
            person.team_since = max(person.created, chosen.created) + 60.0
    _leave(random.Random(f"{seed}/left"), stayed, alive, now)
    return teams


def _more_names(count: int, seed: int) -> list[str]:
    """Return names besides the usual ones; none twice."""
    rng, found = random.Random(f"{seed}/teams"), dict[str, None]()
    while len(found) < count:
        found[f"{rng.choice(FIRST).title()} {rng.choice(SECOND).title()}s of {rng.choice(words.COMPUTERS[:-1])}"] = None
    return list(found)


def _leave(rng: random.Random, people: list[Person], teams: list[Team], now: float) -> None:
    """Let some have been in a team before, whose credit has what they earned meanwhile."""
    for person in people:
        if rng.random() >= LEFT or person.before or not teams:
            continue
        other = rng.choice(teams)
        since = max(person.created, other.created) + 60.0
        last = min(person.until, now) if person.team_since is None else person.team_since - 60.0
        if since + 3600.0 < last and other.id != person.team:
            person.before.append((other.id, since, since + (last - since) * rng.uniform(0.3, 1.0)))
