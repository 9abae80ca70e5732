"""Who is told what of a run by the machine API: strangers as much as its page, its researcher all of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from dsage import wire
from dsage.connection import Connection
from dsage.errors import LoggedOut
from dsage.home import Home, Login
from dsage.requests import Requests
from dsage.researcher import Researcher
from dsage.trust import ceremony
from dsage.trust.keys import PrivateKey
from dsage.trust.tls import pinned_context
from dsage_server.server import serving
from dsage_server.sessions import DRIVER, Session
from dsage_server.testing import HandDriver, Host, World, document, local_settings, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

PEOPLE = {"curie": "air", "pascal": ceremony.LAB}
"""Further researchers, and the project that each is certified for; runs here are of the project lab."""
TOLD_MORE = ("pascal", "lab", "program", "writer", "driver")
STRANGERS = ("nobody", "volunteer", "curie", "curies program", "other driver")


@dataclass(frozen=True)
class Stage:
    """A run with two units: two volunteers contradict each other about one, the other is out."""

    world: World
    driver: HandDriver
    units: tuple[int, int]
    tokens: dict[str, str]

    async def ask(self, what: str, token: str, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Ask for a view of the run, or (it begins with /) anything; return status, headers and message."""
        path = what if what.startswith("/") else f"/v1/runs/{self.driver.run}{what and '/' + what}"
        said = {wire.PROTOCOL_HEADER: str(wire.PROTOCOL), **headers}
        if token:
            said["Authorization"] = f"Bearer {token}"
        conn = self.driver.researcher._conn
        context = pinned_context(conn.ca_pem, conn.link.ca)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.get(self.world.running.url + path, headers=said) as response,
        ):
            data = await response.read()
            message = msgspec.msgpack.decode(data) if response.content_type == wire.MEDIA_TYPE else None
            return response.status, {k.lower(): v for k, v in response.headers.items()}, message

    async def told(self, what: str, who: str) -> Any:
        """What somebody is told."""
        status, _, message = await self.ask(what, self.tokens[who])
        assert status == 200
        return message


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("home")
    home = Home(folder)
    async with running_server(folder):
        pass
    for name, project in PEOPLE.items():
        key = PrivateKey.generate()
        key.save(home.code_key(name))
        root = ceremony.read(ceremony.load_root(home.root_file))
        certified = ceremony.certified(root, key.public, name, (project,), 30)
        ceremony.sign_root(home, root_key=None, root_file=None, code_keys=certified)
    async with serving(home, local_settings(home)) as running, AsyncExitStack() as stack:
        Login(link=str(running.link()), key=ceremony.LAB).save(home)
        world = World(running, folder, stack)
        one, two, driver = await world.host(), await world.host(), await world.run()
        await driver.make(1, 2, quorum=2)
        got = await one.fetch(2)
        contested = document(got[0]).unit
        assert await one.report(got[:1], ["a"]) == ["ok"]
        other = await two.fetch(2)
        assert await two.report([each for each in other if document(each).unit == contested], ["b"]) == ["ok"]
        tokens = {"nobody": "", "volunteer": one.token}
        for name in ("lab", *PEOPLE):
            api = await stack.enter_async_context(await Researcher.open(home, running.link(), name))
            await api.sign_in()
            tokens[name] = api._token or ""
            for called, scope in (("program", "read"), ("writer", "write")):
                if name in ("lab", "curie"):
                    made = await api.make_token(wire.TokenWish(name=called, scope=scope))  # type: ignore[arg-type]
                    tokens[called if name == "lab" else f"{name}s {called}"] = made.secret
        for called, run in (("driver", driver.run), ("other driver", driver.run + 1)):
            session = Session(role=DRIVER, key=b"k", run=run, expires=time.time() + 600.0)
            tokens[called] = running.hub.sessions.open(session)
        yield Stage(world, driver, (contested, document(got[1]).unit), tokens)
        await world.close()


@pytest.mark.parametrize("who", STRANGERS)
async def test_strangers_learn_nothing_of_a_unit_that_is_not_over(stage: Stage, who: str) -> None:
    view = await stage.told("", who)
    assert (view["units"], view["replicas"], view["reason"]) == ({"active": 2}, {}, view["reason"])
    assert "unit" not in view["reason"]
    assert [event["kind"] for event in await stage.told("events", who)] == ["submitted"]
    assert await stage.told(f"finders?unit={stage.units[0]}", who) == []
    assert await stage.told("credit", who) == {}
    status, (listed,) = await stage.told("/v1/status", who), await stage.told("/v1/runs", who)
    assert (status["units"], status["replicas"]) == ({"active": 2}, {})
    for seen in (listed, *status["runs"]):
        assert (seen["units"], seen["replicas"]) == ({"active": 2}, {})


@pytest.mark.parametrize("who", TOLD_MORE)
async def test_the_researcher_is_told_all(stage: Stage, who: str) -> None:
    whole = await stage.world.view(stage.driver)
    assert sum(whole.replicas.values()) > 2
    view = await stage.told("", who)
    assert (view["units"], view["replicas"]) == (whole.units, whole.replicas)
    told = [event for event in await stage.told("events", who) if event["unit"] == stage.units[0]]
    assert [event["kind"] for event in told] == ["disagreement"]
    status, (listed,) = await stage.told("/v1/status", who), await stage.told("/v1/runs", who)
    assert (status["units"], status["replicas"]) == (whole.units, whole.replicas)
    for seen in (listed, *status["runs"]):
        assert seen["replicas"] == whole.replicas


