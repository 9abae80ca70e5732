"""API tokens at the machine API: what they open and what they never do; and the link to a researcher's pages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from dsage import wire
from dsage.cli.tokens import token as token_command
from dsage.cli.web import web as web_command
from dsage.connection import Connection
from dsage.errors import Conflict, DSageError, LoggedOut, NotAllowed, NotFound, UsageError
from dsage.home import Home
from dsage.requests import Requests
from dsage.researcher import Researcher
from dsage.trust.keys import PrivateKey
from dsage_server.server import Running
from dsage_server.store import api_tokens, deeds, visits
from dsage_server.store.schema import api_token
from dsage_server.testing import World, listed
from dsage_server.web.researchers import TWINS

pytestmark = pytest.mark.asyncio(loop_scope="module")

READ = {
    "GET /v1/runs/{run}/units", "GET /v1/runs/{run}/attempts", "GET /v1/runs/{run}/remainder", "GET /v1/discoveries",
    "GET /v1/blobs/{hash}", "GET /v1/runs", "GET /v1/runs/{run}", "GET /v1/status",
    *(f"GET /v1/runs/{{run}}/{word}" for word in ("events", "finders", "credit")),
    *(f"GET {route}.json" for route, _, _ in TWINS),
}  # fmt: skip
WRITE = {
    *(f"POST /v1/runs/{{run}}/{word}" for word in ("drive", "steps", "replay", "cancel", "host", "pause", "resume")),
    *(f"POST /v1/runs/{{run}}/{word}" for word in ("retry", "reopen", "retire")),
    "GET /v1/runs/{run}/answers", "POST /v1/blobs/{hash}/uploads", "HEAD /v1/blobs/{hash}/uploads",
    "PATCH /v1/blobs/{hash}/uploads", "DELETE /v1/blobs/{hash}/uploads",
}  # fmt: skip
NEVER = {
    "PUT /v1/bundles/{hash}", "POST /v1/runs", "POST /v1/runs/{run}/approve", "PUT /v1/projects/{name}",
    "POST /v1/discoveries/{number}/publish", "POST /v1/researcher/page-link", "GET /v1/researcher/tokens",
    "POST /v1/researcher/tokens", "POST /v1/researcher/tokens/{number}/revoke",
}  # fmt: skip
"""What brings in code or says yes to it, tells the public, or makes logins of a token."""


def no_key() -> PrivateKey:
    """A program that has a token asks for no key."""
    raise AssertionError("this would log in")


@asynccontextmanager
async def program(running: Running, token: str) -> AsyncIterator[Requests]:
    """A program calls with a token."""
    async with await Connection.open(running.link()) as conn:
        yield Requests(conn, "", no_key, token)


async def made(world: World, scope: str = "read", lasts_s: float = 60.0) -> wire.TokenView:
    """Make a token of the lab's researcher."""
    run = await world.run()
    return await run.researcher.make_token(wire.TokenWish(name="plots", scope=scope, lasts_s=lasts_s))  # type: ignore[arg-type]


async def test_a_token_for_reading_looks_and_changes_nothing(world: World) -> None:
    token, run = await made(world), world.runs[0]
    await run.make(1)
    async with program(world.running, token.secret) as caller:
        assert [unit.state for unit in (await caller.units(run.run)).units] == ["ready"]
        assert await caller.attempts(run.run) == []
        assert await caller.discoveries() == []
        for refused in (caller.pause(run.run), caller.cancel(run.run), caller.drive(run.run)):
            with pytest.raises(NotAllowed, match="for reading only"):
                await refused
    assert (await world.view(run)).state == "running"


async def test_a_token_for_writing_controls_runs(world: World) -> None:
    token, run = await made(world, "write"), world.runs[0]
    async with program(world.running, token.secret) as caller:
        await caller.pause(run.run)
        assert (await world.view(run)).state == "paused"
        await caller.resume(run.run)
        drive = await caller.drive(run.run)
        assert drive.step == 0
        await caller.cancel(run.run)
    assert (await world.view(run)).state == "cancelled"


