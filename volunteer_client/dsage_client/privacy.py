"""`dsage privacy`: what others see of a volunteer, at each server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from dsage.cli.options import json_option
from dsage.errors import NotFound, ServerAway, UsageError
from dsage.wire import Privacy
from dsage_client.cli import SHOWABLE as AT_FIRST
from dsage_client.commands import home_option

if TYPE_CHECKING:
    from dsage_client.door.desk import Desk
    from dsage_client.door.words import Membership

PRIVACY: Final = "dsage.privacy/1"
SHOWABLE: Final = (*AT_FIRST, "export")
"""What others may see: what one may say when joining, and the files for statistics sites."""


@click.command(short_help="Show or change what others see of you.")
@click.argument("server", default="")
@click.option(
    "--show", "shown", type=click.Choice(SHOWABLE), multiple=True, help="Let others see this. May be repeated."
)
@click.option(
    "--hide", "hidden", type=click.Choice(SHOWABLE), multiple=True, help="Let others see this no more. May be repeated."
)
@home_option
@json_option
def privacy(server: str, shown: tuple[str, ...], hidden: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """Show or change what others see of you.

    Nothing, until you switch it on: the leaderboard lists your pseudonym with its credit, discoveries name it beside
    what your computers find, and the export puts it, with your team, and your computers (kind, cores and credit) into
    the daily files for statistics sites. SERVER (its id or address) is needed only to change something where this
    computer works for several.
    """
    from dsage.cli.output import emit
    from dsage.home import Home

    folder = (Home() if home is None else Home(home.absolute())).client
    if both := sorted(set(shown) & set(hidden)):
        raise UsageError(f"{both[0]} cannot be shown and hidden at once", hint="Leave one of the two out.")
    found = asyncio.run(_act(folder, server, shown, hidden))
    views = {each.server: {"url": each.url, "pseudonym": each.pseudonym, "shown": each.shown} for each in found}
    text = "\n".join(line for each in found for line in _told(each))
    emit(PRIVACY, views, as_json, text or "this computer works for no server")


async def _act(folder: Path, server: str, shown: tuple[str, ...], hidden: tuple[str, ...]) -> list[Membership]:
    from dsage_client.door.desk import Desk

    async with await Desk.open(folder) as desk:
        found = await _chosen(desk, server)
        if not (shown or hidden):
            return found
        if len(found) != 1:
            raise UsageError(
                "it is not clear at which server",
                hint=f"Name one of these: {' '.join(each.server for each in found) or 'none is joined yet'}.",
            )
        await desk.privacy(found[0].server, _changed(found[0].shown, shown, hidden))
        return await _chosen(desk, found[0].server)


async def _chosen(desk: Desk, server: str) -> list[Membership]:
    found = [each for each in (await desk.status()).servers if server in ("", each.server, each.url)]
    if server and not found:
        raise NotFound(f"this computer does not work for {server!r}", hint="`dsage status` lists its servers.")
    return found


def _changed(before: Privacy | None, shown: tuple[str, ...], hidden: tuple[str, ...]) -> Privacy:
    """Return what is shown after a change. Raises ServerAway if what stays as it is has not been told."""
    if before is None and set(SHOWABLE) - set(shown) - set(hidden):
        raise ServerAway(
            "the server has not told yet what it shows of you",
            hint="Wait a moment, or name both with --show and --hide.",
        )
    return Privacy(
        **{name: name in shown or (name not in hidden and getattr(before, name)) for name in SHOWABLE},
    )


def _told(server: Membership) -> list[str]:
    if server.shown is None:
        return [f"{server.name}, as {server.pseudonym}: the server has not told yet"]
    words = {True: "shown", False: "hidden"}
    return [
        f"{server.name}, as {server.pseudonym}",
        *(f"  {name:<12} {words[getattr(server.shown, name)]}" for name in SHOWABLE),
    ]