@pytest.mark.parametrize("what", ["", "events", "finders?unit=1", "credit", "/v1/runs", "/v1/status"])
async def test_a_token_that_does_not_work_is_refused(stage: Stage, what: str) -> None:
    """Whoever shows one believes to be told all."""
    lab = stage.driver.researcher
    sessions, now = stage.world.running.hub.sessions, time.time()
    run_out = sessions.open(Session(role="researcher", key=lab.key.public, expires=now - 1.0))
    revoked = await lab.make_token(wire.TokenWish(name="gone"))
    await lab.revoke_token(revoked.id)
    for token in ("made-up", run_out, revoked.secret, "dsage_made-up"):
        assert (await stage.ask(what, token))[0] == 401, token
    assert (await stage.ask(what, "", Authorization="Basic bGFiOmxhYg=="))[0] == 401


@pytest.mark.parametrize("what", ["", "events", "finders?unit=1", "credit", "/v1/runs", "/v1/status"])
async def test_what_is_for_one_is_kept_by_nobody_and_what_is_for_all_has_a_name(stage: Stage, what: str) -> None:
    for who in ("nobody", "curie") if what and not what.startswith("/") else ("nobody",):
        status, headers, _ = await stage.ask(what, stage.tokens[who])
        assert (status, headers["cache-control"], headers["vary"]) == (200, "no-cache", "Authorization")
        again = await stage.ask(what, stage.tokens[who], **{"If-None-Match": headers["etag"]})
        assert again[0] == 304 or what == "/v1/status", "its time goes on"
    status, headers, _ = await stage.ask(what, stage.tokens["lab"], **{"If-None-Match": "*"})
    assert (status, headers["cache-control"], "etag" in headers) == (200, "private, no-store", False)


async def test_what_the_researcher_was_told_is_not_told_to_the_next_who_asks(stage: Stage) -> None:
    for what in ("", "events", "/v1/runs", "/v1/status"):
        assert await stage.told(what, "lab") != await stage.told(what, "nobody")


async def test_who_has_no_key_here_looks_all_the_same(stage: Stage, tmp_path: Path) -> None:
    async with await Researcher.open(Home(tmp_path), stage.world.running.link()) as api:
        assert (await api.run(stage.driver.run)).replicas == {}
        assert [event.kind for event in await api.events(stage.driver.run)] == ["submitted"]
        assert len(await api.runs()) == 1
        assert await api.credit(stage.driver.run) == {}
        assert await api.finders(stage.driver.run, stage.units) == []
        assert (await api.status()).units == {"active": 2}


async def test_who_has_a_key_that_is_not_certified_looks_all_the_same(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    PrivateKey.generate().save(home.code_key("lab"))
    async with await Researcher.open(home, stage.world.running.link()) as api:
        tried = []
        sign_in = api.sign_in

        async def counted() -> str:
            tried.append(1)
            return await sign_in()

        monkeypatch.setattr(api, "sign_in", counted)
        for _ in range(3):
            assert (await api.run(stage.driver.run)).replicas == {}
        assert len(tried) == 1, "it asks once who it is"


async def test_whose_certificate_is_gone_is_a_stranger_to_the_runs_of_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = stage.world.running.hub
    root = hub.chain.root
    left = [each for each in root.code_keys if each.name != "pascal"]
    monkeypatch.setattr(hub, "chain", type(hub.chain)(msgspec.structs.replace(root, code_keys=left)))
    assert (await stage.told("", "pascal"))["replicas"] == {}
    assert (await stage.told("", "lab"))["replicas"]


async def test_a_login_that_has_run_out_is_made_anew(stage: Stage) -> None:
    async with await Researcher.open(Home(stage.world.folder)) as api:
        whole = (await api.run(stage.driver.run)).replicas
        assert whole
        api._token = "run-out"
        assert (await api.run(stage.driver.run)).replicas == whole
        assert api._token != "run-out"


async def test_a_program_whose_token_has_run_out_is_told_so(stage: Stage) -> None:
    def no_key() -> PrivateKey:
        raise AssertionError("this would log in")

    async with await Connection.open(stage.world.running.link()) as conn:
        with pytest.raises(LoggedOut):
            await Requests(conn, "", no_key, "dsage_gone").run(stage.driver.run)
        whole = await Requests(conn, "", no_key, stage.tokens["program"]).run(stage.driver.run)
        assert whole.replicas


async def test_a_held_question_of_a_stranger_does_not_end_when_something_happens_to_a_unit(stage: Stage) -> None:
    host = await stage.world.stack.enter_async_context(Host.joined(stage.world.running))
    seen = await stage.told("events", "nobody")
    after = seen[-1]["id"]
    got = await host.fetch(1)
    assert await host.report(got, ["c"]) == ["ok"]
    assert await stage.told(f"events?after={after}&wait=0.2", "nobody") == []
    assert await stage.told(f"events?after={after}", "lab") != []
