"""`dsage check`: would volunteers' computers agree on the answers of this code? A few units are computed twice here."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final

import click

from dsage import codec
from dsage.agreement import Rule
from dsage.bundle import Bundle, pack
from dsage.cli.options import json_option, target_argument
from dsage.cli.output import count, emit, say, size, table
from dsage.cli.terminal import duration
from dsage.cli.values import as_json, parse_params, shown
from dsage.function import DistributedFunction
from dsage.researcher import construct
from dsage.sandbox import Level, Outcome
from dsage.stepping import AuthorError, Position, next_step
from dsage.trying import CheckFailed, Difference, Trial, difference, first_units, sample
from dsage.wire import Answer, Answers, NewUnit

SCHEMA: Final = "dsage.check/1"
LOOKED_AT: Final = 1000
"""Units that are made to choose samples from."""
SMALL_S: Final = 1.0
"""Below it, sending a unit about costs more than computing it."""
MUCH: Final = 0.5
"""An answer that takes more than this share of what it may have will one day take more."""
SHORTEST_S: Final = 0.005
SHOWN: Final = 60
DIFFERING: Final = (
    "Sort what comes from sets; take no time, zone or random number from the computer; or say in the class how near is "
    "near: agree = close(rtol=1e-9)."
)
SEEDS: Final = (1, 0x9E3779B97F4A7C15, (1 << 64) - 1)
"""Of the copies that are tried where a class has `perturb`: the least, one in the middle, and the most there is."""
UNRESTORED: Final = (
    "restore(args, compute(perturb(args, seed)), seed) has to be compute(args), as the class's rule sees it."
)


@dataclass(slots=True)
class Tried:
    """What became of one sample: `problems` fail the check, `remarks` do not. Times in seconds, sizes in bytes.

    `same` is about the second computation, `perturbed` about copies that differ (None: not tried)."""

    key: str
    cpu_s: float = 0.0
    args_bytes: int = 0
    answer_bytes: int = 0
    same: bool | None = None
    perturbed: bool | None = None
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    differs: dict[str, Any] | None = None
    value: bytes | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """Whether two answers would be taken for the same, and by what; where they part, if they do, and what kept the
    class from saying so."""

    agreed: bool
    by: str = ""
    found: Difference | None = None
    trouble: str = ""

    def sides(self, first: str, second: str) -> str:
        """Return in words where the answers part, each being the answer of a side."""
        if self.found is None:
            return self.trouble or "agree says that an answer differs from itself"
        path, one, other = self.found.path, _whole(self.found.first), _whole(self.found.second)
        sides = f"{path} is {one} {first} and {other} {second}"
        return f"{sides}; {self.trouble}" if self.trouble else sides


@click.command(short_help="Try whether code gives the same answers everywhere.")
@target_argument
@click.option("--samples", type=click.IntRange(1, 100), default=3, show_default=True, help="Units to try.")
@json_option
def check(target: str, params: tuple[str, ...], samples: int, as_json: bool) -> int:
    """Try whether code gives the same answers everywhere.

    TARGET as for `dsage submit`. Sample units are computed twice in the sandbox of volunteers' computers, under
    another hash seed, time zone, locale, folder and number of threads, and perturbed if the class can; answers are
    verified and folded as a run would. Nothing is sent anywhere. Exit codes: 0 all is well, 5 something is not.
    """
    packed = pack(target)
    function = construct(packed.function, parse_params(params))
    units, whole = first_units(function, LOOKED_AT)
    order = _order(function, units)
    chosen = list(sample(units, samples))
    level, tried = asyncio.run(_try(packed, chosen)) if chosen else (None, [])
    problems = [*order, *_gathered(tried)]
    if not chosen:
        say("no units: the function ends without any, so there is nothing to try")
    elif not problems:
        problems += _folding(function, chosen, tried)
    for text in dict.fromkeys(text for each in tried for text in each.remarks):
        say(f"note: {text}")
    data = {
        "title": packed.function.title or packed.function.__name__,
        "bundle": packed.sha256,
        "bundle_bytes": len(packed.data),
        "sandbox": level,
        "units": len(units),
        "all_units": whole,
        "samples": [{name: value for name, value in asdict(each).items() if name != "value"} for each in tried],
        "problems": problems,
    }
    emit(SCHEMA, data, as_json, _table(tried))
    if problems:
        for text in problems:
            say(f"problem: {text}")
        differ = any(each.same is False for each in tried) or bool(order)
        unrestored = any(each.perturbed is False for each in tried)
        raise CheckFailed(
            f"{count(len(problems), 'problem')}: volunteers' computers would not agree on answers like these"
            if differ or unrestored
            else count(len(problems), "problem"),
            hint=DIFFERING if differ else UNRESTORED if unrestored else None,
        )
    if chosen:
        more = f", and perturbed {count(len(SEEDS), 'time')}" if any(each.perturbed for each in tried) else ""
        done = f"{count(len(tried), 'unit')} computed twice{more}, in the {level} sandbox"
        say(f"all is well: {done}, with the same answers")
        say(f"next: `dsage run {target}` runs it here, `dsage submit {target}` on volunteers' computers")
    return 0


async def _try(packed: Bundle, chosen: list[NewUnit]) -> tuple[Level, list[Tried]]:
    async with Trial.opened(packed) as trial:
        return trial.level, [await _once_and_again(trial, packed.function, unit) for unit in chosen]


async def _once_and_again(trial: Trial, function: type[DistributedFunction], unit: NewUnit) -> Tried:
    tried = Tried(unit.key, args_bytes=len(unit.args))
    first, second = await trial.twice(unit)
    tried.cpu_s = first.cpu_s
    if first.value is None or second is None:
        tried.problems.append(_how(first))
        return tried
    tried.answer_bytes = len(first.value)
    tried.value = first.value
    if second.value is None:
        tried.same = False
        tried.problems.append(f"it works once, but not with another hash seed, zone, locale and folder: {_how(second)}")
        return tried
    await _compare(trial, function, unit, tried, first.value, second.value)
    if refused := await _refused(trial, function, unit, first.value):
        tried.problems.append(refused)
    if function.perturb is not DistributedFunction.perturb and not tried.problems:
        await _perturb(trial, function, unit, tried, first.value)
    _measure(unit, tried)
    return tried


async def _refused(trial: Trial, function: type[DistributedFunction], unit: NewUnit, value: bytes) -> str:
    """Return what keeps the class's own `verify` from letting an answer pass; empty if nothing does."""
    if function.verify is DistributedFunction.verify:
        return ""
    said = await trial.says("verify", unit, value)
    if said.value is None:
        return f"verify fails: {_how(said)}"
    word = codec.decode(said.value)
    if word is False:
        return "verify calls this answer a lie"
    return (
        "" if word is True or word is None else f"verify gives {repr(word)[:SHOWN]}, where True, False or None belongs"
    )


