"""Which proxy is used for which server, and what goes wrong with proxies, said in words."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from middlebox import Middlebox
from tests.unit.dsage.test_connection import LittleServer, serving

from dsage.connection import Connection
from dsage.errors import BadSignature, ServerAway, UsageError
from dsage.proxies import proxy_for
from dsage.trust import tls
from dsage.trust.envelope import Envelope

NAME = "dsage.test"


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("no_proxy", raising=False)


@asynccontextmanager
async def elsewhere(folder: Path) -> AsyncIterator[LittleServer]:
    """A server under a name that only a proxy finds."""
    async with serving(folder, [NAME]) as server:
        port = server.link.url.rpartition(":")[2]
        server.link = server.keys.link(f"https://{NAME}:{port}")
        yield server


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({}, "https://a.test:1", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://a.test:1", "http://p:3128"),
        ({"https_proxy": "p:3128"}, "https://a.test:1", "http://p:3128"),
        ({"ALL_PROXY": "http://p:3128"}, "https://a.test:1", "http://p:3128"),
        ({"HTTP_PROXY": "http://p:3128"}, "https://a.test:1", None),
        ({"HTTPS_PROXY": ""}, "https://a.test:1", None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "b.test,.test"}, "https://a.test:1", None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "b.test"}, "https://a.test:1", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "*"}, "https://a.test:1", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://localhost:1", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://127.9.9.9:1", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://[::1]:1", None),
        ({"HTTPS_PROXY": "http://me:secret@p:3128"}, "https://a.test:1", "http://p:3128"),
    ],
)
def test_the_proxy_for_a_server(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], url: str, expected: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(url)
    assert (found and str(found)) == expected


@pytest.mark.parametrize("text", ["socks5://p:1", "https://p:1", "http://", "http://p:99999", "http://me:secret@p:x"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", text)
    with pytest.raises(UsageError, match="HTTP proxies only") as caught:
        proxy_for("https://a.test:1")
    assert "secret" not in str(caught.value)


async def test_a_server_is_reached_through_the_proxy_and_only_its_own_ca_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with elsewhere(tmp_path) as server, Middlebox() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with await Connection.open(server.link) as conn:
            assert await conn.call("GET", "/v1/root", None, Envelope) == server.keys.envelope
        assert set(proxy.asked) == {server.link.url.removeprefix("https://")}


async def test_a_name_and_a_password_are_told_to_the_proxy_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with elsewhere(tmp_path) as server, Middlebox(password="me:secret") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://me:secret@"))
        async with await Connection.open(server.link) as conn:
            await conn.call("GET", "/v1/root")
        assert not any("Proxy-Authorization" in request.headers for request in server.seen)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://me:wrong@"))
        with pytest.raises(ServerAway, match="asks who you are") as caught:
            await Connection.open(server.link)
        assert "wrong" not in str(caught.value)


async def test_a_proxy_that_opens_the_encryption_gets_nothing_and_a_sentence_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with elsewhere(tmp_path / "a") as server, serving(tmp_path / "b", [NAME]) as other:
        async with Middlebox(own=tls.server_context(other.home.tls)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            async with await Connection.open(server.link) as conn:
                with pytest.raises(BadSignature, match=f"the proxy {proxy.url} opens the encryption") as caught:
                    await conn.call("POST", "/v1/exchange", b"secret", token="secret")
            assert "unopened" in (caught.value.hint or "")
        assert [request.path for request in server.seen] == ["/v1/ca"]


async def test_something_in_the_way_that_opens_the_encryption_is_named_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(tmp_path / "a"))
        other = await stack.enter_async_context(serving(tmp_path / "b"))
        own, port = tls.server_context(other.home.tls), int(server.link.url.rpartition(":")[2])
        box = await stack.enter_async_context(Middlebox(own=own, target=port))
        conn = await stack.enter_async_context(await Connection.open(server.keys.link(f"https://localhost:{box.port}")))
        with pytest.raises(BadSignature, match="something on the way opens the encryption"):
            await conn.call("POST", "/v1/exchange", b"secret", token="secret")


async def test_a_proxy_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gone = f"http://127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("HTTPS_PROXY", gone)
    async with elsewhere(tmp_path) as server:
        with pytest.raises(ServerAway, match=f"the proxy {gone} does not answer"):
            await Connection.open(server.link)
