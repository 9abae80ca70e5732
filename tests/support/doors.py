"""A real client as a process, somebody at its door, and the commands that a person types beside it."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dsage.errors import NoAgent
from dsage_client.door.desk import Desk

DSAGE = str(Path(sys.executable).with_name("dsage"))


async def asked(home: Path, command: str, *words: str) -> tuple[int, str, str]:
    """Run a command of `dsage` to its end; return its exit status and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        DSAGE, command, *words, "--home", str(home), stdout=PIPE, stderr=PIPE
    )
    out, said = await asyncio.wait_for(process.communicate(), 30.0)
    assert process.returncode is not None
    return process.returncode, out.decode(), said.decode()


@asynccontextmanager
async def client(home: Path, *words: str) -> AsyncIterator[Desk]:
    """Run `dsage join` as a process; yield somebody at its door, once it has joined what `words` name."""
    process = await asyncio.create_subprocess_exec(
        DSAGE, "join", *words, "--when", "never", "--home", str(home), "--json", "--own-work", stdout=DEVNULL
    )
    try:
        async with asyncio.timeout(30.0):
            while not (door := await _knocked(home / "client")) or (words and not (await door.status()).servers):
                await asyncio.sleep(0.05)
        async with door:
            yield door
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 20.0)


async def _knocked(folder: Path) -> Desk | None:
    try:
        return await Desk.open(folder)
    except NoAgent:
        return None
