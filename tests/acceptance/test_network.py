"""Volunteers in another network, and a network that is gone for a while: whole programs, and real packets."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from elsewhere import numbered, rest
from hole import Hole
from lab import Lab, command, wait_for

from dsage import connect
from dsage.errors import TimedOut

WAIT_S = 60.0
HERE, THERE = (f"10.213.{os.getpid() % 256}.{host}" for host in (1, 2))
JOIN = ("--when", "always", "--own-work", "--slots", "1", "--json")


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="dsage-network-", ignore_cleanup_errors=True) as folder:
        made = Lab(Path(folder))
        made.folder.chmod(0o711)
        monkeypatch.setenv("DSAGE_HOME", str(made.home))
        yield made
        made.stop()


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A network of its own, with a cable to this one; it knows no other way out."""
    name, here, there = (f"dsage{kind}{os.getpid()}" for kind in ("", "a", "b"))
    try:
        _ip("netns", "add", name)
        _ip("link", "add", here, "type", "veth", "peer", "name", there)
    except (OSError, subprocess.CalledProcessError) as error:
        with suppress(OSError, subprocess.CalledProcessError):
            _ip("netns", "delete", name)
        pytest.skip(f"no network of its own can be made here: {error}")
    try:
        _ip("link", "set", there, "netns", name)
        _ip("addr", "add", f"{HERE}/24", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", name, "addr", "add", f"{THERE}/24", "dev", there)
        _ip("-n", name, "link", "set", there, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        with suppress(subprocess.CalledProcessError):
            _ip("link", "delete", here)
        _ip("netns", "delete", name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < ends, "it did not come true in time"
        time.sleep(0.05)


def test_a_volunteer_in_another_network_joins_by_its_link_alone(lab: Lab, elsewhere: str) -> None:
    lab.listen = f"{HERE}:0"
    lab.start_server()
    home = lab.folder / "far"
    inside = ["ip", "netns", "exec", elsewhere]
    with (
        (lab.folder / "far.log").open("w") as log,
        subprocess.Popen(
            [*inside, *command("join", lab.invite(1), *JOIN, "--home", str(home))],
            env=lab.environment(home), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
        ) as far,
    ):  # fmt: skip
        try:
            wait_for(lambda: lab.dsage_json("status")["data"]["hosts_live"] == 1, far)
            with connect() as grid:
                assert grid.eval("2+2", quorum=1).wait(WAIT_S) == 4
                both = grid.eval("2+3")
                with pytest.raises(TimedOut, match=r"needs one more volunteer: 2 must agree on unit"):
                    both.wait(3)
                job = grid.map(numbered, range(200), chunk=1, quorum=1, deadline_s=5, credit=0.005)
                until(lambda: len(job) > 10)
                lab.join(1)
                wait_for(lambda: lab.dsage_json("status")["data"]["hosts_live"] == 2)
                assert both.wait(WAIT_S) == 5
                far.kill()
                assert job.wait(2 * WAIT_S) == list(range(200))
        finally:
            far.kill()


@pytest.mark.slow
def test_a_network_that_is_gone_for_a_minute_loses_and_doubles_nothing(lab: Lab) -> None:
    hole = Hole()
    try:
        lab.start_server("--listen", "127.0.0.1:0", "--public", f"https://127.0.0.1:{hole.port}")
        hole.target = server_port(lab)
        lab.join(2)
        with connect() as grid:
            long = grid.map(rest, [20.0, 20.0], chunk=1, quorum=1)
            until(lambda: long.view.replicas.get("leased") == 2)
            short = grid.map(numbered, range(60), chunk=1, quorum=1)
            hole.cut()
            time.sleep(60)
            told = [(lab.folder / f"{name}.jsonl").read_text() for name in lab.clients]
            assert all('"kind":"finished"' in each for each in told), "work goes on without the server"
            hole.mend()
            assert long.wait(2 * WAIT_S) == [20.0, 20.0]
            assert short.wait(2 * WAIT_S) == list(range(60))
            for job, count in ((long, 2), (short, 60)):
                view = job.view
                assert (view.replicas, view.units) == ({"valid": count}, {"valid": count})
                assert view.credit_milli == count * 1000
    finally:
        lab.stop()
        hole.close()


def server_port(lab: Lab) -> int:
    """Return where the server of a lab really listens."""
    assert lab.server is not None
    found = psutil.Process(lab.server.pid).net_connections("tcp")
    pages = int(lab.described["pages_url"].rpartition(":")[2])
    return next(each.laddr.port for each in found if each.status == "LISTEN" and each.laddr.port != pages)
