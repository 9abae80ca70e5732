"""Real clients on bad computers: a disk that is full of bytes or of names, or may only be read; a home that lies deep,
is damaged, or has a client already. A sentence and a safe state each, and it works again by itself."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab import Lab, command, wait_for
from small_disk import Disk, disk, impossible

SOURCE = """
import time
from dsage import DistributedFunction, Unit


class Nap(DistributedFunction):
    def units(self):
        yield from (Unit(i, quorum=1) for i in range(self.n))

    @staticmethod
    def compute(i):
        time.sleep(0.2)
        return i

    def process_result(self, unit, value):
        pass
"""
SOMETIMES = pytest.mark.skipif(bool(impossible()), reason=impossible() or "-")
NOT_MEANT = re.compile("Traceback|unexpected|Error:")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A server with more short units than anybody does here."""
    with tempfile.TemporaryDirectory(prefix="dsage-bad-") as folder:
        Path(folder).chmod(0o755)
        made = Lab(Path(folder))
        try:
            made.start_server()
            source = made.folder / "nap.py"
            source.write_text(SOURCE)
            made.clients["driver"] = made.start("submit", f"{source}:Nap", "-p", "n=5000", log="driver")
            yield made
        finally:
            made.stop()


class Client:
    """`dsage join` on a home; `seen` is where others see that home, `log` what it has printed."""

    def __init__(self, lab: Lab, home: Path, seen: Path, prefix: list[str], log: Path) -> None:
        self._lab, self._home, self._prefix = lab, home, prefix
        self.seen, self.log = seen, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """Start it; its output goes on in the same file."""
        arguments = command("join", *more, "--own-work", "--slots", "1", "--home", str(self._home))
        with self.log.open("ab") as told:
            self.process = subprocess.Popen(
                [*self._prefix, *arguments], env=self._lab.environment(self._home), stdin=subprocess.DEVNULL,
                stdout=told, stderr=told,
            )  # fmt: skip
        return self.process

    def stop(self) -> int:
        """End it in good order."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(30)

    def dsage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of its owner's."""
        return self._lab.dsage(*arguments, "--home", str(self.seen), check=False)

    def status(self) -> dict[str, Any]:
        """What `dsage status` shows; empty while nobody answers."""
        done = self.dsage("status", "--json")
        assert not NOT_MEANT.search(done.stderr)
        return dict(json.loads(done.stdout)["data"]) if done.returncode == 0 else {}

    def until(self, reason: str) -> dict[str, Any]:
        """Wait for a reason to be told, and return the status that does."""
        return dict(wait_for(lambda: (told := self.status()).get("reason") == reason and told))

    def units(self, words: str) -> set[str]:
        """The units of which the log says so."""
        return set(re.findall(rf"unit (\d+) {words}", self.log.read_text()))

    def works(self) -> None:
        """Wait until one more unit was accepted."""
        before = len(self.units("was accepted"))
        wait_for(lambda: len(self.units("was accepted")) > before, self.process)  # type: ignore[arg-type]


@contextmanager
def client(lab: Lab, name: str, home: Path | None = None, under: Disk | None = None) -> Iterator[Client]:
    """A client that is ended with the block."""
    place = home or lab.folder / name
    made = Client(lab, place, under.path if under else place, under.inside if under else [], lab.folder / f"{name}.log")
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait()


@SOMETIMES
def test_a_disk_without_room_is_said_before_joining_and_the_link_stays_good(lab: Lab) -> None:
    link = lab.invite(1)
    with disk(lab.folder / "small", size="1m", names=40) as under, client(lab, "small", under.place, under) as small:
        for spoil, arguments in ((under.fill, [link]), (under.fill, [link, "--when", "always"]), (under.crowd, [link])):
            spoil()
            small.log.write_text("")
            assert small.start(*arguments).wait(60) == 1
            said = small.log.read_text()
            assert re.search(
                r"dsage: .* cannot be (written|used): No space left on device\n  Free some disk space", said
            )
            assert not NOT_MEANT.search(said)
            under.clear()
        small.start(link)
        assert small.until("disk")["sentence"] == "Waiting for new work: the disk is full", "it has less than 256 MiB"
        assert small.stop() == 0


@pytest.mark.slow
@SOMETIMES
def test_a_disk_that_fills_up_or_shuts_while_it_works_loses_nothing_and_it_goes_on(lab: Lab) -> None:
    with disk(lab.folder / "one", size="400m", names=500) as under, client(lab, "one", under.place, under) as one:
        one.start(lab.invite(1), "--when", "always")
        one.works()
        stages: list[tuple[Callable[[], None], Callable[[], None], str, str]] = [
            (under.fill, under.clear, "the disk is full", "No space left on device"),
            (under.crowd, under.clear, "the disk is full", "No space left on device"),
            (under.shut, under.reopen, "the disk may only be read", "Read-only file system"),
        ]
        for spoil, mend, words, why in stages:
            spoil()
            told = one.until("disk")
            assert told["sentence"] == f"Waiting for new work: {words}"
            assert told["servers"][0]["sentence"] == told["sentence"]
            spoil()
            refused = one.dsage("prefs", "others_percent=33")
            assert (refused.returncode, f"cannot be saved: {why}; the old ones hold" in refused.stderr) == (1, True)
            assert "Paused by you until" in one.dsage("pause", "30m").stdout
            assert one.status()["reason"] == "paused", "it holds, though it cannot be kept"
            one.dsage("resume")
            one.until("disk")
            mend()
            one.works()
        assert json.loads(one.dsage("prefs", "--json").stdout)["data"]["others_percent"] == 50
        for spoil, mend, words, why in stages[1:]:
            spoil()
            one.until("disk")
            assert one.stop() == 0
            spoil()
            assert one.start().wait(60) == 1
            assert re.search(rf"cannot be (written|used): {why}", one.log.read_text().splitlines()[-2]), words
            mend()
            one.start()
            one.works()
        assert one.stop() == 0
        assert one.units("is finished") == one.units("was accepted")
        assert not NOT_MEANT.search(one.log.read_text())


def test_a_deep_home_with_damaged_preferences_works_carefully_and_for_one_client(lab: Lab) -> None:
    home = lab.folder / ("deep" * 25) / ("er" * 50)
    (home / "client").mkdir(parents=True, mode=0o700)
    (home / "client" / "preferences.json").write_text('{"when": "alw')
    with client(lab, "deep", home) as deep, client(lab, "second", home) as second:
        deep.start(lab.invite(1))
        deep.works()
        assert "the usual preferences hold until new ones are saved" in deep.log.read_text()
        assert json.loads(deep.dsage("prefs", "--json").stdout)["data"]["when"] == "idle"
        assert second.start().wait(60) == 7
        assert "another client is running with the folder" in second.log.read_text()
        assert deep.dsage("prefs", "when=always").returncode == 0
        deep.works()
        assert deep.stop() == 0
        assert deep.status()["reason"] == "stopped"
        assert not NOT_MEANT.search(deep.log.read_text() + second.log.read_text())
