"""`packaging/dev-setup` on computers that lack something: it installs, or names in one sentence what is missing.

The real script runs in a copy of the checkout's head whose `.venv` counts as made, with programs of our own in front.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
USED = ("bash", "cat", "cut", "dirname", "env", "mktemp", "rm", "sha256sum", "tail", "true")

Setup = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The only folder on the PATH: what the script uses, and nothing that it may have to install."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in USED:
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


@pytest.fixture
def setup(tmp_path: Path, programs: Path) -> Setup:
    checkout = tmp_path / "checkout"
    (checkout / "packaging").mkdir(parents=True)
    shutil.copy(ROOT / "packaging" / "dev-setup", checkout / "packaging")
    shutil.copy(ROOT / "pyproject.toml", checkout)
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/true")
    hashed = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    (checkout / ".venv" / ".dsage-setup").write_text(f"{checkout} {hashed}\n")

    def run(target: str, *, user: int) -> subprocess.CompletedProcess[str]:
        program(programs, "id", f"echo {user}")
        return subprocess.run(
            [str(checkout / "packaging" / "dev-setup"), target],
            env={"PATH": str(programs)}, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    return run


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


def test_nothing_is_said_when_nothing_is_missing(setup: Setup, programs: Path) -> None:
    for name in ("bwrap", "ecm", "povray", "chromium", "Xvfb", "xdotool", "xprop", "xsetroot", "dbus-daemon"):
        program(programs, name, "exit 0")
    done = setup("test", user=1000)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_user_without_rights_is_told_what_to_install_and_it_goes_on(setup: Setup, programs: Path) -> None:
    program(programs, "apt-get", "exit 100")
    done = setup("test", user=1000)
    assert done.returncode == 0
    assert "please run: sudo apt-get install bubblewrap gmp-ecm" in done.stderr
    assert "please run: sudo apt-get install chromium" in done.stderr
    assert "strangers' work is refused here" in done.stderr


def test_the_demo_needs_no_browser(setup: Setup, programs: Path) -> None:
    program(programs, "apt-get", "exit 100")
    assert "hromium" not in setup("demo", user=1000).stderr


@pytest.mark.parametrize(("user", "before"), [(0, ""), (1000, "sudo")])
def test_root_and_sudo_install_without_chatter(
    setup: Setup, programs: Path, tmp_path: Path, user: int, before: str
) -> None:
    asked = tmp_path / "asked"
    tools = 'for tool in bwrap ecm; do ln -sf /bin/true "${0%/*}/$tool"; done'
    program(
        programs,
        "apt-get",
        f'echo chatter; echo "$BY $*" >>{asked}; [[ $* = *install* ]] && {tools}; exit 0',
    )
    program(programs, "ln", 'exec /bin/ln "$@"')
    if before:
        program(programs, "sudo", 'shift; BY=sudo exec "$@"')
    done = setup("demo", user=user)
    assert done.returncode == 0
    assert "chatter" not in done.stdout + done.stderr
    lines = asked.read_text().splitlines()
    assert [line for line in lines if "install -y" in line and "bubblewrap gmp-ecm" in line]
    assert {line.partition(" ")[0] for line in lines} == {before}
    assert "without bubblewrap" not in done.stderr


def test_a_failing_installer_is_shown_and_the_rest_goes_on(setup: Setup, programs: Path) -> None:
    program(programs, "apt-get", "echo E: no route to anywhere; exit 100")
    done = setup("demo", user=0)
    assert done.returncode == 0
    assert "E: no route to anywhere" in done.stderr
    assert "apt-get could not install bubblewrap gmp-ecm" in done.stderr


def test_ubuntu_s_restriction_is_named_with_the_profile_to_add(setup: Setup, programs: Path) -> None:
    program(programs, "bwrap", "exit 1")
    program(programs, "ecm", "exit 0")
    program(programs, "cat", 'case $1 in *apparmor_restrict*) echo 1 ;; *) exec /bin/cat "$@" ;; esac')
    done = setup("demo", user=1000)
    assert done.returncode == 0
    assert "kernel.apparmor_restrict_unprivileged_userns=1" in done.stderr
    profile = "packaging/apparmor/bwrap-userns"
    assert f"sudo cp {profile} /etc/apparmor.d/bwrap-userns" in done.stderr
    assert "/usr/bin/bwrap" in (ROOT / profile).read_text()


def test_without_a_python_it_stops_with_a_sentence(setup: Setup, programs: Path, tmp_path: Path) -> None:
    (tmp_path / "checkout" / ".venv" / ".dsage-setup").unlink()
    text = (tmp_path / "checkout" / "packaging" / "dev-setup").read_text()
    (tmp_path / "checkout" / "packaging" / "dev-setup").write_text(text.replace("/usr/bin/python3", "/nowhere/python3"))
    done = setup("demo", user=1000)
    assert done.returncode == 1
    assert "no Python of version 3.11 or later" in done.stderr
