"""The computer is its user's again: real server, client, helper and X server; a key, a kill, a restart."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from client_bench import burn, client, helper, laboratory, ran_ns, status
from idle_lab import Keyboard, display
from lab import Lab, wait_for

from dsage.sandbox import processes

pytestmark = pytest.mark.skipif(not shutil.which("Xvfb"), reason="Xvfb is not installed")


@contextmanager
def working() -> Iterator[tuple[Lab, dict[str, str], psutil.Process, psutil.Process]]:
    """A computer whose units never end, with nobody at it; yield the lab, the display, the agent and the helper."""
    with laboratory() as lab, display() as shown:
        burn(lab)
        with client(lab, lab.invite(1), "idle_after_s=1") as agent, helper(lab, shown) as tray:
            for verb in ("pause", "resume"):  # ends the minutes in which whoever has just joined sees it work
                lab.dsage(verb, "--home", str(lab.folder / "client"))
            computing(lab)
            yield lab, shown, psutil.Process(agent.pid), psutil.Process(tray.pid)


def told(lab: Lab) -> dict[str, Any]:
    """Return the client's status; empty before there is one."""
    return dict(status(lab) or {})


def computing(lab: Lab) -> list[int]:
    """Wait until units have processor time, and return their processes."""
    boxes = wait_for(lambda: told(lab).get("work") == "run" and told(lab)["running"] and told(lab)["boxes"])
    pids = [pid for box, _ in boxes for pid in processes.tree(box)]
    before = ran_ns(pids)
    wait_for(lambda: ran_ns(pids) > before)
    return pids


def test_a_key_stops_the_work_and_it_goes_on_when_nobody_touches_anything() -> None:
    with working() as (lab, shown, _, _):
        pids = computing(lab)
        keyboard = Keyboard(shown)
        keyboard.press()
        wait_for(lambda: told(lab)["reason"] == "in-use")
        before = ran_ns(pids)
        said = lab.dsage("status", "--home", str(lab.folder / "client")).stdout
        assert "Waiting until nobody has used this computer for 1 second" in said or "Computing" in said
        keyboard.press()
        wait_for(lambda: told(lab)["reason"] == "in-use")
        assert ran_ns(pids) >= before
        computing(lab)
        keyboard.close()


def test_a_helper_that_is_killed_leaves_a_computer_that_counts_as_in_use() -> None:
    with working() as (lab, _, _, tray):
        tray.send_signal(signal.SIGKILL)
        wait_for(lambda: told(lab)["work"] == "hold")
        assert told(lab)["reason"] in ("unknown-use", "in-use")


def test_nothing_survives_an_agent_that_is_killed() -> None:
    with working() as (lab, _, agent, _):
        children = agent.children(recursive=True)
        assert children
        agent.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=30)
        assert alive == []
        said = lab.dsage("status", "--home", str(lab.folder / "client")).stdout
        assert "Not running" in said


def test_what_is_paused_by_hand_survives_a_restart_of_the_agent() -> None:
    with laboratory() as lab:
        burn(lab)
        home = str(lab.folder / "client")
        with client(lab, lab.invite(1), "when=always"):
            computing(lab)
            assert "Paused by you until" in lab.dsage("pause", "30m", "--home", home).stdout
            pids = [pid for box, _ in told(lab)["boxes"] for pid in processes.tree(box)]
            still = ran_ns(pids)
            assert told(lab)["reason"] == "paused"
            assert ran_ns(pids) == still
        with client(lab, ""):
            wait_for(lambda: told(lab).get("reason") == "paused")
            assert "Computing" not in lab.dsage("status", "--home", home).stdout
            lab.dsage("resume", "--home", home)
            computing(lab)


def test_root_or_not_the_status_is_private() -> None:
    with laboratory() as lab, client(lab, lab.invite(1)):
        wait_for(lambda: told(lab).get("servers"))
        place = lab.folder / "client" / "client"
        assert (place / "status.json").stat().st_mode & 0o077 == 0
        assert place.stat().st_mode & 0o077 == 0
        assert (place / "door").stat().st_mode & 0o077 == 0
        assert os.stat(place / "door").st_uid == os.geteuid()