async def test_each_call_says_what_a_token_may_and_new_ones_start_with_nothing(world: World) -> None:
    async with await Connection.open(world.running.link()) as conn:
        told = json.loads(await conn.call("GET", "/api/v1/openapi.json", None, bytes))
    found: dict[str, set[str]] = {"read": set(), "write": set(), "": set()}
    for path, item in told["paths"].items():
        for method, call in item.items():
            roles = {role for each in call.get("security", []) for role in each.get("token", [])}
            if isinstance(call, dict) and "researcher" in roles:
                found[call.get("x-token-scope", "")].add(f"{method.upper()} {path}")
    assert found == {"read": READ, "write": WRITE, "": NEVER}


async def test_no_token_makes_code_logins_or_tokens(world: World) -> None:
    token, run = await made(world, "write"), world.runs[0]
    wish = wire.TokenWish(name="more")
    async with program(world.running, token.secret) as caller:
        for refused in (
            caller.page_link(), caller.tokens(), caller.make_token(wish), caller.revoke_token(token.id),
            caller.approve(run.run), caller.publish(1),
            caller.describe("lab", wire.DescribeProject(title="T", purpose="P")),
        ):  # fmt: skip
            with pytest.raises(NotAllowed, match="no API token opens this"):
                await refused
        for method, path in (("PUT", "/v1/bundles/" + "0" * 64), ("POST", "/v1/runs")):
            with pytest.raises(NotAllowed, match="no API token opens this"):
                await caller._authed(method, path, b"x", None)
        with pytest.raises(NotAllowed, match="host's token"):
            await caller._authed("GET", "/v1/account", None, wire.AccountView)


async def test_a_token_ends_when_it_is_revoked_and_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token, run = await made(world), world.runs[0]
    hub = world.running.hub
    async with program(world.running, token.secret) as caller:
        await caller.units(run.run)
        assert next(each for each in await run.researcher.tokens() if each.id == token.id).used is not None
        gone = await run.researcher.revoke_token(token.id)
        assert gone.revoked is not None
        assert (await run.researcher.revoke_token(token.id)).revoked == gone.revoked
        with pytest.raises(LoggedOut):
            await caller.units(run.run)
    later = await made(world)
    now = hub.clock()
    monkeypatch.setattr(hub, "clock", lambda: now + 61.0)
    async with program(world.running, later.secret) as caller:
        with pytest.raises(LoggedOut):
            await caller.units(run.run)


@pytest.mark.parametrize("token", ["dsage_", "dsage_" + "made-up_" * 5, "dsage_" + "é" * 9, "dsage_x y"])
async def test_what_is_no_token_opens_nothing(world: World, token: str) -> None:
    run = await world.run()
    async with program(world.running, token) as caller:
        with pytest.raises((LoggedOut, DSageError)):
            await caller.units(run.run)


async def test_the_database_has_no_secret_and_nobody_elses_token_is_revoked(world: World) -> None:
    token = await made(world)
    store, now = world.running.hub.store, world.running.hub.clock()
    rows = await store.read(lambda c: c.execute(select(api_token)).all())
    assert token.secret not in str(rows)
    with pytest.raises(NotFound):
        await store.write(lambda c: api_tokens.revoke(c, b"somebody else", token.id, now))
    assert await store.read(lambda c: api_tokens.find(c, token.secret, now)) is not None


async def test_a_token_of_a_key_that_is_certified_no_more_opens_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, run = await made(world), world.runs[0]
    root = world.running.hub.chain.root
    chain = world.running.hub.chain
    key = run.researcher.key.public
    without = type(chain)(msgspec.structs.replace(root, revoked_keys=[key]))
    monkeypatch.setattr(world.running.hub, "chain", without)
    async with program(world.running, token.secret) as caller:
        with pytest.raises(NotAllowed, match="revoked"):
            await caller.units(run.run)


@pytest.mark.parametrize(
    ("name", "scope", "lasts_s"), [("", "read", 1.0), ("x" * 61, "read", 1.0), ("a", "all", 1.0), ("a", "read", 4e7)]
)
async def test_what_is_no_wish_for_a_token(world: World, name: str, scope: str, lasts_s: float) -> None:
    store = world.running.hub.store
    with pytest.raises(UsageError):
        await store.write(lambda c: api_tokens.make(c, b"k", name, scope, lasts_s, 0.0))


