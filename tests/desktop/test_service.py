"""The user service of the Debian package under a real systemd: it starts, dies, stops, is upgraded and removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from throwaway import DSAGE, SHOTS, Person, another, computer, invite, wait

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SERVICE = "dsage.service"
NEWER = "9.8.7"
APP = '''
import time
from dsage import DistributedFunction, Unit, checkpoint, restored


class Lives(DistributedFunction):
    """One unit that goes on from its checkpoint in each life, and ends at the start of the last one."""

    def units(self):
        yield Unit(self.lives, quorum=1)

    @staticmethod
    def compute(lives):
        life = (restored() or 0) + 1
        while life < lives:
            ends = time.process_time() + 0.05
            while time.process_time() < ends:
                pass
            checkpoint(life)
        return life

    def process_result(self, unit, value):
        self.result = value
'''


class Agent:
    """The agent of a person, as their systemd has it."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.folder = person.home / ".local/share/dsage/client"

    def shows(self, name: str) -> str:
        """Return a property of the service."""
        return self.person.systemctl("show", SERVICE, "--value", "-p", name).strip()

    @property
    def pid(self) -> int:
        """The agent's process, 0 if there is none."""
        return int(self.shows("MainPID"))

    def processes(self) -> list[psutil.Process]:
        """The agent and everything below it."""
        agent = psutil.Process(self.pid)
        return [agent, *agent.children(recursive=True)]

    def status(self) -> dict[str, Any]:
        """Return what `dsage status` says."""
        said = self.person.run("dsage", "status", "--json", check=False)
        try:
            found: dict[str, Any] = json.loads(said)["data"]
        except (ValueError, KeyError):
            return {"running": [], "version": "", "sentence": said}
        return found

    def checkpoint(self) -> int:
        """Return when a unit was last put down, in nanoseconds; 0 for never."""
        kept = (path.stat().st_mtime_ns for path in self.folder.glob("servers/*/held/*.checkpoint"))
        return max(kept, default=0)

    def works(self, since: int = 0) -> None:
        """Wait until the service computes and has put down how far it is, after `since`."""
        wait(lambda: self.pid and self.status()["running"], "work")
        wait(lambda: self.checkpoint() > since, "a checkpoint")

    def has_version(self, wanted: str) -> None:
        """Wait until the program that runs is of this version."""
        wait(lambda: self.status()["version"] == wanted, f"version {wanted}")


@pytest.fixture
def submit(server: dict[str, str], tmp_path: Path) -> Iterator[Callable[[int], subprocess.Popen[str]]]:
    """Start a run of one unit with so many lives; its answer is what the program prints."""
    app = tmp_path / "lives.py"
    app.write_text(APP)
    started: list[subprocess.Popen[str]] = []

    def run(lives: int) -> subprocess.Popen[str]:
        with (SHOTS / "lives.log").open("wb") as log:
            started.append(subprocess.Popen(
                [*DSAGE, "submit", str(app), "-p", f"lives={lives}"], env=server, stdout=subprocess.PIPE, stderr=log,
                text=True,
            ))  # fmt: skip
        return started[-1]

    yield run
    for process in started:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def agent(deb: Path, ada: Person, server: dict[str, str]) -> Agent:
    """Somebody's, who has installed the package, joined in a terminal, and ended that."""
    computer("dpkg", "-i", str(deb))
    agent = Agent(ada)
    ada.systemctl("start", SERVICE)
    assert agent.shows("ConditionResult") == "no", "started for somebody who has joined nothing"
    assert agent.pid == 0
    terminal = ada.start("dsage", "join", "--when", "always", "--slots", "1", invite(server), log="join")
    wait(lambda: list(agent.folder.glob("servers/*/membership.json")), f"membership; see {SHOTS}/join.log")
    ada.run("dsage", "prefs", "others_percent=100")
    ada.interrupt(terminal)
    return agent


def test_it_starts_with_the_session_and_leaves_nothing_behind(agent: Agent, submit: Callable[[int], Any]) -> None:
    ada = agent.person
    run = submit(4)
    ada.log_out()
    ada.log_in()
    agent.works()

    killed = agent.processes()
    assert len(killed) > 2, "no box"
    os.kill(killed[0].pid, signal.SIGKILL)
    seen = agent.checkpoint()
    wait(lambda: agent.pid not in (0, killed[0].pid), "a new start")
    gone(killed, "an end of everything below the agent")
    agent.works(seen)

    stopped = agent.processes()
    ada.systemctl("stop", SERVICE)
    seen = agent.checkpoint()
    assert agent.shows("Result") == "success", "it had to be killed"
    gone(stopped, "an end of everything below the agent")
    ada.systemctl("start", SERVICE)
    agent.works(seen)

    # Switched off by one person, and on again.
    ada.run("dsage", "autostart", "off")
    went = agent.processes()
    ada.log_out()
    gone(went, "an end with the session")
    ada.log_in()
    assert agent.pid == 0
    assert "stopped; 1 begun units" in ada.run("dsage", "log", "-n", "4"), "its session's end killed it"
    ada.run("dsage", "autostart", "on")
    ada.log_out()
    ada.log_in()
    assert agent.pid
    said, _ = run.communicate(timeout=90)
    assert said.split()[-1] == "4"


def test_an_upgrade_keeps_everything_and_starts_the_agent_anew(
    agent: Agent, submit: Callable[[int], Any], deb: Path, tmp_path: Path
) -> None:
    ada, folder = agent.person, agent.folder
    run = submit(3)
    ada.systemctl("start", SERVICE)
    agent.works()
    ada.run("dsage", "prefs", "idle_after_s=77")
    before, version = kept(folder), agent.status()["version"]

    for package, wanted in ((another(deb, NEWER, tmp_path), NEWER), (deb, version)):
        old = agent.processes()
        computer("dpkg", "-i", str(package))
        agent.has_version(wanted)
        seen = time.time_ns()
        gone(old, "an end of everything below the agent")
        assert kept(folder) == before
        if wanted == NEWER:
            agent.works(seen)
    said, _ = run.communicate(timeout=90)
    assert said.split()[-1] == "3"
    log = ada.run("dsage", "log", "-n", "200")
    assert log.count("going on with 1 begun units") == 2, log

    removed = agent.processes()
    computer("dpkg", "-r", "dsage")
    gone(removed, "an end before its files go")
    assert kept(folder) == before


def gone(processes: list[psutil.Process], why: str) -> None:
    """Wait until these have ended: the kernel takes a moment to clear a box away that was killed."""
    wait(lambda: not any(each.is_running() for each in processes), why, 10)


def kept(folder: Path) -> dict[str, bytes]:
    """What an upgrade must not touch: keys, memberships, preferences."""
    names = ("**/*.key", "**/membership.json", "preferences.json")
    found = {str(path): path.read_bytes() for name in names for path in folder.glob(name)}
    assert len(found) >= 3, found
    return found
