"""The units for operators under a real systemd, as docs/deployment.md has them put in place."""

from __future__ import annotations

import os
import re
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from throwaway import ROOT, computer, wait

pytestmark = pytest.mark.slow

UNITS = sorted((ROOT / "packaging" / "systemd").glob("dsage-*"))
SERVER = "dsage-server.service"
MOST_EXPOSED = 6.0
"""What `systemd-analyze security` may say, of 10; above is what it calls exposed. Bubblewrap needs the rest."""


PROGRAM = """#!/bin/sh
PYTHONPATH=/opt/checkout/projects:/opt/checkout/server:/opt/checkout/validator:/opt/checkout/volunteer_client
export PYTHONPATH
exec /opt/environment/bin/python -m dsage "$@"
"""


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    """A server installed by the book; its program is that of this checkout, where no unit hides it."""
    for source, shown in ((ROOT, "/opt/checkout"), (ROOT / ".venv", "/opt/environment")):
        Path(shown).mkdir(parents=True)
        computer("mount", "--bind", str(source.resolve()), shown)
    program = Path("/opt/dsage/bin/dsage")
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM)
    program.chmod(0o755)
    users = Path("/etc/sysusers.d")
    users.mkdir(exist_ok=True)
    shutil.copy(ROOT / "packaging" / "systemd" / "dsage.sysusers", users / "dsage.conf")
    computer("systemd-sysusers")
    for unit in UNITS:
        shutil.copy(unit, "/etc/systemd/system")
    settings = Path("/etc/dsage")
    settings.mkdir(mode=0o700)
    (settings / "server.conf").write_text('DSAGE_OPTIONS="--listen :8470 --public https://localhost:8470"\n')
    secret = settings / "backup.passphrase"
    secret.write_text("correct horse battery staple\n")
    secret.chmod(0o600)
    computer("systemctl", "daemon-reload")
    yield
    computer("systemctl", "disable", "--now", SERVER, "dsage-backup.timer", check=False)


def healthy() -> bool:
    """Say whether the server answers."""
    try:
        with urllib.request.urlopen("http://localhost:8471/healthz", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def shows(unit: str, name: str) -> str:
    """Return a property of a unit."""
    return computer("systemctl", "show", unit, "--value", "-p", name).strip()


@pytest.mark.usefixtures("installed")
def test_they_are_well_formed_and_confined() -> None:
    names = [unit.name.replace("@.", "@one.") for unit in UNITS]
    assert "dsage" not in computer("systemd-analyze", "verify", "--man=no", *names)
    for name in (each for each in names if each.endswith(".service")):
        said = computer("systemd-analyze", "security", "--no-pager", name)
        found = re.search(r"exposure level for \S+: ([\d.]+)", said)
        assert found, said
        assert float(found[1]) <= MOST_EXPOSED, said


@pytest.mark.usefixtures("installed")
def test_the_server_starts_holds_checks_dies_and_stops() -> None:
    computer("systemctl", "enable", "--now", SERVER)
    wait(healthy, "a server")
    log = computer("journalctl", "--no-pager", "-u", SERVER)
    assert "bubblewrap keeps it from the network" in log, log
    pid = int(shows(SERVER, "MainPID"))
    assert Path(f"/proc/{pid}").owner() == "dsage"
    assert Path("/var/lib/dsage").stat().st_mode & 0o777 == 0o700

    os.kill(pid, signal.SIGKILL)
    wait(lambda: shows(SERVER, "MainPID") not in ("0", str(pid)), "a new start")
    wait(healthy, "the server again")

    computer("systemctl", "stop", SERVER)
    assert shows(SERVER, "Result") == "success"
    assert not healthy()
