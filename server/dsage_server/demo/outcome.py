"""What a demo came to: the document for programs, the closing words for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dsage.cli.values import decimal, shown
from dsage_projects.factor.ladder import digits
from dsage_server.demo.prose import wrapped

if TYPE_CHECKING:
    from rich.text import Text

SCHEMA: Final = "dsage.demo/1"
UNFINISHED: Final = 8
MAX_NUMBER: Final = 60
ALGEBRA: Final = "algebra and small primes"
NEXT: Final = (
    ("dsage serve", "a server of your own; it says how to go on"),
    ("dsage invite", "a link, so that other people's computers can join it"),
    ("dsage submit factor -p n=2^251-1", "a number of your own on their computers"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Liar:
    """What became of the volunteer who lied: answers given, and how many of them were refused."""

    pseudonym: str
    answers: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The factors of `n`, ascending [prime, multiplicity], and whom to thank; `seconds` include the start-up.

    `credit` is in minutes of the reference core, by pseudonym; `found_by` names the finder of a prime that a unit's
    answer gave. `called_off` of the units were cancelled, most of them before anybody got them. `unfinished` are
    cofactors that no time was left for. `kept` says how to look at what was kept.
    """

    number: str
    n: int
    factors: list[list[int]]
    unfinished: list[list[int]]
    seconds: float
    budget_s: float = 0.0
    units: int = 0
    called_off: int = 0
    replicas: int = 0
    curves: int = 0
    credit: dict[str, float] = field(default_factory=dict)
    found_by: dict[int, str] = field(default_factory=dict)
    liar: Liar | None = None
    kept: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """0 if the factorisation is complete."""
        return UNFINISHED if self.unfinished else 0

    def document(self) -> dict[str, Any]:
        """Return the data of the JSON document; `unfinished` and `refused` stand in it only if there are any."""
        data: dict[str, Any] = {
            "number": self.number,
            "n": decimal(self.n),
            "factors": {decimal(p): e for p, e in self.factors},
            "seconds": round(self.seconds, 3),
            "units": self.units,
            "replicas": self.replicas,
            "credit": self.credit,
            "found_by": {decimal(p): name for p, name in self.found_by.items()},
        }
        if self.unfinished:
            data["unfinished"] = {decimal(n): e for n, e in self.unfinished}
        if self.liar is not None:
            data["refused"] = {self.liar.pseudonym: self.liar.refused}
        return data


def closing(outcome: Outcome, width: int = 0) -> Text:
    """Return the closing words, the prose among them wrapped to `width` columns (0: not at all)."""
    from rich.text import Text

    text = Text()
    text.append(_headline(outcome) + "\n", "bold")
    for finder, factors in _by_finder(outcome).items():
        text.append(f"\n  {'' if finder == ALGEBRA else 'found by '}{finder}\n", "magenta")
        lines = [f"    {_power(p, e)}" for p, e in factors]
        text.append("    " + " · ".join(line.strip() for line in lines) if finder == ALGEBRA else "\n".join(lines))
        text.append("\n")
    for n, e in outcome.unfinished:
        text.append(f"\n  UNFINISHED, a cofactor of {digits(n)} digits\n", "bold red")
        text.append(f"    {_power(n, e)}\n")
    text.append(f"\n{wrapped(_proof(outcome), width)}\n")
    if outcome.credit:
        text.append("\nCredit, in minutes of work on a core of the reference machine\n", "bold")
        longest = max(map(len, outcome.credit))
        for name, amount in sorted(outcome.credit.items(), key=lambda item: -item[1]):
            text.append(f"  {name:<{longest}}  {amount:.3f}\n")
    if outcome.liar is not None:
        text.append(f"\n{wrapped(_verdict(outcome.liar, outcome.credit), width)}\n", "bold yellow")
    for line in outcome.kept:
        text.append(f"\n{line}")
    text.append("\n" * bool(outcome.kept) + "\nNext\n", "bold")
    longest = max(len(command) for command, _ in NEXT)
    for command, why in NEXT:
        text.append(f"  {command:<{longest}}", "green")
        text.append(f"  {why}\n")
    text.rstrip()
    return text


def _headline(outcome: Outcome) -> str:
    number = shown(outcome.number, MAX_NUMBER)
    primes = sum(p > 1 for p, _ in outcome.factors)
    if abs(outcome.n) == 1:
        return f"{number} has no prime factors"
    if outcome.factors == [[outcome.n, 1]]:
        return f"{number} is prime"
    if not primes:
        return f"No prime factor of {number} yet"
    known = " known so far" if outcome.unfinished else ""
    count = f"The {primes} prime factors" if primes > 1 else "The one prime factor"
    return f"{count} of {number}{known}"


def _by_finder(outcome: Outcome) -> dict[str, list[tuple[int, int]]]:
    groups: dict[str, list[tuple[int, int]]] = {}
    for p, e in outcome.factors:
        groups.setdefault(outcome.found_by.get(p, ALGEBRA), []).append((p, e))
    return groups


def _power(base: int, exponent: int) -> str:
    return decimal(base) if exponent == 1 else f"{decimal(base)}^{exponent}"


def _proof(outcome: Outcome) -> str:
    took = f"{outcome.seconds:.1f} s in all"
    if outcome.unfinished:
        checked = f"The budget of {outcome.budget_s:g} s is spent. Each prime is proved, and the product was checked."
    elif sum(p > 1 for p, _ in outcome.factors) > 1:
        checked = "Each is proved prime, and their product is the number."
    else:
        checked = "It is proved prime." if outcome.factors and abs(outcome.n) > 1 else ""
    if not outcome.units:
        return f"{checked} No volunteer was needed, so nothing was started.".strip()
    work = [
        _counted(outcome.curves, "curve", "curves"),
        _counted(outcome.units - outcome.called_off, "unit of work done", "units of work done"),
        _counted(outcome.called_off, "unit called off", "units called off"),
        _counted(outcome.replicas, "copy of a unit sent out", "copies of units sent out"),
    ]
    return f"{checked} {took}: {', '.join(part for part in work if not part.startswith('0 '))}."


def _verdict(liar: Liar, credit: dict[str, float]) -> str:
    paid = credit.get(liar.pseudonym, 0.0)
    others = "" if liar.refused == liar.answers else " (the others came when nobody needed them any more)"
    times = "once" if liar.answers == 1 else f"{liar.answers} times"
    refused = f"{_counted(liar.refused, 'answer', 'answers')} refused{others}"
    return f"{liar.pseudonym} lied {times}: {refused}. Its credit is {paid:g}."


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
