"""Maintenance at a real server: nothing new is given out, results are taken, clients are told why and until when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dsage.errors import UsageError
from dsage_server import maintenance
from dsage_server.admin import admin
from dsage_server.store import announcements, deeds
from dsage_server.store.migrate import upgrade
from dsage_server.testing import World, running_server, until

Type = Callable[..., Any]


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A server that looks often whether there is maintenance."""
    monkeypatch.setattr(maintenance, "LOOK_S", 0.02)
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        yield World(running, tmp_path, stack)


@pytest.fixture
def type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Type `dsage admin ...` on the server's machine; get what `--json` says."""
    monkeypatch.setenv("DSAGE_HOME", str(tmp_path))

    async def run(*words: str, status: int = 0) -> Any:
        shown = await asyncio.to_thread(CliRunner().invoke, admin, [*words, "--json"])
        assert shown.exit_code == status, shown.output
        return None if status else json.loads(shown.stdout)["data"]

    return run


async def heeded(world: World, on: bool) -> None:
    async def so() -> bool:
        return (world.running.hub.maintenance is not None) is on

    await until(so)


async def test_nothing_new_is_given_out_and_results_are_taken(world: World, type_it: Type) -> None:
    host, other = await world.host(), await world.host()
    run = await world.run()
    await run.make(1, 2)
    [got] = await host.fetch()
    await type_it("maintenance", "A disk is changed.", "--hours", "2")
    await heeded(world, True)

    assert await host.report([got], [1]) == ["ok"]
    async with asyncio.timeout(20.0):
        reply = await other.exchange(want=1, wait_s=45.0)
    assert not reply.units
    assert reply.reason.startswith("maintenance until 2")
    assert reply.reason.endswith("UTC, results are taken: A disk is changed.")
    assert 0.5 * maintenance.RETRY_S <= reply.retry_s <= 1.5 * maintenance.RETRY_S
    assert not (await run.answers(hungry=True)).hungry
    assert (await world.view(run)).units["valid"] == 1

    await type_it("maintenance", "--off")
    await heeded(world, False)
    assert len(await other.fetch()) == 1


async def test_who_waited_on_the_server_when_it_began_is_told_at_the_end_of_the_call(
    world: World, type_it: Type
) -> None:
    host = await world.host()
    held = asyncio.create_task(host.exchange(want=1, wait_s=1.0))

    async def waits() -> bool:
        return world.running.hub.pressure.held == 1

    await until(waits)
    await type_it("maintenance")
    reply = await held
    assert reply.reason == f"maintenance, results are taken: {announcements.MAINTENANCE}"
    assert reply.retry_s > 0


async def test_a_server_that_starts_during_maintenance_gives_out_nothing(tmp_path: Path, type_it: Type) -> None:
    async with running_server(tmp_path):
        await type_it("maintenance")
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        assert running.hub.maintenance is not None
        host = await World(running, tmp_path, stack).host()
        assert (await host.exchange(want=1)).reason.startswith("maintenance")


async def test_the_commands_of_the_operator(world: World, type_it: Type) -> None:
    [told] = await type_it("announce", "A workshop on Friday.", "--hours", "3", "--later", "1")
    assert (told["text"], told["maintenance"], told["ends"] - told["begins"]) == ("A workshop on Friday.", False, 10800)
    [coming] = await type_it("maintenance", "--hours", "1", "--later", "2")
    assert (coming["id"], coming["maintenance"]) == (told["id"] + 1, True)
    assert world.running.hub.maintenance is None, "it begins later"

    [_, ended] = await type_it("announce", "--end", str(told["id"]))
    assert ended["ends"] <= coming["begins"]
    await type_it("announce", "--end", str(told["id"]), status=1)
    await type_it("announce", "--end", "99", status=1)
    [over] = await type_it("maintenance", "--off")
    assert over["ends"] is not None
    done = await world.running.hub.store.read(lambda c: deeds.newest(c, 9))
    assert [(deed.action, deed.about) for deed in reversed(done)] == [
        ("announced", "to all"), ("announced", "maintenance"), ("ended", "an announcement"), ("ended", "maintenance"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("announce", "x" * 501), "1 to 500 characters"),
        (("announce", " "), "1 to 500 characters"),
        (("announce", "now", "--end", "1"), "one at a time"),
        (("maintenance", "--off", "--hours", "1"), "leave the rest out"),
    ],
)
def test_what_cannot_be_announced(words: tuple[str, ...], says: str, tmp_path: Path) -> None:

    folder = tmp_path / "server"
    folder.mkdir()
    upgrade(folder / "dsage.sqlite")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSAGE_HOME", str(tmp_path))
        done = CliRunner().invoke(admin, list(words))
    assert isinstance(done.exception, UsageError)
    assert says in done.exception.message