async def _perturb(
    trial: Trial, function: type[DistributedFunction], unit: NewUnit, tried: Tried, plain: bytes
) -> None:
    """Say whether the restored answers of perturbed copies would be taken for the unit's own."""
    tried.perturbed = False
    for seed, outcome in zip(SEEDS, await trial.perturbed(unit, SEEDS), strict=True):
        if outcome.value is None:
            tried.problems.append(f"perturbed by the seed {seed} it fails: {_how(outcome)}")
            return
        compared = await _compared(trial, function, unit, plain, outcome.value)
        if not compared.agreed or compared.trouble:
            tried.problems.append(compared.sides("as it is", f"perturbed by the seed {seed} and restored"))
            return
        if refused := await _refused(trial, function, unit, outcome.value):
            tried.problems.append(f"perturbed by the seed {seed}: {refused}")
            return
    tried.perturbed = True
    changed = [await trial.says("perturb", unit, codec.encode(seed)) for seed in SEEDS]
    if all(each.value == unit.args for each in changed):
        tried.remarks.append("perturb leaves the arguments as they are")


async def _compare(
    trial: Trial, function: type[DistributedFunction], unit: NewUnit, tried: Tried, first: bytes, second: bytes
) -> None:
    """Note whether both answers would be taken for the same, and where they differ."""
    tried.same = first == second
    compared = await _compared(trial, function, unit, first, second)
    found, sides = compared.found, compared.sides("once", "the other time")
    if found is not None:
        tried.differs = {"path": found.path, "first": as_json(found.first), "second": as_json(found.second)}
    if compared.trouble or not compared.agreed:
        tried.problems.append(sides)
    elif found is not None:
        tried.remarks.append(f"answers differ ({sides}), and {compared.by} takes them for the same")


