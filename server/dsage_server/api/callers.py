"""Where a caller comes from: what a proxy says is believed if it runs on this computer, or was named (`--proxies`)."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network, IPv6Network
from typing import Final, TypeAlias

from aiohttp import web

from dsage.errors import UsageError

Proxies: TypeAlias = tuple[IPv4Network | IPv6Network, ...]
PROXIES: Final = web.RequestKey("PROXIES", Proxies)
"""Where a request keeps which proxies its listener believes."""


def visitor(request: web.Request) -> str:
    """Return the caller's address: behind a proxy that is believed, the one that it names."""
    peer = request.remote or ""
    lines = request.headers.getall("X-Forwarded-For", [""])
    forwarded = lines[-1].rpartition(",")[2].strip()  # a proxy adds to the line that came, or one of its own
    try:
        if forwarded and (not peer or _is_believed(peer, request.get(PROXIES, ()))):
            return str(ipaddress.ip_address(forwarded))
    except ValueError:
        return peer
    return peer


def parse_proxies(text: str) -> Proxies:
    """Return networks of addresses, or single ones, that stand there with commas. Raises UsageError."""
    try:
        return tuple(ipaddress.ip_network(each.strip(), strict=False) for each in text.split(",") if each.strip())
    except ValueError as error:
        raise UsageError(f"{text!r} names no proxies: {error}", hint="It looks like 10.0.0.5,fd00::/8.") from None


def _is_believed(peer: str, proxies: Proxies) -> bool:
    address = ipaddress.ip_address(peer)
    return address.is_loopback or any(address in network for network in proxies)
