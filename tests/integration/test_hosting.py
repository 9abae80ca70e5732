"""Runs that the server drives: real processes, real boxes, real tokens."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from sqlalchemy import select, update

from dsage import codec, wire
from dsage.bundle import pack
from dsage.errors import Conflict, NotAllowed, SandboxRefused
from dsage.home import Home, Login
from dsage.researcher import Researcher, construct
from dsage.states import RunState
from dsage.trust.ceremony import LAB
from dsage.trust.keys import PrivateKey
from dsage_server.api.openapi import Description
from dsage_server.api.routes import Api, limits_of
from dsage_server.blobs.uploads import Uploads
from dsage_server.hosting import keeper, lines
from dsage_server.hosting.launching import HOSTING_USER
from dsage_server.published import Published
from dsage_server.roles import HOSTING
from dsage_server.server import Running, serving
from dsage_server.sessions import DRIVER, Session
from dsage_server.store import events, hosting, views
from dsage_server.store import schema as tables
from dsage_server.store.meta import remember
from dsage_server.store.testing import POSTGRESQL, fresh
from dsage_server.testing import Host, document, local_settings, running_server, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

APPS = '''
from dsage import DistributedFunction, Unit


class Sum(DistributedFunction):
    def __init__(self, **params):
        super().__init__(**params)
        self.result = 0

    def units(self):
        for i in range(1, self.n + 1):
            yield Unit(i, quorum=1)

    @staticmethod
    def compute(i):
        return i

    def process_result(self, unit, value):
        self.result += value


class Tree(Sum):
    """Counts the nodes of a binary tree: each answer makes two units more."""

    def units(self):
        yield Unit(self.n, quorum=1)

    def process_result(self, unit, value):
        self.result += 1
        for _ in range(2 if value else 0):
            self.submit(Unit(value - 1, quorum=1))


class Raises(Sum):
    def process_result(self, unit, value):
        raise LookupError("no such thing")
'''

DRIVING = {("POST", "drive"), ("GET", "answers"), ("POST", "steps"), ("POST", "replay")}


async def volunteer(host: Host) -> None:
    """Compute whatever comes: the answer of a unit is its argument."""
    got: list[wire.Assignment] = []
    while True:
        results = [codec.decode(document(each).args) for each in got]
        if got:
            assert await host.report(got, results) == ["ok"] * len(got)
        got = await host.fetch(want=20, wait_s=1.0)


@asynccontextmanager
async def volunteers(running: Running, key: PrivateKey | None = None) -> AsyncIterator[None]:
    """One volunteer computes meanwhile; with a `key`, one who has done so before and has lost what it had."""
    async with Host.joined(running, key) as host:
        await host.introduce()
        working = asyncio.create_task(volunteer(host))
        try:
            yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


async def submitted(folder: Path, kind: str, *, hosted: bool = True, **params: Any) -> int:
    """Submit a run as a researcher who then goes away."""
    (folder / "apps.py").write_text(APPS)
    packed = pack(f"{folder / 'apps.py'}:{kind}")
    async with await Researcher.open(Home(folder)) as researcher:
        return await researcher.submit(packed, construct(packed.function, params), params, hosted=hosted)


async def ended(running: Running, run: int) -> wire.RunView:
    """Wait for a run's end and return it."""

    async def over() -> bool:
        return (await view(running, run)).state != RunState.RUNNING

    async with asyncio.timeout(60.0):
        while not await over():
            await asyncio.sleep(0.05)
    return await view(running, run)


async def view(running: Running, run: int) -> wire.RunView:
    return await running.hub.store.read(lambda c: views.run_view(c, run, 0.0))


def hosting_processes() -> list[psutil.Process]:
    """Return this process's hosting processes."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            found += [child] if "dsage_server.hosting" in " ".join(child.cmdline()) else []
    return found


async def started(running: Running) -> psutil.Process:
    """Wait for the hosting process and return it."""
    async with asyncio.timeout(20.0):
        while not hosting_processes():
            await asyncio.sleep(0.01)
    return hosting_processes()[0]


async def steps(running: Running, run: int, least: int) -> None:
    """Wait until a run has committed so many steps."""

    async def there() -> bool:
        return (await view(running, run)).step >= least

    await until(there)


async def is_hosted(running: Running, run: int) -> bool:
    return run in [each.run for each in await running.hub.store.read(hosting.hosted)]


async def told(running: Running, run: int) -> list[str]:
    """Return the kinds of a run's events."""
    return [each.kind for each in await running.hub.store.read(lambda c: events.since(c, 0, run=run))]


async def test_hosted_runs_end_without_their_researcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "IDLE_S", 0.1)
    async with running_server(tmp_path) as running, volunteers(running):
        assert not hosting_processes()
        total, tree = await submitted(tmp_path, "Sum", n=300), await submitted(tmp_path, "Tree", n=4)
        raises = await submitted(tmp_path, "Raises", n=5)
        assert codec.decode((await ended(running, total)).result or b"") == 300 * 301 // 2
        assert codec.decode((await ended(running, tree)).result or b"") == 2**5 - 1
        failed = await ended(running, raises)
        assert failed.state == RunState.FAILED
        assert "raised LookupError: no such thing (apps.py line" in failed.reason
        await until(lambda: _nothing_is_left(tmp_path))


