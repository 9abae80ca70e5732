"""Addresses as an operator types them, and listeners where the defaults put them."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from dsage.errors import Conflict, UsageError
from dsage_server.listening import listen


async def _answers(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as caller:
        return caller.connect_ex((host, port)) == 0


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this computer has no IPv6")


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=ipv6)])
async def test_no_address_is_every_address_of_both_families(host: str) -> None:
    async with AsyncExitStack() as stack:
        port = await listen(stack, web.Application(), "", 0, None)
        assert await _answers(host, port)


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=ipv6), "localhost"])
async def test_one_address(host: str) -> None:
    async with AsyncExitStack() as stack:
        port = await listen(stack, web.Application(), host, 0, None)
        assert await _answers("::1" if host == "::1" else "127.0.0.1", port)


@pytest.mark.parametrize(("host", "hint"), [("192.0.2.1", "no address of this computer"), ("no.invalid", "another")])
async def test_an_address_of_somebody_else(host: str, hint: str) -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(UsageError, match="cannot listen on") as refused:
            await listen(stack, web.Application(), host, 0, None)
    assert hint in refused.value.hint


async def test_a_port_that_is_taken() -> None:
    async with AsyncExitStack() as stack:
        port = await listen(stack, web.Application(), "127.0.0.1", 0, None)
        with pytest.raises(Conflict) as refused:
            await listen(stack, web.Application(), "127.0.0.1", port, None)
    assert "Another program has this port" in refused.value.hint
