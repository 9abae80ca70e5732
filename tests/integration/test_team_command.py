"""`dsage team`, from the command through a real client to a real server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from doors import asked, client

from dsage.trust.invite import Link
from dsage_server.testing import running_server


async def data(home: Path, *words: str) -> Any:
    status, out, said = await asked(home, "team", *words, "--json")
    assert status == 0, said
    return json.loads(out)["data"]


async def test_a_team_by_command(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    async with (
        running_server(tmp_path / "server") as server,
        client(a, str(await server.invite())) as desk,
        client(b, str(await server.invite())),
    ):
        assert (await asked(a, "team"))[:2] == (0, "you are in no team\n")
        status, out, _ = await asked(a, "team", "create", "Night  Otters")
        assert (status, out.splitlines()[0]) == (0, "Night Otters")
        link = (await asked(a, "team", "invite"))[1].strip()
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
            status, _, said = await asked(home, "team", *words)
            assert status != 0
            assert says in said
        async with client(c, link):
            assert (await data(c))["members"] == 3, "the link takes a newcomer into server and team"
        assert (await data(b, "leave"))["team"] == 0
        assert (await data(a))["members"] == 2
