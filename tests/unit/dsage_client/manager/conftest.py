"""The manager on a port of its own, with a stand-in for the agent and a clock to turn."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from manager_visit import Visit, offers
from owner_stand import NOW, OwnerStand

from dsage.errors import ServerAway
from dsage.trust.invite import Link
from dsage_client.asking import Offer
from dsage_client.manager.app import Manager, serve
from dsage_client.manager.live import Live


@pytest.fixture
async def stranger() -> AsyncIterator[Visit]:
    """Somebody who has no cookie."""
    owner, clock, asked = OwnerStand(), [1000.0], list[Link]()

    offer = offers()

    async def ask(link: Link) -> Offer:
        asked.append(link)
        if "away" in link.url:
            raise ServerAway("the server does not answer")
        return offer(link)

    live = Live(owner.follow, period_s=0.01, keepalive_s=0.02)
    site = await serve(owner, manager=Manager(owner, clock=lambda: clock[0], now=lambda: NOW, ask=ask, live=live))
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Visit(site, session, owner, clock, live, asked)
    await site.close()


@pytest.fixture
async def visit(stranger: Visit) -> Visit:
    """The owner's browser, let in."""
    await stranger.enter()
    return stranger
