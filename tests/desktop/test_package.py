"""The Debian package: what installing, upgrading, removing and purging it does to a computer."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from throwaway import Person, differences

pytestmark = pytest.mark.slow


def dpkg(*arguments: str) -> None:
    done = subprocess.run(
        ["dpkg", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def newer(deb: Path, folder: Path) -> Path:
    """Return the same package with a higher version."""
    tree, made = folder / "tree", folder / "newer.deb"
    subprocess.run(["dpkg-deb", "-R", str(deb), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 9:"))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(made)], check=True)
    return made


def test_install_upgrade_remove_purge(deb: Path, ada: Person, tmp_path: Path) -> None:
    before = differences()
    dpkg("-i", str(deb))
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
    subprocess.run(["systemctl", "--global", "disable", "dsage.service"], check=True, capture_output=True)

    dpkg("-i", str(newer(deb, tmp_path)))
    assert json.loads(ada.run("dsage", "prefs", "--json"))["data"]["idle_after_s"] == 77
    assert (kept / "servers/abc/client.key").read_text() == "secret"
    assert not os.path.lexists("/etc/systemd/user/default.target.wants/dsage.service"), "switched on again"

    dpkg("-r", "dsage")
    left = {name for name in differences() - before if not name.startswith(f"{ada.home}/")}
    assert left <= {"/etc/xdg/autostart/dsage-tray.desktop", *generated(left)}
    assert "TryExec=/usr/bin/dsage\n" in Path("/etc/xdg/autostart/dsage-tray.desktop").read_text()
    dpkg("-P", "dsage")
    left = {name for name in differences() - before if not name.startswith(f"{ada.home}/")}
    assert left == generated(left)
    assert (kept / "preferences.json").exists(), "a package removed what belongs to a person"


def generated(names: set[str]) -> set[str]:
    """Return the lists that the desktop makes of all that is installed; they name nothing of ours any more."""
    lists = {name for name in names if name.endswith(("/icon-theme.cache", "/mimeinfo.cache"))}
    assert not [name for name in lists if b"dsage" in Path(name).read_bytes()]
    return lists
