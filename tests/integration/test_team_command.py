"""`dsage team`, from the command through a real client to a real server."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dsage.errors import NoAgent
from dsage.trust.invite import Link
from dsage_client.door.desk import Desk
from dsage_server.testing import running_server

DSAGE = str(Path(sys.executable).with_name("dsage"))


async def asked(home: Path, *words: str) -> tuple[int, str, str]:
    """Run `dsage team` to its end; return its exit status and what it wrote."""
    process = await asyncio.create_subprocess_exec(DSAGE, "team", *words, "--home", str(home), stdout=PIPE, stderr=PIPE)
    out, said = await asyncio.wait_for(process.communicate(), 30.0)
    assert process.returncode is not None
    return process.returncode, out.decode(), said.decode()


async def data(home: Path, *words: str) -> Any:
    status, out, said = await asked(home, *words, "--json")
    assert status == 0, said
    return json.loads(out)["data"]


@asynccontextmanager
async def client(home: Path, link: Link) -> AsyncIterator[Desk]:
    """Run `dsage join` as a process; yield somebody at its door."""
    process = await asyncio.create_subprocess_exec(
        DSAGE, "join", str(link), "--when", "never", "--home", str(home), "--json", "--own-work", stdout=DEVNULL
    )
    try:
        async with asyncio.timeout(30.0):
            while not (door := await knocked(home / "client")) or not (await door.status()).servers:
                await asyncio.sleep(0.05)
        async with door:
            yield door
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 20.0)


async def knocked(folder: Path) -> Desk | None:
    try:
        return await Desk.open(folder)
    except NoAgent:
        return None


async def test_a_team_by_command(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    async with (
        running_server(tmp_path / "server") as server,
        client(a, await server.invite()) as desk,
        client(b, await server.invite()),
    ):
        assert (await asked(a))[:2] == (0, "you are in no team\n")
        status, out, _ = await asked(a, "create", "Night  Otters")
        assert (status, out.splitlines()[0]) == (0, "Night Otters")
        link = (await asked(a, "invite"))[1].strip()
        assert Link.parse(link).server_id == server.hub.server_id
        joined = await data(b, "join", link)
        assert (joined["name"], joined["members"], joined["leads"]) == ("Night Otters", 2, False)
        at = server.hub.server_id
        assert (await data(a, "--at", at))["members"] == 2
        async with asyncio.timeout(30.0):
            while (await desk.status()).servers[0].team != "Night Otters":
                await asyncio.sleep(0.05)
        for home, words, says in (
            (b, ["--at", "elsewhere"], "does not work for 'elsewhere'"), (b, ["invite"], "only its leader"),
            (b, ["create", "Others"], "One team at a time"), (b, ["create"], "needs one thing more"),
            (b, ["leave", "now"], "takes nothing more"), (b, ["join", "nonsense"], "incomplete"),
            (b, ["lead"], "60 days"),
        ):  # fmt: skip
            status, _, said = await asked(home, *words)
            assert status != 0
            assert says in said
        async with client(c, Link.parse(link)):
            assert (await data(c))["members"] == 3, "the link takes a newcomer into server and team"
        assert (await data(b, "leave"))["team"] == 0
        assert (await data(a))["members"] == 2