async def _compared(
    trial: Trial, function: type[DistributedFunction], unit: NewUnit, first: bytes, second: bytes
) -> Compared:
    """Say whether two answers would be taken for the same: by the class's rule, its own `agree`, or their bytes."""
    rule = function.agree
    one, other = codec.decode(first), codec.decode(second)
    found = difference(one, other)
    if isinstance(rule, Rule):
        if unfit := rule.unfit(one) or rule.unfit(other):
            return Compared(False, trouble=f"by the rule {rule}, the answer {unfit}")
        agreed = found is None or rule(None, one, other)
        found = found if agreed else difference(one, other, same=partial(rule, None)) or found
        return Compared(agreed, f"the rule {rule}", found)
    if rule is not DistributedFunction.agree:
        agreed, trouble = await _asked_to_agree(trial, unit, first, second)
        return Compared(agreed, "`agree`", found, trouble)
    return Compared(found is None, "equal bytes", found)


async def _asked_to_agree(trial: Trial, unit: NewUnit, first: bytes, second: bytes) -> tuple[bool, str]:
    """Ask the class's own `agree` both ways; return what it says, and what is wrong with it."""
    answers = []
    for pair in ((first, second), (second, first)) if first != second else ((first, second),):
        said = await trial.says("agree", unit, *pair)
        if said.value is None:
            return False, f"agree fails: {_how(said)}"
        answers.append(codec.decode(said.value))
        if type(answers[-1]) is not bool:
            return False, f"agree gives {repr(answers[-1])[:SHOWN]}, where True or False belongs"
    return answers[0], "" if len(set(answers)) == 1 else "agree says one thing of (a, b) and another of (b, a)"


def _measure(unit: NewUnit, tried: Tried) -> None:
    if tried.answer_bytes > MUCH * unit.output_bytes:
        tried.remarks.append(f"an answer has {size(tried.answer_bytes)}, and {size(unit.output_bytes)} are allowed")
    if tried.cpu_s < SMALL_S:
        tried.remarks.append(
            f"units take less than {duration(SMALL_S)} here: larger ones spend less of their time travelling"
        )
    if tried.cpu_s > MUCH * unit.cpu_s:
        tried.remarks.append(f"a unit takes {duration(tried.cpu_s)} here, and {duration(unit.cpu_s)} are allowed")


def _order(function: DistributedFunction, units: list[NewUnit]) -> list[str]:
    """Say whether the units come in the same order each time."""
    again, _ = first_units(function, LOOKED_AT)
    pairs = enumerate(zip(units, again, strict=False))
    other = next((i for i, (a, b) in pairs if (a.key, a.args) != (b.key, b.args)), None)
    if other is None and len(units) == len(again):
        return []
    return [
        f"the units are not the same each time (the {other or 0}th differs): a driver that goes on elsewhere would "
        "leave some out"
    ]


def _folding(function: DistributedFunction, chosen: list[NewUnit], tried: list[Tried]) -> list[str]:
    """Say what goes wrong when the answers are folded."""
    answers = [
        Answer(unit=i + 1, key=unit.key, group=unit.group, args=unit.args, value=each.value, cpu_s=each.cpu_s)
        for i, (unit, each) in enumerate(zip(chosen, tried, strict=True))
    ]
    own = copy.deepcopy(function)
    own.load_state(function.dump_state())
    heard = Answers(answers=answers, open_units=len(answers) + 1)
    try:
        step, _ = next_step(own, Position(0, 1, function.dump_state()), heard)
    except AuthorError as error:
        return [error.message]
    return [step.failed] if step is not None and step.failed else []


def _gathered(tried: list[Tried]) -> list[str]:
    """Return each problem once, with the units that have it."""
    having: dict[str, list[str]] = {}
    for each in tried:
        for text in each.problems:
            having.setdefault(text, []).append(each.key)
    return [f"{text} (unit{'s' if keys[1:] else ''} {', '.join(keys)})" for text, keys in having.items()]


def _whole(value: Any) -> str:
    """Return a value in one line, a number with all its digits: two that differ must look different."""
    return repr(value) if isinstance(value, float | complex) else shown(value, SHOWN)


def _how(outcome: Outcome) -> str:
    last = (outcome.detail.strip().splitlines() or [""])[-1]
    return f"{outcome.reason or outcome.status}: {shown(last, 300)}" if last else outcome.reason or outcome.status


def _table(tried: list[Tried]) -> str:
    marks = {True: "same", False: "different", None: "-"}
    rows = [
        [
            each.key,
            f"{each.cpu_s:.2f} s" if each.cpu_s >= SHORTEST_S else "0 s",
            size(each.args_bytes),
            size(each.answer_bytes) if each.answer_bytes else "-",
            marks[each.same],
            "problem" if each.problems else "ok",
        ]
        for each in tried
    ]
    return table(["unit", "took", "arguments", "answer", "twice", ""], rows) if rows else ""
