"""What the menu's wishes do beside asking the agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsage.errors import NoAgent, UsageError
from dsage_client.tray import wishes
from dsage_client.tray.model import Do, Wish


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where the client is a service of the user; returns what `systemctl` was told."""
    unit = tmp_path / "config/systemd/user" / wishes.UNIT
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")
    told = tmp_path / "told"
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" > {told}\nexit ${{FAILS:-0}}\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return told


def test_the_agent_can_be_started_where_it_is_a_service(installed: Path, tmp_path: Path) -> None:
    assert wishes.can_start()
    assert wishes.can_start({"HOME": str(tmp_path / "other")}) is Path("/usr/lib/systemd/user", wishes.UNIT).exists()


async def test_it_is_started_by_the_system(installed: Path, tmp_path: Path) -> None:
    await wishes.do(Wish(Do.START), tmp_path)
    assert installed.read_text().split() == ["--user", "--no-block", "start", "dsage.service"]


async def test_what_cannot_be_started_is_told(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILS", "3")
    with pytest.raises(NoAgent, match="could not be started"):
        await wishes.do(Wish(Do.START), tmp_path)
    monkeypatch.setattr(wishes, "can_start", lambda: False)
    with pytest.raises(NoAgent, match="does not run"):
        await wishes.do(Wish(Do.START), tmp_path)


async def test_without_an_agent_a_wish_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NoAgent):
        await wishes.do(Wish(Do.MANAGER), tmp_path)


async def test_without_a_browser_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    with pytest.raises(UsageError, match="no browser opened"):
        await wishes.browse("http://127.0.0.1:9/")
