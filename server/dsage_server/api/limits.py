"""Who may ask how often: one bucket for each key, and one for each network of callers who show none.

Every answer says what is left, in the fields RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers);
a request too many is refused with 429 `too-many` and Retry-After before anything is done for it.
"""

from __future__ import annotations

import functools
import ipaddress
import time
from collections.abc import Callable, Hashable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from dsage.errors import DSageError, TooMany
from dsage_server.api.buckets import MOST, Buckets, Policy, Verdict

IPV6_PREFIX: Final = 64
"""What one subscriber has at least (RFC 6177): all its addresses are one caller."""
BY_KEY: Final = Policy(name="key", rate_per_s=200.0, burst=2000)
"""Of the machine API: a client makes a call a second or so, a driver that folds small units some dozens."""
BY_NETWORK: Final = Policy(name="network", rate_per_s=500.0, burst=10_000)
"""Of the machine API without a token: thousands of computers behind one address log in within minutes of a restart."""
VISITORS: Final = Policy(name="visitor", rate_per_s=100.0, burst=2000)
"""Of the pages: a class of pupils behind one address, and no crawler that takes a core."""
PLENTY: Final = 500
"""Who has so many requests left need not be told: it would cost a waiting host a tenth of its day's traffic."""
NOTED: Final = web.RequestKey("NOTED", tuple[Policy, Verdict])
"""Where a request keeps what was found of its caller."""


class Limits:
    """The buckets of one listener's callers.

    `key_of` tells who asks, None for somebody unknown; `address_of` from where. What is there at addresses in
    `free` costs nothing: it is counted in another way, or costs less than counting.
    """

    def __init__(
        self,
        by_network: Policy,
        by_key: Policy | None = None,
        *,
        address_of: Callable[[web.Request], str],
        key_of: Callable[[web.Request], Hashable | None] = lambda request: None,
        free: tuple[str, ...] = (),
        ticks: Callable[[], float] = time.monotonic,
        most: int = MOST,
    ) -> None:
        self._networks = Buckets(by_network, most)
        self._keys = Buckets(by_key or by_network, most)
        self._address_of = address_of
        self._key_of = key_of
        self._free = free
        self._ticks = ticks

    def add_to(self, app: web.Application) -> None:
        """Have an application keep to the limits: before all else, but inside of its first middleware, which turns
        errors into answers."""
        app.middlewares.insert(1, self.guard)
        app.on_response_prepare.append(tell)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through; what is not there costs as much among the free addresses. Raises TooMany."""
        if not (self._free and request.path.startswith(self._free)):
            self.count(request)
            return await handler(request)
        try:
            return await handler(request)
        except (DSageError, web.HTTPException):
            self.count(request)
            raise

    def count(self, request: web.Request) -> None:
        """Take a token for a request. Raises TooMany."""
        key = self._key_of(request)
        buckets = self._networks if key is None else self._keys
        verdict = buckets.take(network(self._address_of(request)) if key is None else key, self._ticks())
        request[NOTED] = (buckets.policy, verdict)
        if not verdict.allowed:
            policy = buckets.policy
            raise TooMany(
                f"more than {policy.burst} requests at once, and {policy.rate_per_s:g} a second after that",
                retry_s=verdict.retry_s,
            )


async def tell(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Signal handler: say in an answer what its caller has left."""
    noted = request.get(NOTED)
    if noted is not None:
        for name, text in fields(*noted).items():
            response.headers[name] = text


def head_of(request: web.BaseRequest) -> bytes:
    """Return the same as lines of a head, for answers whose head is made by hand: those of hosts, which ask all day.
    They are told once less than PLENTY is left; empty if nothing was counted."""
    noted = request.get(NOTED)
    if noted is None:
        return b""
    policy, verdict = noted
    if verdict.remaining >= PLENTY:
        return b""
    said = (_name(policy), verdict.remaining, int(verdict.full_s) + 1, _of(policy))
    return b'RateLimit: "%s";r=%d;t=%d\r\nRateLimit-Policy: %s\r\n' % said


def fields(policy: Policy, verdict: Verdict) -> dict[str, str]:
    """Return the fields: `r` requests are left, all of them again after `t` seconds; `q` in `w` seconds are allowed."""
    return {
        "RateLimit": f'"{policy.name}";r={verdict.remaining};t={int(verdict.full_s) + 1}',
        "RateLimit-Policy": _of(policy).decode(),
    }


def _name(policy: Policy) -> bytes:
    return policy.name.encode()


@functools.lru_cache(maxsize=64)
def _of(policy: Policy) -> bytes:
    return f'"{policy.name}";q={policy.burst};w={max(round(policy.window_s), 1)}'.encode()


@functools.lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Return what an address counts for: itself, or the network of an IPv6 one."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if known.version == 4:
        return str(known)
    mapped = known.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((known, IPV6_PREFIX), strict=False))
