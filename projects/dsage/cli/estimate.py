"""`dsage estimate`: what a run would cost volunteers, from a few of its units computed here."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Final

import click

from dsage import calibration, codec
from dsage.bundle import Bundle, pack
from dsage.cli.options import json_option, server_option, target_argument
from dsage.cli.output import count, emit, say, size
from dsage.cli.terminal import duration
from dsage.cli.values import parse_params
from dsage.errors import DSageError, UnitFailed
from dsage.function import DistributedFunction
from dsage.home import Home
from dsage.researcher import Researcher, construct
from dsage.trust.invite import Link
from dsage.trying import Trial, first_units, sample
from dsage.wire import NewUnit, StatusView

SCHEMA: Final = "dsage.estimate/1"
COUNTED: Final = 100_000
"""Units that are made to count them; a run may have more."""
UNEVEN: Final = 5.0
"""Samples that differ by more than this factor make a poor estimate."""
OFF: Final = 2.0
"""By how much credit may miss the time measured here before it is worth a word: computers differ."""
CALIBRATED: Final = 1.5
"""The same where `dsage calibrate` has compared this computer with the reference core."""
PER_UNIT_BYTES: Final = 1500
"""What a copy of a unit costs on the wire beside arguments and answer: its signed document, path and lease."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run takes. `all_units` is False where only the first were counted; a copy is one unit on one computer."""

    units: int
    all_units: bool
    copies: int
    sampled: int
    unit_cpu_s: float
    slowest_cpu_s: float
    cpu_s: float
    credit_minutes: float
    sent_bytes: int
    computers: int | None
    eta_s: float | None
    notes: list[str]


@click.command(short_help="Estimate what a run would take.")
@target_argument
@click.option("--samples", type=click.IntRange(1, 100), default=3, show_default=True, help="Units to compute here.")
@server_option
@json_option
def estimate(target: str, params: tuple[str, ...], samples: int, server: Link | None, as_json: bool) -> None:
    """Estimate what a run would take.

    TARGET as for `dsage submit`. Counts the units that it makes at its start, computes a few of them here in the
    sandbox, and asks the server how many computers are there now. Nothing is submitted.
    """
    packed = pack(target)
    function = construct(packed.function, parse_params(params))
    units, whole = first_units(function, COUNTED)
    view, why = asyncio.run(_capacity(server))
    if why:
        say(f"no word from a server about when it would end: {why}")
    measured = asyncio.run(_measure(packed, list(sample(units, samples)))) if units else []
    calibrated = calibration.known(Home())
    speed = None if calibrated is None else calibrated.speed
    found = _estimated(packed.function, units, whole, measured, view, speed)
    for note in found.notes:
        say(f"note: {note}")
    emit(SCHEMA, asdict(found), as_json, _text(found))


async def _measure(packed: Bundle, chosen: list[NewUnit]) -> list[tuple[float, int, bool]]:
    """Compute samples: processor seconds, answer bytes, and whether the answer proves itself."""
    found: list[tuple[float, int, bool]] = []
    async with Trial.opened(packed) as trial, trial.box() as box:
        for unit in chosen:
            done = await trial.compute(box, unit)
            if done.value is None:
                raise UnitFailed(
                    f"the sample unit {unit.key} fails here ({done.reason})", hint="`dsage check` says more about it."
                )
            proved = packed.function.verify is not DistributedFunction.verify
            if proved:
                said = await trial.says("verify", unit, done.value)
                proved = said.value is not None and codec.decode(said.value) is True
            found.append((done.cpu_s, len(done.value), proved))
    return found


async def _capacity(server: Link | None) -> tuple[StatusView | None, str]:
    try:
        async with await Researcher.open(Home(), server) as api:
            return await api.status(), ""
    except DSageError as error:
        return None, error.message


def _estimated(
    function: type[DistributedFunction],
    units: list[NewUnit],
    whole: bool,
    measured: list[tuple[float, int, bool]],
    view: StatusView | None,
    speed: float | None = None,
) -> Estimate:
    times = [cpu_s for cpu_s, _, _ in measured] or [0.0]
    mean_s = sum(times) / len(times)
    answer = sum(size_bytes for _, size_bytes, _ in measured) / max(1, len(measured))
    proved = bool(measured) and all(each for _, _, each in measured)
    copies = sum(1 if proved else unit.quorum for unit in units)
    sent = sum((len(u.args) + answer + PER_UNIT_BYTES) * (1 if proved else u.quorum) for u in units)
    cpu_s, minutes = mean_s * copies, sum(unit.credit_milli for unit in units) / 1000
    computers = None if view is None else view.hosts_live
    return Estimate(
        units=len(units),
        all_units=whole,
        copies=copies,
        sampled=len(measured),
        unit_cpu_s=mean_s,
        slowest_cpu_s=max(times),
        cpu_s=cpu_s,
        credit_minutes=minutes,
        sent_bytes=round(sent),
        computers=computers,
        eta_s=max(cpu_s / computers, max(times)) if computers else None,
        notes=_notes(units, whole, times, mean_s, minutes, speed),
    )


def _notes(
    units: list[NewUnit], whole: bool, times: list[float], mean_s: float, minutes: float, speed: float | None
) -> list[str]:
    notes = []
    if not units:
        notes.append("it ends without any unit")
    elif not whole:
        notes.append(f"only the first {COUNTED} units were counted")
    if len(times) > 1 and max(times) > UNEVEN * max(min(times), 0.01):
        notes.append(
            f"samples took from {min(times):.2f} to {max(times):.2f} s: the time of all is uncertain, and smaller "
            "units would end together"
        )
    told_s, took_s = minutes * 60 / max(1, len(units)), mean_s * (speed or 1.0)
    off = OFF if speed is None else CALIBRATED
    if units and took_s > 0 and not took_s / off <= told_s <= took_s * off:
        where = "here" if speed is None else "on the reference core, by this computer's calibration,"
        notes.append(
            f"a unit takes {took_s:.2f} s {where} and is worth {told_s:.2f} s of the reference core: "
            f"credit={took_s / 60:.2g} would be nearer"
        )
    return notes


def _text(found: Estimate) -> str:
    least = "" if found.all_units else "at least "
    lines = [
        f"units        {least}{found.units}, sent out {least}{count(found.copies, 'time')}",
        f"a unit       {found.unit_cpu_s:.2f} s on a core of this computer ({count(found.sampled, 'sample')})",
        f"in all       {duration(found.cpu_s)} on one core like this one",
        f"credit       {found.credit_minutes:.4g} minutes of the reference core, as the units say",
        f"travels      {size(found.sent_bytes)}",
    ]
    if found.computers == 0:
        lines.append("would end    not yet: no computer is with the server now")
    elif found.eta_s is not None:
        here = count(found.computers or 0, "computer")
        lines.append(f"would end    in about {duration(found.eta_s)}, if one core of {here} does nothing else")
    return "\n".join(lines)
