"""Where callers come from, and whose word for that is taken."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from dsage.errors import UsageError
from dsage_server.api.callers import PROXIES, parse_proxies, visitor


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("127.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("::1", ["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
        ("::1", ["203.0.113.9", "192.0.2.1"], "192.0.2.1"),
        ("198.51.100.4", ["192.0.2.1"], "198.51.100.4"),
        ("10.1.2.3", ["192.0.2.1"], "192.0.2.1"),
        ("10.1.2.3", ["10.1.2.3, 2001:db8::1"], "2001:db8::1"),
        ("10.2.0.1", ["192.0.2.1"], "10.2.0.1"),
        ("fd00::5", ["192.0.2.1"], "192.0.2.1"),
        ("fd00::6", ["192.0.2.1"], "fd00::6"),
        ("127.0.0.1", ["not an address"], "127.0.0.1"),
        ("127.0.0.1", [], "127.0.0.1"),
    ],
)
def test_only_proxies_of_this_computer_and_those_that_were_named_are_believed(
    peer: str, forwarded: list[str], expected: str
) -> None:
    headers = CIMultiDict(("X-Forwarded-For", line) for line in forwarded)
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=peer)
    request[PROXIES] = parse_proxies("10.1.0.0/16, fd00::5")
    assert visitor(request) == expected


def test_nobody_else_is_believed_if_none_was_named() -> None:
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": "192.0.2.1"}).clone(remote="10.1.2.3")
    assert parse_proxies("") == ()
    assert visitor(request) == "10.1.2.3"


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.0/99", "10.0.0.1;10.0.0.2"])
def test_what_names_no_proxy(text: str) -> None:
    with pytest.raises(UsageError, match="names no proxies"):
        parse_proxies(text)
