"""`dsage run`: a whole run, or some of its units, on this computer and without a server."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import click

from dsage import codec
from dsage.bundle import Bundle, pack
from dsage.cli.following import drive_and_show, ending, tell
from dsage.cli.options import json_option, target_argument
from dsage.cli.output import emit, say
from dsage.cli.terminal import Screen
from dsage.cli.values import as_json, parse_params, shown
from dsage.driver import Driver
from dsage.errors import UsageError
from dsage.function import DistributedFunction
from dsage.places.local import LocalPlace
from dsage.researcher import construct
from dsage.states import RunState
from dsage.trying import Trial, first_units
from dsage.wire import NewUnit, RunView

SCHEMA: Final = "dsage.tried/1"
UNFINISHED: Final = 8
MOST: Final = 100_000
"""Units that are made at most to reach the ones asked for."""

_RANGE = re.compile(r"(\d*):(\d*)|(\d+)", re.ASCII)


@click.command(short_help="Run a whole run, or some units, on this computer.")
@target_argument
@click.option("--units", "wanted", metavar="FROM:TO", help="Only compute these units, such as 0:4, and print answers.")
@click.option("--workers", type=click.IntRange(1, 1024), metavar="N", help="Units at a time (default: one a core).")
@json_option
def run(target: str, params: tuple[str, ...], wanted: str | None, workers: int | None, as_json: bool) -> int:
    """Run a whole run, or some units, on this computer.

    TARGET as for `dsage submit`, and answer and exit codes too; but no server and no key are needed. Units run in
    the sandbox of volunteers' computers, once each. With --units, the units that the run makes first are counted
    from 0, and nothing is folded.
    """
    values = parse_params(params)
    packed = pack(target)
    function = construct(packed.function, values)
    function.dump_state()
    if wanted is not None:
        return _some(target, packed, function, _range(wanted), as_json)
    try:
        view = asyncio.run(_whole(packed, function, values, workers))
    except KeyboardInterrupt:
        say(f"stopped; nothing of it is kept. `dsage submit {target}` would go on without this computer")
        raise
    if view.state != RunState.DONE:
        say(ending(view))
    return tell(view, as_json)


async def _whole(packed: Bundle, function: DistributedFunction, params: dict[str, Any], workers: int | None) -> RunView:
    place = LocalPlace(workers)
    try:
        number = await place.submit(packed, function, params)
        with Screen("Ctrl-C stops it.") as screen:
            return await drive_and_show(place, Driver(function, place, number, say=screen.say), number, screen)
    finally:
        await place.close()


def _some(target: str, packed: Bundle, function: DistributedFunction, which: slice, as_json: bool) -> int:
    units, whole = first_units(function, MOST if which.stop is None else which.stop)
    chosen = units[which]
    if not chosen:
        raise UsageError(
            f"there are no such units: {target} makes {len(units)}{'' if whole else ' or more'} at its start",
            hint="They are counted from 0.",
        )
    done = asyncio.run(_computed(packed, chosen, first=which.start or 0))
    text = "\n".join(f"{each['key']}: {_told(each)}" for each in done)
    emit(SCHEMA, done, as_json, text)
    failed = [each for each in done if each["reason"]]
    if failed:
        say(f"{len(failed)} of {len(done)} failed; `dsage check {target}` looks closer")
    return UNFINISHED if failed else 0


async def _computed(packed: Bundle, chosen: list[NewUnit], first: int) -> list[dict[str, Any]]:
    found = []
    async with Trial.opened(packed) as trial, trial.box() as box:
        for index, unit in enumerate(chosen, first):
            outcome = await trial.compute(box, unit)
            value = None if outcome.value is None else codec.decode(outcome.value)
            found.append(
                {
                    "index": index,
                    "key": unit.key,
                    "args": as_json(codec.decode(unit.args)),
                    "value": as_json(value),
                    "reason": outcome.reason,
                    "detail": outcome.detail,
                    "cpu_s": outcome.cpu_s,
                    "wall_s": outcome.wall_s,
                }
            )
    return found


def _told(each: dict[str, Any]) -> str:
    if not each["reason"]:
        return shown(each["value"], 10_000)
    last = (each["detail"].strip().splitlines() or [""])[-1]
    return f"failed ({each['reason']}) {shown(last, 500)}".rstrip()


def _range(text: str) -> slice:
    match = _RANGE.fullmatch(text)
    if match is None or text == ":":
        raise UsageError(f"{text!r} names no units", hint="Write --units 0:4 for the first four, --units 7 for one.")
    if match[3]:
        return slice(int(match[3]), int(match[3]) + 1)
    return slice(int(match[1] or 0), int(match[2]) if match[2] else None)
