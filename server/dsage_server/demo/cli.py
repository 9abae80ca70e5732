"""`dsage demo`: the whole of DSage in half a minute, on one computer."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from dsage.cli.options import json_option
from dsage.cli.output import emit, say
from dsage.cli.values import shown
from dsage.errors import UsageError
from dsage_server.demo.groundwork import Groundwork, groundwork
from dsage_server.demo.outcome import SCHEMA, Outcome, closing
from dsage_server.demo.place import check_keep
from dsage_server.demo.prose import width_of

if TYPE_CHECKING:
    from dsage_server.demo.play import Wish
    from dsage_server.demo.stage import Volunteer

NUMBER: Final = "11^150+1"
MOST_VOLUNTEERS: Final = 32
INTERRUPTED: Final = 130
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(short_help="Factor a number with a server and volunteers of your own, all on this computer.")
@click.option(
    "--number",
    default=NUMBER,
    metavar="EXPR",
    show_default=True,
    help="What to factor: integers with + - * / ^ and parentheses.",
)
@click.option(
    "--volunteers",
    type=click.IntRange(1, MOST_VOLUNTEERS),
    default=2,
    metavar="K",
    show_default=True,
    help="How many volunteers join. With one alone, nobody checks answers that do not prove themselves.",
)
@click.option(
    "--budget",
    type=click.FloatRange(0.0, 1e9, min_open=True),
    metavar="SECONDS",
    help="Stop after this time; what is not split by then is labelled, and the exit code is 8.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the server's and the volunteers' homes there, and say how to look at them.",
)
@click.option("--cheater", is_flag=True, help="One more volunteer joins and lies, and another one judges.")
@json_option
def demo(number: str, volunteers: int, budget: float | None, keep: Path | None, cheater: bool, as_json: bool) -> int:
    """Factor a number with a server and volunteers of your own, all on this computer.

    Starts a server and volunteers as programs of their own, which trust each other no more than strangers
    would, and shows how they split the number between them. At its end, also after Ctrl-C, nothing is left of it
    unless you ask for that with --keep.

    Exit codes: 0 for a complete answer, 2 for a number that cannot be taken on, 8 if the budget ended it.
    """
    started = time.monotonic()
    if budget is not None and math.isnan(budget):
        raise UsageError("the budget is not a number of seconds")
    if keep is not None:
        check_keep(keep)
    begun = groundwork(number)
    outcome: Outcome | None
    if begun.complete:
        outcome = _without_volunteers(number, begun, started)
    else:
        from dsage_server.demo.play import Wish

        wish = Wish(
            number=number,
            begun=begun,
            budget_s=budget or 0.0,
            volunteers=volunteers,
            keep=keep,
            cheater=cheater,
            started=started,
        )
        outcome = _performed(wish)
    if outcome is None:
        return INTERRUPTED
    if as_json:
        emit(SCHEMA, outcome.document(), as_json)
        for line in outcome.kept:
            say(line)
    else:
        _bow(outcome)
    return outcome.exit_status


def _without_volunteers(number: str, begun: Groundwork, started: float) -> Outcome:
    return Outcome(
        number=number,
        n=begun.n,
        factors=begun.factors,
        unfinished=begun.unfinished,
        seconds=time.monotonic() - started,
    )


def _performed(wish: Wish) -> Outcome | None:
    """Play the demo, or return None if it was interrupted: then everything has been cleared away."""
    from dsage_server.demo.play import play
    from dsage_server.demo.showing import Showing

    volunteers: list[Volunteer] = []
    screen = Showing(volunteers, [p for p, _ in wish.begun.factors])
    screen.say(_opening(wish), "bold")
    screen.say(f"  at once      {wish.begun.sentence}")

    async def perform() -> Outcome:
        task = asyncio.current_task()
        assert task is not None
        received: list[int] = []

        def interrupt(number: int) -> None:
            if not received:
                received.append(number)
                task.cancel()

        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, interrupt, number)
        return await play(wish, volunteers, screen)

    try:
        return asyncio.run(perform())
    except asyncio.CancelledError:
        screen.say("The demo was stopped; nothing of it is left running.")
        return None


def _opening(wish: Wish) -> str:
    people = f"{wish.volunteers} volunteer{'' if wish.volunteers == 1 else 's'}"
    extra = ", a liar and a judge" if wish.cheater else ""
    return f"DSage demo: {shown(wish.number, 60)} is to be factored by a server, {people}{extra}, all on this computer."


def _bow(outcome: Outcome) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        console.print()
    console.print(closing(outcome, width_of(console)), soft_wrap=True)
