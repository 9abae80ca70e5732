"""Several server processes of one home and database: what one has, the others' hosts get."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from dsage.home import Home, Login
from dsage.trust.ceremony import LAB
from dsage_server.server import serving
from dsage_server.store.testing import shared_cluster
from dsage_server.testing import Host, World, local_settings, until

UNITS = 40


async def test_what_a_process_without_hosts_has_claimed_comes_to_a_host_that_waits_elsewhere(tmp_path: Path) -> None:
    home = Home(tmp_path)
    settings = replace(local_settings(home), store=shared_cluster().migrated())
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving(home, settings))
        Login(link=str(first.link()), key=LAB).save(home)
        run = await World(first, tmp_path, stack).run()
        await run.make(*range(UNITS))
        first.hub.ready.surrender(everything=True)
        second = await stack.enter_async_context(serving(home, settings))

        async def claimed() -> bool:
            return second.hub.ready.unsent == UNITS

        await until(claimed)
        host = await stack.enter_async_context(Host.joined(first))
        await host.introduce()
        first.hub.neighbours._cried = first.hub.ticks()  # the cry of a call that comes and finds nothing is not heard
        async with asyncio.timeout(12.0):
            reply = await host.exchange(want=UNITS, wait_s=30.0)
        assert len(reply.units) >= UNITS // 2
