"""Teams at a real server: made, joined by a code or with the server in one step, left, led; credit stays with them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner
from sqlalchemy import select, update

from dsage import wire
from dsage.errors import Conflict, InviteRefused, NotAllowed, NotFound, UsageError
from dsage.trust.documents import Enrolment
from dsage.trust.envelope import seal
from dsage.trust.keys import PrivateKey
from dsage_server.admin import admin
from dsage_server.store import kinship
from dsage_server.store.schema import credit_entry, credit_team, host, invite, volunteer
from dsage_server.store.teams import INVITE_S, SILENT_S
from dsage_server.testing import Host, World, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = iter(f"Otters {n}" for n in range(1000))


@pytest.fixture(autouse=True)
def at_home(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's commands find the server."""
    monkeypatch.setenv("DSAGE_HOME", str(world.folder))


async def ask(host: Host, do: str, *, name: str = "", code: str = "") -> wire.TeamView:
    wish = {"do": do, "name": name, "code": code}
    view: wire.TeamView = await host.conn.call("POST", "/v1/account/team", wish, wire.TeamView, token=host.token)
    return view


async def look(host: Host) -> wire.TeamView:
    view: wire.TeamView = await host.conn.call("GET", "/v1/account/team", None, wire.TeamView, token=host.token)
    return view


async def team_of(world: World, *others: Host) -> tuple[Host, wire.TeamView, str]:
    """Make a team of a new volunteer and of others; return the founder, the team and an invite."""
    founder = await world.host()
    made = await ask(founder, "create", name=next(NAMES))
    code = (await ask(founder, "invite")).code
    for other in others:
        await ask(other, "join", code=code)
    return founder, made, code


async def command(*words: str) -> Any:
    found = await asyncio.to_thread(CliRunner().invoke, admin, ["team", *words, "--json"])
    assert found.exception is None, found.output
    return json.loads(found.stdout)["data"]


async def moved(world: World, statement: Any) -> None:
    await world.running.hub.store.write(lambda c: c.execute(statement))


@pytest_asyncio.fixture(loop_scope="module")
async def member(world: World) -> Host:
    """A volunteer in no team."""
    return await world.host()


async def test_a_team_is_made_joined_and_left(world: World) -> None:
    host = await world.host()
    assert await look(host) == wire.TeamView()
    founder, made, code = await team_of(world)
    assert (made.leads, made.members, made.vacant) == (True, 1, False)
    joined = await ask(host, "join", code=code)
    assert (joined.team, joined.name, joined.leads, joined.members) == (made.team, made.name, False, 2)
    assert joined.founder, "the founder is on the leaderboard"
    view = await host.conn.call("GET", "/v1/account", None, wire.AccountView, token=host.token)
    assert view.team == made.name
    assert await ask(host, "leave") == wire.TeamView()
    assert await ask(host, "leave") == wire.TeamView()
    assert (await look(founder)).members == 1


