"""The Debian package: what installing, upgrading, removing and purging it does to a computer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from throwaway import ROOT, Person, another, computer, differences

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


def test_the_apparmor_profile_is_well_formed(tmp_path: Path) -> None:
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin")
    if parser is None:
        pytest.skip("apparmor is not installed; `make test-desktop` installs it")
    text = (ROOT / "packaging/apparmor/bwrap-userns").read_text()
    if not Path("/etc/apparmor.d/abi/4.0").exists():
        # AppArmor 3, which Debian 12 has, knows neither this rule nor the restriction that makes it needed.
        assert text.count("  userns,\n") == 1
        text = text.replace("  userns,\n", "").replace("abi/4.0", "abi/3.0")
    for profile, well in ((text, True), (text.replace("local/", ">"), False)):
        file = tmp_path / "profile"
        file.write_text(profile)
        done = subprocess.run([parser, "-Q", "-K", str(file)], capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is well, done.stderr


def generated(names: set[str]) -> set[str]:
    """Return the lists that the desktop makes of all that is installed; they name nothing of ours any more."""
    lists = {name for name in names if name.endswith(("/icon-theme.cache", "/mimeinfo.cache"))}
    assert not [name for name in lists if b"dsage" in Path(name).read_bytes()]
    return lists
