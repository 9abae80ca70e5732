# ruff: noqa: F401, F811
"""A newer client is told of wherever the owner looks, and never fetched; what is forged or old is a line in the log."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.dsage_client.test_station import client, enrolled

from dsage.errors import MustStop, NotFound, TooOld
from dsage.trust.envelope import Envelope, seal
from dsage.trust.keys import PrivateKey
from dsage.trust.release import Release
from dsage.wire import About, AccountView, Privacy
from dsage_client import parts, statement, station
from dsage_client.guest.reasons import Reason
from dsage_client.testing import SERVER_ID, MemoryServer
from dsage_client.tray.notices import Notices


class Releasing(MemoryServer):
    """A server with an account to show and a notice, if it has one; `asked` counts how often it was asked for that."""

    notice: Envelope | None = None
    asked = 0

    async def _answer(self, path: str, body: Any, token: str | None) -> object:
        if path == "/v1/account":
            return AccountView(pseudonym="tester", granted_milli=0, pending_milli=0, devices=[], privacy=Privacy())
        if path == "/v1/about":
            return About(server_id=SERVER_ID, name="lab", pages_url="http://lab.test")
        if path == "/v1/release":
            self.asked += 1
            if self.notice is None:
                raise NotFound("no release of the client is signed here")
            return self.notice
        return await super()._answer(path, body, token)

    def release(self, number: int, version: str, key: PrivateKey | None = None) -> Envelope:
        now = time.time()
        said = Release(server_id=SERVER_ID, number=number, version=version, issued=now, expires=now + 86_400.0)
        return seal(said, key or self.root_key)


@pytest.fixture
def releasing(client: Any, monkeypatch: pytest.MonkeyPatch) -> Releasing:
    server = Releasing()
    client.servers[SERVER_ID] = server
    (client.settings.of(SERVER_ID).folder / "membership.json").unlink()
    for path in client.settings.of(SERVER_ID).folder.iterdir():
        path.unlink()
    client.settings.of(SERVER_ID).folder.rmdir()
    enrolled(client.settings, server)
    for name in ("ASK_EVERY_S", "SELDOM_S"):
        monkeypatch.setattr(parts, name, 0.0)
    monkeypatch.setattr(station, "ACCOUNT_S", 0.005)
    return server


async def test_a_notice_reaches_status_and_notifications_and_nothing_is_fetched(
    client: Any, releasing: Releasing, tmp_path: Path
) -> None:
    async with client.at_work() as (running, desk):
        await client.until(lambda: releasing.asked > 1)
        assert (await desk.status()).notice == ""
        releasing.notice = releasing.release(1, "99.1")
        await client.until(lambda: running._parts[SERVER_ID].notice)
        status = await desk.status()
        assert status.notice.startswith("DSage 99.1 is out, this is ")
        assert status.notice.endswith("get it at http://lab.test/join")
        shown = Notices(tmp_path / "told.json")
        assert [text for text in shown.news(status) if "99.1" in text] == [status.notice]
        assert not [text for text in shown.news(status) if "99.1" in text], "once"
    assert releasing.fetched == []


async def test_what_is_forged_or_rolled_back_is_a_line_in_the_log(client: Any, releasing: Releasing) -> None:
    def doubts() -> list[str]:
        return [event.text for event in client.events if event.kind == "untrusted"]

    releasing.notice = releasing.release(7, "99.1")
    async with client.at_work() as (running, desk):
        await client.until(lambda: running._parts[SERVER_ID].notice)
        told = (await desk.status()).notice
        releasing.notice = releasing.release(8, "99.2", releasing.unit_key)
        await client.until(doubts)
        assert "the notice of a newer client is not believed" in doubts()[-1]
        releasing.notice = releasing.release(6, "99.9")
        await client.until(lambda: "number 6, and number 7 was already seen" in doubts()[-1])
        assert (await desk.status()).notice == told


async def test_a_client_that_is_too_old_says_so_in_its_own_words(client: Any) -> None:
    await client.server.strike(TooOld("protocol 1 is not served any more"))
    with pytest.raises(MustStop, match="protocol 1"):  # noqa: PT012 - it is what the client ends with
        async with client.at_work() as (running, _):
            await client.until(lambda: running._parts[SERVER_ID].ended is not None)
            why = statement.why(running._parts[SERVER_ID], time.time())
            assert why.reason is Reason.TOO_OLD
