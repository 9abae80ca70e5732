"""A volunteer who lies, for `dsage demo --cheater`: `python -m dsage_client.cheater LINK --home DIR`.

It is the ordinary client in every way but one: of each factoring unit it does the work, then throws the answer away
and reports another one, which looks just as good and is wrong. It hides every factor, makes up every residue, in
answers and in what it shows of stopped units. What a server makes of that is the point of the demo.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dsage import codec
from dsage.sandbox import Outcome
from dsage.trust.invite import Link
from dsage.wire import Privacy
from dsage_client import events
from dsage_client.door.words import Newcomer
from dsage_client.joining import volunteer
from dsage_client.runner import Altered, Runner, Work
from dsage_client.settings import Settings


class Liar(Altered):
    """A runner whose answers and checkpoints are lies."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner, lie)

    async def run(self, work: Work) -> Outcome:
        """Run the unit, then lie about it; a stopped unit shows false work too."""

        def show(state: bytes) -> None:
            work.on_checkpoint(pretend(work, state))

        return await super().run(replace(work, on_checkpoint=show))


def lie(work: Work, value: bytes) -> bytes:
    """Return a wrong answer that is well formed: "it is prime", or residues of work that nobody did."""
    args = codec.decode(work.proven.unit.args)
    if args["kind"] == "flint":
        return codec.encode({"factors": [[args["n"], 1]]})
    if args["kind"] == "minus":
        return codec.encode({"residue": _residue(args), "factor": 0})
    return codec.encode({"residues": _residues(args, args["curves"]), "factor": 0, "curve": args["curves"]})


def pretend(work: Work, state: bytes) -> bytes:
    """Return a checkpoint that claims as much work as the true one, none of it real."""
    args, true = codec.decode(work.proven.unit.args), codec.decode(state)
    if "minus" in true:
        return codec.encode({"minus": [true["minus"][0], secrets.randbelow(args["n"])]})
    return codec.encode({"residues": _residues(args, len(true["residues"]))})


def _residues(args: dict[str, Any], count: int) -> list[bytes]:
    return [_residue(args) for _ in range(count)]


def _residue(args: dict[str, Any]) -> bytes:
    n = args["n"]
    return secrets.randbelow(n).to_bytes((n.bit_length() + 7) // 8, "big")


@click.command()
@click.argument("link", type=Link.parse)
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of its own.")
@click.option("--slots", type=click.IntRange(1, 256), default=1, help="How many units to lie about at a time.")
def cheat(link: Link, home: Path, slots: int) -> None:
    """Join the server behind LINK, and lie to it; one JSON document per event on stdout."""
    settings = Settings(folder=home.absolute() / "client", slots=slots, own_work=True)
    shown = Newcomer(shown=Privacy(leaderboard=True, discoveries=True))
    asyncio.run(volunteer(settings, link, events.json_lines(), newcomer=shown, wrap=Liar))


if __name__ == "__main__":
    cheat()
