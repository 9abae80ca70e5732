"""Servers whose certificate comes from somebody else, and what proxies ask: over real TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsage.connection import Connection
from dsage.errors import BadSignature, UsageError
from dsage.home import Home, Login
from dsage.trust import tls
from dsage.trust.ceremony import LAB
from dsage.wire import Hello
from dsage_server.cli import make_invite
from dsage_server.server import Running, serving
from dsage_server.store.testing import shared_cluster
from dsage_server.testing import Host, local_settings


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A certificate for localhost by an authority of its own."""
    folder = tmp_path / "given"
    tls.make_authority(folder, "an institute")
    tls.make_leaf(folder, ["localhost", "127.0.0.1"])
    return folder


@asynccontextmanager
async def served(folder: Path, **more: Any) -> AsyncIterator[Running]:
    """Serve with further settings."""
    home = Home(folder)
    async with serving(home, replace(local_settings(home), **more)) as running:
        Login(link=str(running.link()), key=LAB).save(home)
        yield running


def files(given: Path) -> dict[str, str]:
    """Return the settings that show a certificate."""
    return {"tls_cert": str(given / "tls.pem"), "tls_key": str(given / "tls.key")}


async def test_links_pin_the_authority_that_the_operator_names(tmp_path: Path, given: Path) -> None:
    async with served(tmp_path / "home", **files(given), tls_ca=str(given / "ca.pem")) as running:
        assert running.link().ca == tls.spki_hash((given / "ca.pem").read_bytes())
        assert make_invite(Home(tmp_path / "home"), 1, 60.0).ca == running.link().ca
        async with Host.joined(running) as host:
            assert host.conn.ca_pem == (given / "ca.pem").read_bytes()
            assert (await host.introduce()).root_version == 2


async def test_with_a_public_certificate_computers_decide_by_themselves(
    tmp_path: Path, given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(given / "ca.pem"))
        async with served(tmp_path / "home", **files(given)) as running:
            assert str(running.link()).count("&ca=system&") == 1
            async with Host.joined(running) as host:
                assert host.conn.ca_pem == b""
                await host.introduce()
            patch.setenv("SSL_CERT_FILE", str(tmp_path / "home" / "server" / "tls" / "ca.pem"))
            async with await Connection.open(running.link()) as stranger:
                with pytest.raises(BadSignature, match="not one that its invite link vouches for"):
                    await stranger.call("GET", "/v1/hello", None, Hello)


async def test_the_servers_own_authority_is_named_again_after_a_change_of_mind(tmp_path: Path, given: Path) -> None:
    home = Home(tmp_path / "home")
    async with served(home.folder) as running:
        own = running.link().ca
    async with served(home.folder, **files(given), tls_ca=str(given / "ca.pem")):
        pass
    async with served(home.folder) as running:
        assert running.link().ca == own == make_invite(home, 1, 60.0).ca
        async with Host.joined(running) as host:
            await host.introduce()


async def test_without_the_root_key_the_operator_learns_how_to_name_an_authority(tmp_path: Path, given: Path) -> None:
    home = Home(tmp_path / "home")
    async with served(home.folder):
        pass
    home.root_key.rename(tmp_path / "root.key")
    with pytest.raises(UsageError, match="ca_keys") as refused:
        async with served(home.folder, **files(given), tls_ca=str(given / "ca.pem")):
            pass
    assert "--ca" in refused.value.hint


async def test_the_address_of_the_pages_behind_a_proxy(tmp_path: Path) -> None:
    url = "https://science.example.org"
    async with (
        served(tmp_path / "home", pages_url=url) as running,
        await Connection.open(running.link()) as conn,
    ):
        assert (await conn.call("GET", "/v1/hello", None, Hello)).pages_url == url


async def test_health_needs_no_manners_and_ends_with_the_server(tmp_path: Path) -> None:
    async with served(tmp_path / "home") as running, Host.joined(running) as host:
        plain = {"headers": {"DSage-Protocol": "", "Authorization": ""}}
        status, _, headers = await host.raw("GET", "/healthz", **plain)
        assert (status, headers["Content-Type"].partition(";")[0]) == (200, "application/json")
        assert headers["Cache-Control"] == "no-store"
        running.hub.closing = True
        status, problem, _ = await host.raw("GET", "/healthz", **plain)
        assert (status, problem["code"]) == (503, "busy")


async def test_health_without_a_database(tmp_path: Path) -> None:
    cluster = shared_cluster()
    async with served(tmp_path / "home", store=cluster.database()) as running, Host.joined(running) as host:
        assert (await host.raw("GET", "/healthz"))[0] == 200
        cluster.stop()
        try:
            status, problem, headers = await host.raw("GET", "/healthz")
        finally:
            cluster.start()
        assert (status, problem["code"]) == (503, "busy")
        assert headers["Retry-After"]
