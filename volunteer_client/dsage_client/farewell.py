"""A computer leaves servers: through its agent if one runs, else directly."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from dsage.errors import Conflict, NoAgent, NotFound
from dsage_client import parts
from dsage_client.door.desk import Desk
from dsage_client.membership import Membership, locked
from dsage_client.settings import Settings

STOPPING_S: Final = 20.0
"""How long an agent may take to end in good order."""


async def left(folder: Path, server: str, *, erase: bool) -> list[str]:
    """Leave through the agent if one runs, else directly; return what happened."""
    try:
        async with await Desk.open(folder) as desk:
            servers = {each.server: each.url for each in (await desk.status()).servers}
            chosen = {id: url for id, url in servers.items() if server in ("", id, url)}
            for each, url in chosen.items():
                chosen[each] = url + parts.parting(await desk.leave(each, erase=erase), erase=erase)
            if not server:
                await desk.stop()
    except NoAgent:
        chosen = await _left_directly(Settings(folder=folder), server, erase)
    if server and not chosen:
        raise NotFound(f"this computer does not work for {server!r}", hint="`dsage status` lists its servers.")
    return [f"left {url}" for url in chosen.values()]


def await_end(folder: Path) -> None:
    """Wait until the agent that was told to stop has gone. Raises Conflict if it does not."""
    ends = time.monotonic() + STOPPING_S
    while folder.exists():
        try:
            with locked(Settings(folder=folder).lock_file):
                return
        except Conflict:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)


async def _left_directly(settings: Settings, server: str, erase: bool) -> dict[str, str]:
    """Leave servers while no agent runs; return their addresses by id, with what came of it."""
    chosen: dict[str, str] = {}
    if settings.servers.parent.is_dir():
        with locked(settings.lock_file):
            for own in parts.known(settings):
                member = Membership.load(own.membership_file)
                if member is not None and server in ("", member.server.server_id, member.server.url):
                    said = await parts.farewell(own, member, erase=erase)
                    parts.forget(own)
                    chosen[own.folder.name] = member.server.url + parts.parting(said, erase=erase)
    return chosen