async def test_there_are_only_so_many(world: World) -> None:
    store = world.running.hub.store
    for _ in range(api_tokens.MOST):
        await store.write(lambda c: api_tokens.make(c, b"many", "x", "read", 10.0, 0.0))
    with pytest.raises(Conflict):
        await store.write(lambda c: api_tokens.make(c, b"many", "x", "read", 10.0, 5.0))
    assert await store.write(lambda c: api_tokens.make(c, b"many", "x", "read", 10.0, 11.0))


async def test_the_link_logs_in_once_as_the_researcher(world: World) -> None:
    run = await world.run()
    link = await run.researcher.page_link()
    assert link.valid_s == visits.LINK_S
    store, now = world.running.hub.store, world.running.hub.clock()
    code = link.url.rpartition("/login/")[2]
    found = await store.write(lambda c: visits.use_link(c, code, now))
    assert found == (visits.Role.RESEARCHER, run.researcher.key.public.hex())
    assert await store.write(lambda c: visits.use_link(c, code, now)) is None


@pytest.fixture
def here(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are typed where the lab's key is."""
    monkeypatch.setenv("DSAGE_HOME", str(shared_folder))


async def typed(command: Any, *words: str) -> Result:
    """Type a command; it has a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, command, words, catch_exceptions=False)


@pytest.mark.usefixtures("here")
async def test_tokens_and_the_link_by_command(
    world: World, shared_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await world.run()
    result = await typed(token_command, "new", "nightly", "--write", "--days", "2")
    secret = result.stdout.strip()
    assert secret.startswith("dsage_")
    assert "for write" in result.stderr
    told = json.loads((await typed(token_command, "ls", "--json")).stdout)["data"]
    (mine,) = [each for each in told if each["name"] == "nightly"]
    assert (mine["scope"], round(mine["expires"] - mine["created"])) == ("write", 2 * 86400)
    assert secret not in str(told)
    assert "nightly" in (await typed(token_command, "ls")).stdout
    monkeypatch.setenv("DSAGE_TOKEN", secret)
    async with await Researcher.open(Home(shared_folder / "elsewhere"), world.running.link()) as api:
        await api.pause(run.run)
        assert (await world.view(run)).state == "paused"
        with pytest.raises(NotAllowed, match="no API token opens this"):
            await api.page_link()
    monkeypatch.delenv("DSAGE_TOKEN")
    await typed(token_command, "revoke", str(mine["id"]))
    async with program(world.running, secret) as caller:
        with pytest.raises(LoggedOut):
            await caller.pause(run.run)
    assert "/login/" in (await typed(web_command, "--print")).stdout


async def test_what_is_done_to_a_run_is_in_the_audit_log_once(world: World) -> None:
    run = await world.run()
    store = world.running.hub.store
    before = await store.read(deeds.count)
    for act in (run.researcher.pause, run.researcher.pause, run.researcher.resume, run.researcher.cancel):
        await act(run.run)
    done = await store.read(lambda c: deeds.newest(c, deeds.count(c) - before))
    assert [(each.actor, each.action, each.about) for each in reversed(done)] == [
        ("lab", did, f"run {run.run}") for did in ("paused", "resumed", "cancelled")
    ]


async def test_a_browser_is_logged_in_by_the_link_and_controls_the_real_run(world: World) -> None:
    """Form by form, as a browser without scripts does; what is pressed is what the queue of the server does."""
    host, run = await world.host(), await world.run()
    await run.make(1, 2)
    pages, link = world.running.pages_url, await run.researcher.page_link()
    assert link.url.startswith(pages)
    ours = {"Sec-Fetch-Site": "same-origin"}
    async with aiohttp.ClientSession() as browser:
        assert "the runs of the researcher" in await (await browser.get(link.url)).text()
        answer = await browser.post(link.url, headers=ours, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/runs")
        ours["Cookie"] = answer.headers["Set-Cookie"].partition(";")[0]
        assert f'href="/runs/{run.run}"' in await (await browser.get(f"{pages}/runs", headers=ours)).text()
        for act, units in (("pause", 0), ("resume", 2)):
            pressed = await browser.post(f"{pages}/runs/{run.run}/{act}", headers=ours, allow_redirects=False)
            assert pressed.status == 303
            await listed(world.running)
            assert len(await host.fetch(want=2, wait_s=10.0 if units else 0.0)) == units
        left = await browser.post(f"{pages}/logout/researcher", headers=ours, allow_redirects=False)
        assert left.status == 303
        assert (await browser.get(f"{pages}/runs", headers=ours)).status == 401
