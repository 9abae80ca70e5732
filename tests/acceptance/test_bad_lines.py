"""Volunteers on bad lines and sleeping computers: whole programs, as their owners run them."""

from __future__ import annotations

import json
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from elsewhere import numbered, rest
from lab import Lab, wait_for
from middlebox import Middlebox

from dsage import connect
from dsage.background import Background
from dsage.home import Home
from dsage.trust import tls
from dsage.trust.ceremony import first_keys

NAME = "dsage.test"
WAIT_S = 60.0
REPORTED = {"accepted", "late", "told", "unknown"}
"""Kinds of what a client says when the server has acknowledged a copy."""


class Proxied(Lab):
    """A lab whose programs find its server through a proxy only."""

    proxy = ""

    def environment(self, home: Path) -> dict[str, str]:
        proxy = {"HTTPS_PROXY": self.proxy} if self.proxy else {}
        return super().environment(home) | proxy


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxied]:
    with tempfile.TemporaryDirectory(prefix="dsage-lines-", ignore_cleanup_errors=True) as folder:
        made = Proxied(Path(folder))
        monkeypatch.setenv("DSAGE_HOME", str(made.home))
        yield made
        made.stop()


@pytest.fixture
def boxes() -> Iterator[Callable[[], Middlebox]]:
    """Make proxies that run beside the test."""
    background = Background("boxes")
    made: list[Middlebox] = []

    def another() -> Middlebox:
        made.append(Middlebox())
        background.call(made[-1].__aenter__())
        return made[-1]

    yield another
    for box in made:
        background.call(box.__aexit__(None, None, None))
    background.close()


def told(lab: Lab, name: str) -> list[dict[str, Any]]:
    """Return what a client has said so far."""
    return [json.loads(line) for line in (lab.folder / f"{name}.jsonl").read_text().splitlines()]


def kinds(lab: Lab, name: str) -> list[str]:
    """Return the kinds of what a client has said so far."""
    return [each["kind"] for each in told(lab, name)]


def status(lab: Lab, name: str) -> Mapping[str, Any]:
    """Return what `dsage status` says on a volunteer's computer."""
    found: Mapping[str, Any] = lab.dsage_json("status", "--home", str(lab.folder / name))["data"]
    return found


def test_work_comes_through_a_proxy_and_not_past_one_that_reads_along(
    lab: Proxied, boxes: Callable[[], Middlebox], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    lab.listen = f"127.0.0.1:{port}"
    lab.start_server("--public", f"https://{NAME}:{port}")
    volunteers, ours = boxes(), boxes()
    monkeypatch.setenv("HTTPS_PROXY", ours.url)
    lab.proxy = ours.url
    link = lab.invite(1)
    lab.proxy = volunteers.url
    lab.start_client("one", link)
    wait_for(lambda: "connected" in kinds(lab, "one"), lab.clients["one"])
    with connect() as grid:
        job = grid.map(numbered, range(3), chunk=1, quorum=1)
        assert job.wait(WAIT_S) == [0, 1, 2]
        assert job.view.credit_milli == 3000
        assert set(volunteers.asked) == {f"{NAME}:{port}"}

        first_keys(Home(lab.folder / "stranger"), [NAME], "stranger")
        volunteers.own = tls.server_context(Home(lab.folder / "stranger").tls)
        volunteers.cut()
        wait_for(lambda: status(lab, "one")["reason"] == "trouble", lab.clients["one"])
        said = lab.dsage("status", "--home", str(lab.folder / "one")).stdout
        assert f"Not computing: the proxy {volunteers.url} opens the encryption" in said
        finished = kinds(lab, "one").count("finished")
        waiting = grid.map(numbered, range(3, 6), chunk=1, quorum=1)
        tries = len(volunteers.asked)
        wait_for(lambda: len(volunteers.asked) > tries, lab.clients["one"])
        assert kinds(lab, "one").count("finished") == finished

        volunteers.own = None
        assert waiting.wait(2 * WAIT_S) == [3, 4, 5]
        assert status(lab, "one")["reason"] in {"working", "no-work"}


def asleep(process: psutil.Process) -> list[psutil.Process]:
    """Stop a program with all that it started, as a computer that falls asleep does; return what was stopped."""
    stopped: list[psutil.Process] = []
    while fresh := [each for each in [process, *process.children(recursive=True)] if each not in stopped]:
        for each in fresh:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGSTOP)
        stopped += fresh
    return stopped


def still(process: psutil.Process) -> bool:
    """Whether a process does nothing: stopped, ended, or gone."""
    with suppress(psutil.NoSuchProcess):
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    return True


def test_a_computer_that_falls_asleep_with_units_takes_them_up_again_by_itself(lab: Proxied) -> None:
    lab.start_server()
    link = lab.invite(2)
    lab.start_client("sleeper", link)
    wait_for(lambda: "connected" in kinds(lab, "sleeper"), lab.clients["sleeper"])
    sleeper = psutil.Process(lab.clients["sleeper"].pid)
    with connect() as grid:
        job = grid.map(rest, [3.0, 0.1, 0.2, 0.3], chunk=1, quorum=1, deadline_s=10, credit=0.005)
        wait_for(lambda: job.view.replicas.get("leased"), lab.clients["sleeper"])
        stopped = asleep(sleeper)
        wait_for(lambda: all(still(each) for each in stopped))
        try:
            lab.start_client("awake", link)
            assert job.wait(WAIT_S) == [3.0, 0.1, 0.2, 0.3]
        finally:
            for each in reversed(stopped):
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(signal.SIGCONT)
        wait_for(lambda: REPORTED.intersection(kinds(lab, "sleeper")), lab.clients["sleeper"])
        again = grid.map(numbered, range(8), chunk=1, quorum=1)
        assert again.wait(WAIT_S) == list(range(8))
        wait_for(lambda: not job.view.replicas.get("leased"))
        assert job.view.units == {"valid": 4}
        assert job.view.credit_milli in {20, 25}, "a late answer that is right may be paid, once"
    said = [each for each in told(lab, "sleeper") if each["data"].get("replica")]
    acknowledged = [each["data"]["replica"] for each in said if each["kind"] in REPORTED]
    assert len(acknowledged) == len(set(acknowledged)), "each copy is reported once"
    assert status(lab, "sleeper")["reason"] in {"working", "no-work"}
    assert "Waiting" in status(lab, "sleeper")["sentence"]


def test_a_newer_client_is_told_of_and_not_installed(lab: Proxied) -> None:
    lab.start_server()
    package = lab.folder / "dsage_9.9.9_amd64.deb"
    package.write_bytes(b"a package")
    lab.dsage("admin", "publish-client", str(package), "--news", "quicker")
    lab.start_client("one", lab.invite(1))
    said = ("status", "--home", str(lab.folder / "one"))
    wait_for(lambda: "DSage 9.9.9 is out" in lab.dsage(*said, check=False).stdout, lab.clients["one"])
    assert status(lab, "one")["notice"].endswith("(quicker)")
    assert not list((lab.folder / "one").rglob("*.deb"))
