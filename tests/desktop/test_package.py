"""The Debian package: what installing, upgrading, removing and purging it does to a computer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from throwaway import Person, another, computer, differences

pytestmark = pytest.mark.slow


def test_install_upgrade_remove_purge(deb: Path, ada: Person, tmp_path: Path) -> None:
    before = differences()
    computer("dpkg", "-i", str(deb))
    assert ada.run("dsage", "--version").startswith("dsage ")
    assert os.path.islink("/etc/systemd/user/default.target.wants/dsage.service")
    assert "x-scheme-handler/dsage=dsage.desktop" in Path("/usr/share/applications/mimeinfo.cache").read_text()
    assert "bubblewrap: Strangers' work is safe to run here" in " ".join(
        ada.run("dsage", "doctor", check=False).split()
    )

    kept = ada.home / ".local/share/dsage/client"
    ada.run("dsage", "prefs", "idle_after_s=77")
    (kept / "servers/abc").mkdir(parents=True)
    (kept / "servers/abc/client.key").write_text("secret")
    computer("systemctl", "--global", "disable", "dsage.service")

    computer("dpkg", "-i", str(another(deb, "9.8.7", tmp_path)))
    assert ada.run("dsage", "--version") == "dsage 9.8.7\n"
    assert json.loads(ada.run("dsage", "prefs", "--json"))["data"]["idle_after_s"] == 77
    assert (kept / "servers/abc/client.key").read_text() == "secret"
    assert not os.path.lexists("/etc/systemd/user/default.target.wants/dsage.service"), "switched on again"

    computer("dpkg", "-r", "dsage")
    left = {name for name in differences() - before if not name.startswith(f"{ada.home}/")}
    assert left <= {"/etc/xdg/autostart/dsage-tray.desktop", *generated(left)}
    assert "TryExec=/usr/bin/dsage\n" in Path("/etc/xdg/autostart/dsage-tray.desktop").read_text()
    computer("dpkg", "-P", "dsage")
    left = {name for name in differences() - before if not name.startswith(f"{ada.home}/")}
    assert left == generated(left)
    assert (kept / "preferences.json").exists(), "a package removed what belongs to a person"


def generated(names: set[str]) -> set[str]:
    """Return the lists that the desktop makes of all that is installed; they name nothing of ours any more."""
    lists = {name for name in names if name.endswith(("/icon-theme.cache", "/mimeinfo.cache"))}
    assert not [name for name in lists if b"dsage" in Path(name).read_bytes()]
    return lists