async def _nothing_is_left(folder: Path) -> bool:
    return not hosting_processes() and not (folder / "server" / keeper.HOUSE).exists()


async def test_the_hosting_process_has_no_rights_and_no_secrets(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        await submitted(tmp_path, "Sum", n=3)
        process = await started(running)
        await until(lambda: _serves(process))
        assert process.environ() == {}
        assert process.cwd() == "/"
        if os.geteuid() == 0:
            assert set(process.uids()) == set(process.gids()) == {HOSTING_USER}
            files = [Home(tmp_path).unit_key, Home(tmp_path).root_key, *(tmp_path / "server").iterdir()]
            assert Home(tmp_path).unit_key in files
            read = "import sys\nfor name in sys.argv[1:]:\n try: open(name); print(name)\n except OSError: pass"
            seen = subprocess.run(
                ["/usr/bin/python3", "-c", read, *map(str, files)], user=HOSTING_USER, group=HOSTING_USER,
                extra_groups=[], cwd="/", capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert seen.stdout == ""


async def _serves(process: psutil.Process) -> bool:
    """Whether a process is past its start, and has a connection to the server."""
    return bool(process.net_connections())


async def test_a_hosting_process_that_is_killed_is_started_again_and_folds_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FIRST_BACKOFF_S", 0.05)
    monkeypatch.setattr(keeper, "LAST_BACKOFF_S", 0.05)
    async with running_server(tmp_path) as running, volunteers(running):
        tree, total = await submitted(tmp_path, "Tree", n=7), await submitted(tmp_path, "Sum", n=900)
        for least in (2, 4, 6):
            await steps(running, tree, least)
            killed = await started(running)
            killed.kill()
            await until(lambda p=killed: _gone(p))  # type: ignore[misc]
        assert codec.decode((await ended(running, tree)).result or b"") == 2**8 - 1
        assert codec.decode((await ended(running, total)).result or b"") == 900 * 901 // 2


async def _gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


async def test_a_server_that_starts_again_goes_on_with_its_hosted_runs(tmp_path: Path) -> None:
    key = PrivateKey.generate()
    async with running_server(tmp_path) as running, volunteers(running, key):
        tree = await submitted(tmp_path, "Tree", n=7)
        await steps(running, tree, 3)
    assert not hosting_processes()
    async with running_server(tmp_path) as running, volunteers(running, key):
        assert codec.decode((await ended(running, tree)).result or b"") == 2**8 - 1


async def test_a_researcher_takes_a_hosted_run_over_and_gives_it_back(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        run = await submitted(tmp_path, "Sum", n=20)
        await steps(running, run, 1)
        async with await Researcher.open(Home(tmp_path)) as researcher:
            fence = (await researcher.drive(run)).fence
            assert not await is_hosted(running, run)
            await until(lambda: _left(running, run))
            await researcher.answers(run, fence=fence, wait_s=0.0, hungry=False)
            assert await told(running, run) == ["submitted", "unhosted"]
            await researcher.host(run)
            await researcher.host(run)
            assert await is_hosted(running, run)
            async with volunteers(running):
                assert codec.decode((await ended(running, run)).result or b"") == 20 * 21 // 2
            with pytest.raises(Conflict):
                await researcher.answers(run, fence=fence, wait_s=0.0, hungry=False)
            with pytest.raises(Conflict, match="is done"):
                await researcher.host(run)


async def _left(running: Running, run: int) -> bool:
    """Whether a run's hosted driver has heard that it is another's now: its box is closed."""
    for each in (await started(running)).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "bwrap" in each.name():
                return False
    return True


async def test_a_detached_run_may_be_given_to_the_server_by_its_researcher_alone(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running, volunteers(running):
        run = await submitted(tmp_path, "Sum", hosted=False, n=4)
        async with await Researcher.open(Home(tmp_path)) as researcher:
            other = Session(role="researcher", key=b"o" * 32, expires=time.time() + 60.0)
            with pytest.raises(NotAllowed):
                await running.hub.requests.host(other, run)
            await running.hub.store.write(lambda c: remember(c, "hosting", "off"))
            with pytest.raises(SandboxRefused, match="no sandbox to host drivers in"):
                await researcher.host(run)
            with pytest.raises(SandboxRefused):
                await submitted(tmp_path, "Sum", n=4)
            await running.hub.store.write(lambda c: remember(c, "hosting", "on"))
            await researcher.host(run)
        assert codec.decode((await ended(running, run)).result or b"") == 10


async def test_a_token_of_a_hosted_run_is_good_for_nothing_else(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running, Host.joined(running) as host:
        run, other = await submitted(tmp_path, "Sum", n=4), await submitted(tmp_path, "Sum", n=5)
        lab = await running.hub.store.read(lambda c: c.execute(select(tables.run.c.researcher)).scalars().all()[0])
        for number, role in ((run, DRIVER), (run, "researcher")):
            session = Session(role=role, key=lab, run=number, expires=time.time() + 60.0)
            host.token = running.hub.sessions.open(session)
            refused = {}
            for method, path in requests_of_researchers(running, run, other):
                status, problem, _ = await host.raw(method, path, data=b"")
                refused[f"{method} {path}"] = status == 403 and "token" in (problem or {}).get("detail", "")
            allowed = {path for path, was in refused.items() if not was}
            driving = {f"{word} /v1/runs/{run}/{what}" for word, what in DRIVING} & refused.keys()
            assert allowed == (driving if role == DRIVER else refused.keys() - {"POST /v1/exchange"})


def requests_of_researchers(running: Running, run: int, other: int) -> list[tuple[str, str]]:
    """Return what needs a token, by method and path, for two runs."""
    api = Api(
        hub=running.hub, uploads=cast(Uploads, None), name="", pages_url="", ca_file=Path(), root_file=Path(),
        published=Published(Path()), limits=limits_of(running.hub), description=Description(),
    )  # fmt: skip
    public = {"/v1/runs/{run}", "/v1/runs/{run}/events", "/v1/runs/{run}/finders", "/v1/runs/{run}/credit"}
    found = [("POST", "/v1/exchange"), ("POST", "/v1/runs"), ("PUT", f"/v1/bundles/{'0' * 64}")]
    found += [("GET", f"/v1/blobs/{'0' * 64}"), ("POST", f"/v1/blobs/{'0' * 64}/uploads")]
    for route in api.app().router.routes():
        path = route.resource.canonical if route.resource else ""
        if "{run}" in path and path not in public and route.method != "HEAD":
            found += [(route.method, path.replace("{run}", str(number))) for number in (run, other)]
    return found


async def test_code_that_no_key_vouches_for_is_not_stepped(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running, volunteers(running):
        run, good = await submitted(tmp_path, "Raises", hosted=False, n=4), await submitted(tmp_path, "Sum", n=4)
        change = update(tables.run).where(tables.run.c.id == run)
        await running.hub.store.write(lambda c: c.execute(change.values(authorisation=tables.run.c.app, hosted=True)))
        await until(lambda: _unhosted(running, run))
        said = await running.hub.store.read(lambda c: events.since(c, 0, run=run))
        assert "trust" in said[-1].text
        assert (await view(running, run)).state == RunState.RUNNING
        assert (await view(running, run)).step == 0
        assert codec.decode((await ended(running, good)).result or b"") == 10


async def _unhosted(running: Running, run: int) -> bool:
    return "unhosted" in await told(running, run)


async def test_a_hosted_run_goes_back_by_itself_when_an_answer_does_not_hold(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        async with volunteers(running):
            run = await submitted(tmp_path, "Sum", n=30)
            await ended(running, run)
        async with await Researcher.open(Home(tmp_path)) as researcher:
            unit = (await researcher.units(run, limit=3)).units[2].unit
            await researcher.reopen(run, [unit])
            assert (await view(running, run)).state == RunState.RUNNING
            async with volunteers(running):
                again = await ended(running, run)
        assert codec.decode(again.result or b"") == 30 * 31 // 2
        assert again.hosted


async def test_a_paused_hosted_run_waits_and_goes_on(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running, await Researcher.open(Home(tmp_path)) as researcher:
        run = await submitted(tmp_path, "Sum", n=40)
        await steps(running, run, 1)
        await researcher.pause(run)
        async with volunteers(running):
            assert (await view(running, run)).state == RunState.PAUSED
            await researcher.resume(run)
            assert codec.decode((await ended(running, run)).result or b"") == 40 * 41 // 2


async def test_hosting_may_be_a_server_process_of_its_own(tmp_path: Path) -> None:
    home = Home(tmp_path)
    everything = replace(local_settings(home), store=str(fresh(tmp_path, POSTGRESQL)))
    both = [replace(everything, roles=everything.roles - {HOSTING}), replace(everything, roles=frozenset({HOSTING}))]
    async with serving(home, both[0]) as running:
        Login(link=str(running.link()), key=LAB).save(home)
        with pytest.raises(SandboxRefused, match="no sandbox to host drivers in"):
            await submitted(tmp_path, "Sum", n=40)
        async with serving(home, both[1]) as keeping, volunteers(running):
            assert keeping.url == ""
            run = await submitted(tmp_path, "Sum", n=40)
            assert codec.decode((await ended(running, run)).result or b"") == 40 * 41 // 2


async def test_a_token_that_runs_out_is_renewed_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    token = keeper.Keeper._token

    def noted(self: keeper.Keeper, found: hosting.Hosted) -> lines.Host:
        given.append(time.monotonic())
        return token(self, found)

    async def has_run_out() -> bool:
        return time.monotonic() > given[0] + 0.3

    monkeypatch.setattr(keeper, "TOKEN_S", 0.2)
    monkeypatch.setattr(keeper.Keeper, "_token", noted)
    async with running_server(tmp_path) as running:
        run = await submitted(tmp_path, "Tree", n=5)
        await steps(running, run, 1)
        await until(has_run_out)
        async with volunteers(running):
            assert codec.decode((await ended(running, run)).result or b"") == 2**6 - 1
    assert len(given) > 1
