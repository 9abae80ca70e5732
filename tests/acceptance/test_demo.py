"""`dsage demo` as people run it: real processes, and afterwards none of them, no port and no file."""

from __future__ import annotations

import json
import math
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gmpy2
import psutil
import pytest

DSAGE = (sys.executable, "-P", "-m", "dsage")
MARK = "DSAGE_TEST_MARK"
CURVES = "(10^13+37)*(10^60+7)"
"""74 digits: too long for a sieve, and its smaller prime turns up among the first curves."""
HARD = "10^90+7"
SIEVE = "(10^29+319)*(10^30+57)"
"""60 digits: one unit of a quarter of a minute or more."""


class Demo:
    """One `dsage demo`: `said` is its standard error so far."""

    def __init__(self, space: Path, *words: str, **environment: str) -> None:
        self.space = space
        self.mark = uuid.uuid4().hex
        self.said = ""
        self._heard = threading.Condition()
        self.process = subprocess.Popen(
            [*DSAGE, "demo", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(space), MARK: self.mark, **environment},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._heard:
                self.said += line
                self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()

    def until(self, pattern: str) -> str:
        """Return the first group of the pattern once it has been said."""
        with self._heard:
            self._heard.wait_for(lambda: re.search(pattern, self.said) or not self._reader.is_alive(), 60.0)
        match = re.search(pattern, self.said)
        assert match, self.said
        return match[1]

    def end(self, timeout_s: float = 60.0) -> tuple[int, str]:
        """Return the exit status and standard output."""
        assert self.process.stdout is not None
        with self.process.stdout:
            out = self.process.stdout.read()
        status = self.process.wait(timeout_s)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status, out

    @property
    def ports(self) -> list[int]:
        """The ports that it said."""
        return [int(port) for port in re.findall(r"https?://(?:127\.0\.0\.1|localhost):(\d+)", self.said)]

    def family(self) -> list[psutil.Process]:
        """Return all processes below the demo, sandboxes included."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def marked(self) -> list[psutil.Process]:
        """Return the processes of this demo that are still there, whoever their parent is by now."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def space() -> Iterator[Path]:
    """A folder for temporary files that other users may pass through, as /tmp is."""
    folder = Path(tempfile.mkdtemp(prefix="dsage-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Wait for a condition, and say whether it came to hold."""
    ends = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < ends:
        time.sleep(0.02)
    return condition()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def nothing_is_left(demo: Demo, family: list[psutil.Process] | None = None) -> None:
    assert until(lambda: not demo.marked()), demo.marked()
    assert until(lambda: not any(p.is_running() and p.status() != "zombie" for p in family or []))
    assert not [port for port in demo.ports if answers(port)]
    assert list(demo.space.iterdir()) == []


def holds(data: dict[str, Any]) -> None:
    """Check the document of a complete factorisation against the number itself."""
    assert all(gmpy2.is_prime(int(p)) for p in data["factors"])
    assert math.prod(int(p) ** e for p, e in data["factors"].items()) == int(data["n"])


def test_json_is_one_document_and_the_live_page_opens(space: Path) -> None:
    demo = Demo(space, "--json", "--number", CURVES)
    page = demo.until(r"live page +(http://localhost:\d+/run/1)")
    with urllib.request.urlopen(page, timeout=10.0) as reply:
        assert reply.status == 200
        assert b"Prime factors" in reply.read()
    status, out = demo.end()
    assert status == 0, demo.said
    document = json.loads(out)
    assert document["schema"] == "dsage.demo/1"
    data = document["data"]
    fields = {"number", "n", "factors", "seconds", "units", "replicas", "credit", "found_by"}
    assert data.keys() == fields
    assert data["number"] == CURVES
    assert data["factors"] == {str(10**13 + 37): 1, str(10**60 + 7): 1}
    holds(data)
    assert data["seconds"] > 0
    assert data["replicas"] >= 1
    assert data["units"] >= 1
    assert len(data["credit"]) == 2
    assert sum(data["credit"].values()) > 0
    assert data["found_by"].keys() == data["factors"].keys()
    assert set(data["found_by"].values()) <= set(data["credit"])
    assert re.search(r"SANDBOX +(BUBBLEWRAP|LANDLOCK)", demo.said)
    assert "curves" in demo.said
    assert "\x1b" not in demo.said
    nothing_is_left(demo)


def test_a_cheater_is_caught_and_unpaid(space: Path) -> None:
    demo = Demo(space, "--cheater")
    liar = demo.until(r"cheater +([a-z]+-[a-z]+-\d+), process \d+: LIES")
    status, out = demo.end()
    assert status == 0, demo.said
    assert "answers disagree, so one more volunteer is asked" in demo.said
    assert f"the answer of {liar} was found wrong; it is refused and unpaid" in demo.said
    verdict = re.search(rf"{liar} lied (?:once|\d+ times): (\d+) answers? refused.*Its credit is 0\.", out)
    assert verdict, out
    assert int(verdict[1]) >= 1
    paid = dict(re.findall(r"^  ([a-z]+-[a-z]+-\d+) +(\d+\.\d+)$", out, re.MULTILINE))
    assert len(paid) == 4
    assert float(paid.pop(liar)) == 0.0
    assert sum(map(float, paid.values())) > 0
    assert "The 11 prime factors of 11^150+1" in out
    assert f"found by {liar}" not in out
    for command in ("dsage serve", "dsage invite", "dsage submit factor"):
        assert command in out
    nothing_is_left(demo)


def test_a_budget_ends_a_sieve_and_what_is_unfinished_is_labelled(space: Path) -> None:
    demo = Demo(space, "--budget", "1", "--number", SIEVE)
    status, out = demo.end()
    assert status == 8, demo.said
    assert re.search(r"UNFINISHED, a cofactor of 60 digits\n +\d+\n", out)
    nothing_is_left(demo)


def test_an_unfinished_document_multiplies_to_the_number(space: Path) -> None:
    status, out = Demo(space, "--budget", "0.5", "--json", "--number", HARD).end()
    assert status == 8
    data = json.loads(out)["data"]
    parts = [*data["factors"].items(), *data["unfinished"].items()]
    assert math.prod(int(part) ** e for part, e in parts) == 10**90 + 7
    assert not gmpy2.is_prime(int(next(iter(data["unfinished"]))))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(space: Path, number: signal.Signals) -> None:
    demo = Demo(space, "--number", HARD)
    demo.until(r"([1-9]\d* active)")
    family = demo.family()
    assert len(family) >= 3
    assert all(map(answers, demo.ports))
    demo.process.send_signal(number)
    status, out = demo.end()
    assert (status, out) == (130, "")
    assert "nothing of it is left" in demo.said
    nothing_is_left(demo, family)


def test_interrupted_while_it_starts_it_leaves_nothing(space: Path) -> None:
    demo = Demo(space, "--number", HARD)
    demo.until(r"(at once)")
    assert until(lambda: bool(demo.marked()[1:]))
    demo.process.send_signal(signal.SIGHUP)
    assert demo.end()[0] == 130
    nothing_is_left(demo)


def test_killed_outright_its_programs_end_too(space: Path) -> None:
    demo = Demo(space, "--number", HARD)
    demo.until(r"([1-9]\d* active)")
    family = demo.family()
    assert len(family) >= 3
    demo.process.kill()
    demo.end()
    assert until(lambda: not demo.marked()), demo.marked()
    assert until(lambda: not any(p.is_running() and p.status() != "zombie" for p in family))
    assert not [port for port in demo.ports if answers(port)]


def test_a_lost_volunteer_does_not_end_it_but_a_lost_server_does(space: Path) -> None:
    demo = Demo(space, "--number", HARD, "--volunteers", "3")
    first = int(demo.until(r"volunteer 1 +\S+ process (\d+)"))
    demo.until(r"([1-9]\d* active)")
    psutil.Process(first).kill()
    demo.until(r"(volunteer-1 has ended)")
    assert demo.process.poll() is None
    psutil.Process(int(demo.until(r"server +\S+ process (\d+)"))).kill()
    status, out = demo.end()
    assert status == 1
    assert out == ""
    assert "the demo's server has ended" in demo.said
    nothing_is_left(demo)


def test_one_volunteer_alone(space: Path) -> None:
    demo = Demo(space, "--json", "--volunteers", "1", "--number", CURVES)
    status, out = demo.end()
    assert status == 0, demo.said
    data = json.loads(out)["data"]
    holds(data)
    assert len(data["credit"]) == 1


def test_what_is_kept_can_be_looked_at_as_it_says(space: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    demo = Demo(space, "--keep", str(kept), "--number", "2^137-1")
    status, out = demo.end()
    assert status == 0, demo.said
    nothing_is_left(demo)
    assert {path.name for path in kept.iterdir()} >= {"server", "server.log", "volunteer-1", "volunteer-1.log"}
    commands = [line.strip() for line in out.split("Kept in")[1].split("Next")[0].splitlines()[1:] if line.strip()]
    serve = next(line for line in commands if line.startswith("dsage serve")).removesuffix("&").split()[1:]
    results = next(line for line in commands if line.startswith("dsage results")).split("(")[0].split()[1:]
    environment = {**os.environ, "DSAGE_HOME": str(kept / "server")}
    assert f"export DSAGE_HOME={kept / 'server'}" in commands
    with subprocess.Popen([*DSAGE, *serve, "--json"], env=environment, stdout=subprocess.PIPE, stderr=-3) as server:
        try:
            assert server.stdout is not None
            assert b"{" in server.stdout.readline()
            answer = subprocess.run([*DSAGE, *results], env=environment, capture_output=True, text=True, check=True)
        finally:
            server.terminate()
    assert "32032215596496435569" in answer.stdout
    again = Demo(space, "--keep", str(kept))
    assert again.end()[0] == 2
    assert "not an empty folder" in again.said


@pytest.mark.parametrize("plain", [True, False])
def test_on_a_terminal_it_draws_and_respects_no_color(space: Path, plain: bool) -> None:
    master, slave = pty.openpty()
    words = [*DSAGE, "demo", "--number", "2^137-1"]
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm-256color"}
    environment |= {"TMPDIR": str(space)} | ({"NO_COLOR": "1"} if plain else {})
    with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        seen = b""
        while True:
            try:
                seen += os.read(master, 1 << 16)
            except OSError:
                break
        assert process.wait() == 0
    os.close(master)
    colours = re.findall(rb"\x1b\[[0-9;]*3[0-9][0-9;]*m", seen)
    assert b"volunteers" in seen
    assert b"5439042183600204290159" in seen
    assert bool(colours) is not plain
    assert list(space.iterdir()) == []
