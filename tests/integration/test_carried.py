"""A client against a real server, through a proxy that carries, and past one that reads along."""

from __future__ import annotations

from pathlib import Path

import pytest
from middlebox import Middlebox
from tests.integration.test_proxy import client, until

from dsage import proxies
from dsage_server.testing import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """This computer counts as another one."""
    monkeypatch.setattr(proxies, "_here", lambda host: False)
    monkeypatch.setenv("NO_PROXY", "")


async def test_work_is_done_through_a_proxy(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await world.run()
    host = await world.host()
    async with Middlebox() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with client(host, tmp_path / "c") as events:
            await driver.make(21)
            await until(lambda: any(event.kind == "accepted" for event in events))
        monkeypatch.delenv("HTTPS_PROXY")
        assert set(proxy.asked) == {host.conn.link.url.removeprefix("https://")}
