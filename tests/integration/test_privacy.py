"""What a person decides about their account, from the door of a real client to a real server and its lists."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from doors import asked, client
from sqlalchemy import select

from dsage.errors import Conflict, NotFound, ServerAway, UsageError
from dsage.trust.invite import Link
from dsage.wire import Privacy
from dsage_client import asking
from dsage_client.door.desk import Desk
from dsage_client.door.words import Ask, Membership, Newcomer
from dsage_server.server import Running
from dsage_server.store import views
from dsage_server.store.schema import volunteer
from dsage_server.testing import running_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "server") as running:
        yield running


async def at(desk: Desk) -> Membership:
    """Wait until the client's one server has told of the account."""
    async with asyncio.timeout(30.0):
        while not (found := (await desk.status()).servers) or found[0].shown is None:
            await asyncio.sleep(0.02)
    return found[0]


async def listed(server: Running) -> set[str | None]:
    """Return the names on the server's leaderboard."""
    lines = await server.hub.store.read(lambda c: views.leaderboard(c, 0.0))
    return {line.pseudonym for line in lines}


async def test_what_others_see_is_shown_and_changed_by_command(server: Running, tmp_path: Path) -> None:
    home = tmp_path / "a"
    async with client(home, str(await server.invite()), "--show", "discoveries") as desk:
        member = await at(desk)
        assert member.shown == Privacy(discoveries=True)
        assert await listed(server) == {None}
        status, out, _ = await asked(home, "privacy", "--show", "leaderboard", "--hide", "discoveries")
        assert (status, [line.split()[-1] for line in out.splitlines()[1:]]) == (0, ["shown", "hidden", "hidden"])
        assert await listed(server) == {member.pseudonym}
        assert (await at(desk)).shown == Privacy(leaderboard=True)
        status, out, _ = await asked(home, "privacy", "--json")
        assert json.loads(out)["data"][member.server]["shown"] == {
            "leaderboard": True, "discoveries": False, "export": False,
        }  # fmt: skip
        assert (await asked(home, "privacy", "--show", "export"))[0] == 0
        assert (await at(desk)).shown == Privacy(leaderboard=True, export=True)
        for words, said in (
            (("--show", "leaderboard", "--hide", "leaderboard"), "at once"),
            (("nobody", "--show", "leaderboard"), "does not work for 'nobody'"),
        ):
            status, _, err = await asked(home, "privacy", *words)
            assert status != 0
            assert said in err


async def test_the_door_changes_it_at_the_server_tells_followers_and_erases_all(
    server: Running, tmp_path: Path
) -> None:
    shown = ("--show", "leaderboard", "--show", "discoveries")
    async with client(tmp_path / "a", str(await server.invite()), *shown) as desk:
        member = await at(desk)
        assert member.shown == Privacy(leaderboard=True, discoveries=True)
        assert await listed(server) == {member.pseudonym}
        async with await Desk.open(tmp_path / "a/client") as other:
            news = other.follow()
            await anext(news)
            status = await desk.privacy(member.server, Privacy())
            assert status.servers[0].shown == Privacy()
            while (await anext(news)).servers[0].shown != Privacy():
                pass
            await news.aclose()  # type: ignore[attr-defined]
        assert await listed(server) == {None}
        with pytest.raises(NotFound):
            await desk.privacy("nobody", Privacy(leaderboard=True))
        with pytest.raises(UsageError):
            await desk._ask(Ask(do="privacy", what=member.server, changes={"leaderboard": "perhaps"}), None)
        assert (await at(desk)).shown == Privacy()
        left = await desk.leave(member.server, erase=True)
        assert left is not None
        assert (left.erased, left.others) == (True, 0)
        assert await server.hub.store.read(lambda c: c.execute(select(volunteer.c.pseudonym)).scalar()) == "left-1"
        assert not (tmp_path / "a/client/servers" / member.server).exists()


async def test_the_name_that_was_offered_is_the_one_that_is_got(server: Running, tmp_path: Path) -> None:
    link = await server.invite()
    first, second = await asking.offer(link), await asking.offer(link)
    assert first.name != second.name
    async with client(tmp_path / "a") as desk:
        with pytest.raises(Conflict, match="is not free"):
            await desk.join(str(link), Newcomer(name="the-boss-100"))
        wish = Newcomer(name=second.name, shown=Privacy(discoveries=True))
        status = await desk.join(str(link), wish)
        assert status.servers[0].pseudonym == second.name
        member = await at(desk)
        assert (member.pseudonym, member.shown) == (second.name, Privacy(discoveries=True))
        more = await asking.offer(Link.parse(await desk.link()))
        assert (more.name, more.linked) == (second.name, True)


async def test_a_server_that_cannot_be_told_to_erase_stays_joined_until_it_can(tmp_path: Path) -> None:
    async with AsyncExitStack() as here:
        async with running_server(tmp_path / "server") as running:
            link = await running.invite()
            desk = await here.enter_async_context(client(tmp_path / "a", str(link)))
            member = await at(desk)
        with pytest.raises(ServerAway, match="stays a member") as caught:
            await desk.leave(member.server, erase=True)
        assert "without erasing" in caught.value.hint
        assert (tmp_path / "a/client/servers" / member.server / "client.key").exists()
        async with running_server(tmp_path / "server", port=urlsplit(link.url).port or 0):
            async with asyncio.timeout(60.0):
                while not (await desk.status()).servers[0].connected:
                    await asyncio.sleep(0.05)
            left = await desk.leave(member.server, erase=True)
            assert left is not None
            assert left.erased
        assert (await desk.status()).servers == []


async def test_a_server_that_is_away_is_left_all_the_same(tmp_path: Path) -> None:
    async with AsyncExitStack() as here:
        async with running_server(tmp_path / "server") as running:
            desk = await here.enter_async_context(client(tmp_path / "a", str(await running.invite())))
            member = await at(desk)
        assert await desk.leave(member.server) is None
        assert (await desk.status()).servers == []


async def test_the_link_to_ones_own_page_is_printed_by_command(server: Running, tmp_path: Path) -> None:
    home = tmp_path / "a"
    async with client(home, str(await server.invite())) as desk:
        await at(desk)
        status, out, _ = await asked(home, "me", "--print")
        assert status == 0
        assert out.startswith(f"{server.pages_url}/login/")
        status, _, err = await asked(home, "me", "--print", "nobody")
        assert status != 0
        assert "does not work for 'nobody'" in err