async def test_one_team_at_a_time_also_when_two_are_joined_at_once(world: World) -> None:
    host = await world.host()
    codes = [(await team_of(world))[2] for _ in range(4)]
    found = await asyncio.gather(*(ask(host, "join", code=code) for code in codes), return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["Conflict", "Conflict", "Conflict", "TeamView"]
    with pytest.raises(Conflict, match="you are in the team"):
        await ask(host, "create", name=next(NAMES))


async def test_two_who_want_one_name_at_once_do_not_both_get_it(world: World) -> None:
    hosts, name = [await world.host() for _ in range(3)], next(NAMES)
    spelled = [name, name.upper(), f" {name}  "]
    found = await asyncio.gather(
        *(ask(host, "create", name=text) for host, text in zip(hosts, spelled, strict=True)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in found) == ["Conflict", "Conflict", "TeamView"]


async def test_what_cannot_be(world: World, member: Host) -> None:
    with pytest.raises(UsageError, match="cannot be a team's name"):
        await ask(member, "create", name="<script>alert(1)</script>")
    for do in ("invite", "lead"):
        with pytest.raises(NotFound, match="no team"):
            await ask(member, do)
    with pytest.raises(UsageError):
        await ask(member, "conquer")
    for code in ("", "nonsense", (await world.running.invite()).code):
        with pytest.raises(InviteRefused, match="no team"):
            await ask(member, "join", code=code)
    founder, _, code = await team_of(world)
    await ask(member, "join", code=code)
    with pytest.raises(NotAllowed, match="leader"):
        await ask(member, "invite")
    with pytest.raises(NotAllowed, match="60 days"):
        await ask(member, "lead")
    assert (await ask(founder, "lead")).leads
    assert await look(founder) == await look(founder)


async def test_an_invite_runs_out_is_used_up_or_replaced(world: World, member: Host) -> None:
    founder, team, first = await team_of(world)
    second = await ask(founder, "invite")
    assert second.valid_s == INVITE_S
    with pytest.raises(InviteRefused):
        await ask(member, "join", code=first)
    mine = invite.c.team_id == team.team
    for change, said in (({"expires": 1.0}, "out of time"), ({"expires": 9e9, "uses_left": 0}, "used up")):
        await moved(world, update(invite).where(mine).values(**change))
        with pytest.raises(InviteRefused, match=said):
            await ask(member, "join", code=second.code)
    await moved(world, update(invite).where(mine).values(uses_left=1))
    assert (await ask(member, "join", code=second.code)).members == 2


async def test_a_team_goes_on_without_its_founder_and_ends_with_its_last_member(world: World) -> None:
    first, second = await world.host(), await world.host()
    founder, team, code = await team_of(world, first, second)
    await ask(founder, "leave")
    assert (await look(first)).leads
    assert not (await look(second)).leads
    await first.conn.call("POST", "/v1/account/leave", wire.Leave(erase=True), wire.Left, token=first.token)
    assert ((view := await look(second)).leads, view.members) == (True, 1)
    code = (await ask(second, "invite")).code
    await ask(second, "leave")
    with pytest.raises(InviteRefused):
        await ask(founder, "join", code=code)
    with pytest.raises(Conflict, match="was, a team"):
        await ask(founder, "create", name=team.name)


async def test_a_team_of_a_silent_founder_is_taken_over(world: World, member: Host) -> None:
    founder, _, _ = await team_of(world, member)
    now = world.running.hub.clock()
    since = now - SILENT_S
    for seen, joined, vacant in ((since + 60, 0.0, False), (since - 60, now, True), (None, since - 60, True)):
        here = host.c.volunteer_id == founder.volunteer
        await moved(world, update(host).where(here).values(last_seen=seen))
        await moved(world, update(volunteer).where(volunteer.c.id == founder.volunteer).values(team_since=joined))
        assert (await look(member)).vacant is vacant
    assert (await ask(member, "lead")).leads
    assert not (await look(founder)).leads


async def newcomer(world: World, by: Host, code: str) -> Host:
    """Somebody joins the server by a team's link, over the connection of another host."""
    link, key = by.conn.link, PrivateKey.generate()
    challenge = await by.conn.call("POST", "/v1/challenge", None, wire.ChallengeReply)
    said = Enrolment(
        server_id=link.server_id, challenge=challenge.challenge, ca=link.ca, key=key.public, code=code, public=False
    )
    known = await by.conn.call("POST", "/v1/enrol", seal(said, key), wire.EnrolReply)
    other = Host(world.running, by.conn, key, volunteer=known.volunteer)
    await other.sign_in()
    return other


async def test_a_link_takes_a_newcomer_into_server_and_team_in_one_step(world: World) -> None:
    founder, team, code = await team_of(world)
    other = await newcomer(world, founder, code)
    assert ((await look(other)).team, (await look(founder)).members) == (team.team, 2)
    only = select(volunteer.c.verifiable_only).where(volunteer.c.id == other.volunteer)
    assert await world.running.hub.store.read(lambda c: c.execute(only).scalar_one()) is True


async def test_who_comes_by_a_teams_links_is_kin_to_the_others_and_to_who_made_them(world: World) -> None:
    known = await world.host()
    founder, team, first = await team_of(world, known)
    one = await newcomer(world, founder, first)
    two = await newcomer(world, founder, (await ask(founder, "invite")).code)
    asked = [host.volunteer for host in (known, founder, one, two)]
    kin = await world.running.hub.store.read(lambda c: kinship.of(c, asked))
    lineage = {f"team-{team.team}"}
    assert known.volunteer not in kin, "the operator vouches for who was here before"
    assert kin[founder.volunteer] == lineage
    assert lineage < kin[one.volunteer] & kin[two.volunteer]


async def test_credit_stays_with_the_team_that_one_was_in(world: World) -> None:
    host, run = await world.host(), await world.run("Checked")
    founder, team, _ = await team_of(world, host)
    store = world.running.hub.store

    async def teams() -> list[int | None]:
        mine = credit_entry.c.volunteer_id == host.volunteer
        query = select(credit_entry.c.team_id).where(mine).order_by(credit_entry.c.id)
        return await store.read(lambda c: list(c.execute(query).scalars()))

    async def earn(*expected: int | None) -> None:
        await run.make(1000)
        got = await host.fetch()
        assert await host.report(got, [1000]) == ["ok"]

        async def granted() -> bool:
            return len(await teams()) == len(expected)

        await until(granted)
        assert await teams() == list(expected)

    await earn(team.team)
    await ask(host, "leave")
    other = await ask(host, "create", name=next(NAMES))
    await earn(team.team, other.team)
    await ask(host, "leave")
    await earn(team.team, other.team, None)

    async def folded() -> bool:
        return await store.read(
            lambda c: c.execute(select(credit_team.c.valid).where(credit_team.c.team_id == other.team)).scalar() == 1
        )

    await until(folded)
    view = await look(founder)
    assert view.granted_milli > 0
    assert view.recent > 0


async def test_an_operator_lists_renames_and_closes_teams(world: World, member: Host) -> None:
    founder, team, code = await team_of(world, member)
    _, other, _ = await team_of(world)
    (row,) = [each for each in await command("ls") if each["team"] == team.team]
    assert (row["name"], row["members"], row["credit"]) == (team.name, 2, 0.0)
    name = next(NAMES)
    assert (await command("rename", str(team.team), name))["name"] == name
    assert (await look(member)).name == name
    for words, kind in (
        (["rename", str(team.team), "<b>"], UsageError), (["rename", str(team.team), other.name], Conflict),
        (["rename", "999999", next(NAMES)], NotFound), (["close", "999999", "--yes"], NotFound),
        (["close", str(team.team)], UsageError),
    ):  # fmt: skip
        found = await asyncio.to_thread(CliRunner().invoke, admin, ["team", *words])
        assert isinstance(found.exception, kind), words
    assert (await command("close", str(team.team), "--yes"))["members"] == 2
    assert await look(founder) == wire.TeamView()
    with pytest.raises(InviteRefused):
        await ask(member, "join", code=code)
    assert team.team not in [each["team"] for each in await command("ls")]
