"""The demo's plot: a server starts, volunteers join, a number is factored, everybody is thanked."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dsage import bundle
from dsage.cli.following import drive_and_show, ending, result_of
from dsage.cli.terminal import progress_of
from dsage.driver import Driver
from dsage.errors import DSageError
from dsage.researcher import Researcher
from dsage.states import ReplicaState, RunState, UnitState
from dsage.wire import RunView
from dsage_server.demo.groundwork import Groundwork
from dsage_server.demo.outcome import Liar, Outcome
from dsage_server.demo.place import Place, place
from dsage_server.demo.showing import Showing
from dsage_server.demo.stage import LANDLOCK, Serving, Stage, Volunteer

SETTLE_S: Final = 3.0
"""How long the last answers may take to come in and be paid, after the number is factored."""
LOOK_S: Final = 0.1
PROJECT: Final = "factor"
QUORUM: Final = 2
"""The factor project's own."""
OPEN_REPLICAS: Final = (ReplicaState.LEASED, ReplicaState.REPORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for; `started` is the demo's start on the monotonic clock, `budget_s` 0 without one."""

    number: str
    begun: Groundwork
    budget_s: float
    volunteers: int
    keep: Path | None
    cheater: bool
    started: float

    @property
    def honest(self) -> int:
        """How many honest volunteers there will be: with a liar about, one more judges."""
        return self.volunteers + self.cheater

    @property
    def quorum(self) -> int:
        """How many must agree on finding nothing."""
        return min(QUORUM, self.honest)

    @property
    def params(self) -> dict[str, Any]:
        """The factor project's parameters, as far as they are not what it takes by itself."""
        budget = {"budget_s": self.budget_s} if self.budget_s else {}
        quorum = {"quorum": self.quorum} if self.quorum != QUORUM else {}
        return {"n": self.number} | budget | quorum


async def play(wish: Wish, volunteers: list[Volunteer], screen: Showing) -> Outcome:
    """Play the demo to its end and return what it came to. Whatever happens, nothing is left running.

    `volunteers` is filled with those who take part, for the screen to show.
    """
    slots = max(1, len(os.sched_getaffinity(0)) // wish.volunteers)
    with place(wish.keep) as where:
        async with Stage(where, volunteers, slots=slots, needed=wish.quorum, say=screen.say) as stage:
            serving = await stage.serve(wish.honest + wish.cheater)
            screen.say(f"  server       {serving.url}, process {stage.pid}: TLS, SQLite, fresh keys")
            return await _act(wish, stage, serving, screen)


async def _act(wish: Wish, stage: Stage, serving: Serving, screen: Showing) -> Outcome:
    first = [await stage.join(lies=True)] if wish.cheater else [await stage.join() for _ in range(wish.volunteers)]
    packed = bundle.pack(PROJECT)
    function = packed.function(**wish.params)
    async with await stage.unless_broken(stage.researcher()) as api:
        run = await api.submit(packed, function, wish.params, likely=PROJECT)
        screen.say(f"  live page    {serving.pages_url}/run/{run}   (open it in a browser)", "bold green")
        for volunteer in first:
            await stage.unless_broken(_introduced(volunteer, screen))
        _loud(serving.sandbox, first, screen)
        with screen:
            driver = Driver(function, api, run, say=screen.say)
            async with _joining_later(wish, stage, screen):
                await stage.unless_broken(drive_and_show(api, driver, run, screen))
        view = await _settled(api, run)
        return await _thanks(wish, stage, api, view, serving)


async def _introduced(volunteer: Volunteer, screen: Showing) -> None:
    await volunteer.joined.wait()
    assert volunteer.child is not None
    who = f"{volunteer.name.replace('-', ' '):<11}  {volunteer.pseudonym}, process {volunteer.child.pid}"
    if volunteer.lies:
        screen.say(f"  {who}: LIES about every unit", "red")
    else:
        screen.say(f"  {who}: joined by the invite link")


def _loud(checks: str | None, volunteers: list[Volunteer], screen: Showing) -> None:
    """Say how strangers' code is held: the weakest box that any of the programs uses."""
    weakest = next((v for v in volunteers if v.sandbox == LANDLOCK), volunteers[0])
    weak = LANDLOCK in (checks, weakest.sandbox)
    level = str(LANDLOCK if weak else weakest.sandbox).upper()
    screen.say(f"  SANDBOX      {level}. {weakest.sandbox_sentence}", "bold red" if weak else "bold")


@asynccontextmanager
async def _joining_later(wish: Wish, stage: Stage, screen: Showing) -> AsyncIterator[None]:
    """Let the honest volunteers of a demo with a cheater join after its first lie, so that there is one to show."""

    async def join() -> None:
        liar = stage.volunteers[0]
        await liar.answered.wait()
        screen.say(f"{liar.pseudonym} has told its first lie; {wish.honest} honest volunteers join now.", "red")
        for volunteer in [await stage.join() for _ in range(wish.honest)]:
            await _introduced(volunteer, screen)

    task = asyncio.create_task(join()) if wish.cheater else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _settled(api: Researcher, run: int) -> RunView:
    """Return the run when the last answers are in and paid, or when that takes too long."""
    ends = time.monotonic() + SETTLE_S
    while True:
        view = await api.run(run)
        if not any(view.replicas.get(state) for state in OPEN_REPLICAS) or time.monotonic() >= ends:
            return view
        await asyncio.sleep(LOOK_S)


async def _thanks(wish: Wish, stage: Stage, api: Researcher, view: RunView, serving: Serving) -> Outcome:
    if view.state != RunState.DONE:
        raise DSageError(ending(view), hint="Run the demo again with --keep DIR, and look at the logs there.")
    result = result_of(view)
    found = dict(result["found_by"])
    names = {f.unit: f.pseudonym for f in await api.finders(view.run, found.values())} if found else {}
    paid = await api.credit(view.run)
    people = [v for v in stage.volunteers if v.pseudonym]
    return Outcome(
        number=wish.number,
        n=result["n"],
        factors=result["factors"],
        unfinished=result["unfinished"],
        seconds=time.monotonic() - wish.started,
        budget_s=wish.budget_s,
        units=sum(view.units.values()),
        called_off=view.units.get(UnitState.CANCELLED, 0),
        replicas=sum(view.replicas.values()),
        curves=_curves(view),
        credit={v.pseudonym: paid.get(v.pseudonym, 0) / 1000 for v in people},
        found_by={p: names[unit] for p, unit in found.items() if unit in names},
        liar=await _liar(people, api, view.run),
        kept=_kept(stage.place, serving, view.run) if wish.keep else (),
    )


def _curves(view: RunView) -> int:
    curves: int = progress_of(view).get("curves_done", 0)
    return curves


async def _liar(people: list[Volunteer], api: Researcher, run: int) -> Liar | None:
    """Count what became of the lies, from what the server told of them."""
    liar = next((v for v in people if v.lies), None)
    if liar is None:
        return None
    refused, last = 0, 0
    while events := await api.events(run, after=last):
        refused += sum(event.kind == "refused" and f" {liar.pseudonym} " in event.text for event in events)
        last = events[-1].id
    return Liar(pseudonym=liar.pseudonym, answers=liar.answers, refused=refused)


def _kept(where: Place, serving: Serving, run: int) -> tuple[str, ...]:
    """Say how to look at what was kept; the server wants its old port back, for links and clients name it."""
    home = where.server.folder
    ports = [urlsplit(url).port for url in (serving.url, serving.pages_url)]
    return (
        f"Kept in {where.homes}: the homes of the server and of each volunteer, and a log beside each. To look at it:",
        f"  export DSAGE_HOME={shlex.quote(str(home))}",
        f"  dsage serve --listen 127.0.0.1:{ports[0]} --pages localhost:{ports[1]} &",
        f"  dsage results {run}                (and {serving.pages_url}/run/{run} in a browser)",
    )
