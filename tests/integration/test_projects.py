"""What projects say of themselves, and the second person who looks at a newcomer's first run."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dsage.errors import Conflict, NotAllowed, NotFound
from dsage.home import Home, Login
from dsage.researcher import Researcher
from dsage.trust import ceremony
from dsage.trust.keys import PrivateKey
from dsage.wire import DescribeProject
from dsage_server.server import serving
from dsage_server.testing import APP, HandDriver, Host, local_settings, running_server

PURPOSE = DescribeProject(title="Sums", purpose="To add things up.", new=True)


@asynccontextmanager
async def two_researchers(folder: Path, *, approve: bool = True) -> AsyncIterator[tuple[Researcher, Researcher, Host]]:
    """Serve, with the lab's own researcher, a newcomer "curie" of the project `lab`, and a volunteer."""
    home = Home(folder)
    async with running_server(folder):
        pass
    key = PrivateKey.generate()
    key.save(home.code_key("curie"))
    root = ceremony.read(ceremony.load_root(home.root_file))
    certified = ceremony.certified(root, key.public, "curie", ("lab",), 30)
    ceremony.sign_root(home, root_key=None, root_file=None, code_keys=certified)
    settings = dataclasses.replace(local_settings(home), approve_first_runs=approve)
    async with serving(home, settings) as running:
        link = running.link()
        Login(link=str(link), key=ceremony.LAB).save(home)
        async with (
            await Researcher.open(home, link, ceremony.LAB) as lab,
            await Researcher.open(home, link, "curie") as curie,
            Host.joined(running) as host,
        ):
            yield lab, curie, host


@pytest.fixture
def app(tmp_path: Path) -> str:
    (tmp_path / "plain.py").write_text(APP)
    return f"{tmp_path / 'plain.py'}:Plain"


async def test_a_newcomers_first_run_waits_for_a_second_person(tmp_path: Path, app: str) -> None:
    async with two_researchers(tmp_path / "home") as (lab, curie, host):
        driver = await HandDriver.submitted(curie, app)
        await driver.make(1)
        view = await curie.run(driver.run)
        assert (view.state, view.reason) == ("paused", "waits for approval by a second person")
        await host.introduce()
        assert not await host.fetch()
        with pytest.raises(NotAllowed, match="waits for approval"):
            await curie.resume(driver.run)
        with pytest.raises(NotAllowed, match="waits for approval"):
            await curie.retry(driver.run)
        with pytest.raises(NotAllowed, match="your own"):
            await curie.approve(driver.run)
        await lab.approve(driver.run)
        await lab.approve(driver.run)
        assert (await curie.run(driver.run)).state == "running"
        assert "run 1 was approved by lab" in [event.text for event in await curie.events(driver.run)]
        got = await host.fetch()
        assert await host.report(got, [1]) == ["ok"]
        later = await HandDriver.submitted(curie, app)
        assert (await curie.run(later.run)).state == "running"


async def test_a_run_that_failed_while_it_waited_still_waits(tmp_path: Path, app: str) -> None:
    async with two_researchers(tmp_path / "home") as (lab, curie, _):
        driver = await HandDriver.submitted(curie, app)
        await driver.commit(failed="a bug")
        with pytest.raises(NotAllowed, match="waits for approval"):
            await curie.retry(driver.run)
        await lab.approve(driver.run)
        assert (await curie.run(driver.run)).state == "failed"


async def test_a_lab_asks_nobody(tmp_path: Path, app: str) -> None:
    async with two_researchers(tmp_path / "home", approve=False) as (lab, curie, _):
        driver = await HandDriver.submitted(curie, app)
        assert (await curie.run(driver.run)).state == "running"
        with pytest.raises(Conflict, match="does not wait"):
            await lab.approve(driver.run)
        with pytest.raises(NotFound):
            await lab.approve(999)


async def test_a_project_is_described_by_its_researchers(tmp_path: Path) -> None:
    async with two_researchers(tmp_path / "home") as (lab, curie, _):
        with pytest.raises(NotFound, match="nothing is said"):
            await lab.described("lab")
        view = await curie.describe("lab", PURPOSE)
        assert (view.title, view.by) == ("Sums", "curie")
        with pytest.raises(Conflict, match="is there already"):
            await lab.describe("lab", PURPOSE)
        await lab.describe("lab", DescribeProject(title="Sums", purpose="To add.", ethics="None harmed."))
        assert (await curie.described("lab")).ethics == "None harmed."
        with pytest.raises(NotAllowed, match="not certified for the project factor"):
            await curie.describe("factor", PURPOSE)
