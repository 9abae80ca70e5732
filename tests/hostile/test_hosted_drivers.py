"""Drivers that mean harm, stepped as the hosting process does: each fails its own run with a reason, and no more."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsage import codec
from dsage.sandbox import Level
from dsage.stepping import Position
from dsage.trust.documents import Manifest
from dsage.wire import Answer, Answers, Step
from dsage_server.hosting import boxes as boxes_module
from dsage_server.hosting.boxes import STEP_LIMITS, Boxes
from dsage_server.hosting.stepping import Boxed

APPS = """
import os
import pathlib
import socket

import msgspec

from dsage import DistributedFunction, Unit
from dsage.hosted import Made
from dsage.wire import Step


class Sum(DistributedFunction):
    result = None

    def process_result(self, unit, value):
        self.total = getattr(self, "total", 0) + value


class Hostile(Sum):
    def process_result(self, unit, value):
        getattr(self, self.way)()

    def loops(self):
        while True:
            pass

    def sleeps(self):
        import time
        time.sleep(1000)

    def prints(self):
        while True:
            print("x" * 1_000_000, flush=True)

    def forks(self):
        while True:
            os.fork()

    def crashes(self):
        os.kill(os.getpid(), 11)

    def leaves(self):
        os._exit(0)

    def kills(self):
        os.kill(-1, 9)

    def hoards(self):
        self._much = bytearray(2 << 30)

    def grows(self):
        self.much = b"x" * (2 << 20)

    def fills(self):
        with open("/slot/much", "wb") as file:
            while True:
                file.write(b"x" * (1 << 20))

    def raises(self):
        raise LookupError("no such thing")

    def exits(self):
        raise SystemExit(3)

    def reads(self):
        self.result = open(self.target).read()

    def calls(self):
        socket.create_connection(("127.0.0.1", self.target), timeout=5)

    def sends(self):
        self.submit(Unit(1, inputs={"data": pathlib.Path("/etc/passwd")}))

    def asks(self):
        from dsage import Limits
        self.submit(Unit(1, limits=Limits(memory_bytes=1 << 50)))


class Forged(Sum):
    @classmethod
    def hosted_step(cls, params, stand, heard):
        step = Step(**{"fence": 1, "step": 4, "state": b"\\x80", **params["step"]})
        return msgspec.msgpack.encode(Made(step=step, working=b"\\x80", dry=False, wake_at=0.0))


class Nonsense(Sum):
    @classmethod
    def hosted_step(cls, params, stand, heard):
        return params["said"]


class Picky(Sum):
    def __init__(self, **params):
        raise LookupError("never made")
"""
STATE = codec.encode({"result": None, "done": False, "wake_at": 0.0, "units_taken": 0})
AT = Position(fence=1, step=3, state=STATE)
HEARD = Answers(
    answers=[Answer(unit=7, key="a", group="", args=codec.encode(1), value=codec.encode(5))],
    open_units=2, state_of_run="running",
)  # fmt: skip

Made = Callable[..., Boxed]


@pytest.fixture
async def boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Boxes]:
    limits = replace(STEP_LIMITS, cpu_s=1.0, wall_s=3.0, memory_bytes=256 << 20, disk_bytes=16 << 20)
    monkeypatch.setattr(boxes_module, "STEP_LIMITS", limits)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "apps.py").write_text(APPS)
    opened = Boxes(Level.BUBBLEWRAP, tmp_path / "work")
    yield opened
    await opened.close()


def boxed(boxes: Boxes, folder: Path, kind: str, run: int = 1, **params: Any) -> Boxed:
    """Return what steps a run of one of APPS's classes, standing at STATE."""
    manifest = Manifest(
        project="lab", title=kind, entry=f"apps:{kind}", bundle="0" * 64, bundle_bytes=1, needs=[],
        has_verify=False, has_agree=False, has_partial=False,
    )  # fmt: skip
    stepper = Boxed(boxes, run, folder / "app", manifest, codec.encode(params))
    stepper.stand(STATE)
    return stepper


async def failure(stepper: Boxed) -> str:
    """Step a run that must fail; return the reason."""
    step = (await stepper.step(AT, HEARD)).step
    assert isinstance(step, Step)
    assert (step.fence, step.step, step.state, step.folded, step.units) == (1, 4, STATE, [], [])
    return step.failed


async def test_an_honest_driver_folds_and_ends(boxes: Boxes, tmp_path: Path) -> None:
    stepper = boxed(boxes, tmp_path, "Sum", total=10)
    stepped = await stepper.step(AT, HEARD)
    assert stepped.step is not None
    assert stepped.step.folded == [7]
    assert codec.decode(stepped.step.state)["total"] == 15


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("loops", "cpu: "),
        ("sleeps", "wall: "),
        ("prints", "disk: the hosted driver went beyond its limit|it printed more than"),
        ("forks", "BlockingIOError|cpu: |wall: "),
        ("crashes", "crash: "),
        ("leaves", "crash: "),
        ("kills", "raised PermissionError|crash: "),
        ("hoards", "memory: |raised MemoryError"),
        ("grows", "the driver's state is"),
        ("fills", "raised OSError: [Errno 27] File too large|No space left"),
        ("raises", "process_result of unit a raised LookupError: no such thing"),
        ("exits", "SystemExit"),
        ("sends", "path /etc/passwd, and a hosted run has no files"),
        ("asks", "a unit asks for memory_bytes"),
    ],
)
async def test_a_driver_that_means_harm_fails_its_run(boxes: Boxes, tmp_path: Path, way: str, reason: str) -> None:
    said = await failure(boxed(boxes, tmp_path, "Hostile", way=way))
    assert any(part in said for part in reason.split("|")), said


async def test_a_driver_sees_no_file_and_no_door_of_the_host(boxes: Boxes, tmp_path: Path) -> None:
    secret = tmp_path / "unit.key"
    secret.write_text("secret")
    secret.chmod(0o644)
    assert "raised FileNotFoundError" in await failure(
        boxed(boxes, tmp_path, "Hostile", way="reads", target=str(secret))
    )
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        target = door.getsockname()[1]
        said = await failure(boxed(boxes, tmp_path, "Hostile", run=2, way="calls", target=target))
    assert "process_result of unit a raised" in said


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"folded": [8]}, "folds what it has not heard of"),
        ({"step": 9}, "made step 9 in place of step 4"),
        ({"fence": 2}, "made step 4 in place of step 4"),
        ({"state": b"\xc1"}, "makes no sense"),
        ({"state": codec.encode(b"x" * (2 << 20))}, "are kept"),
        ({"finished": True}, "without an answer"),
        ({"finished": True, "result": b"\xc1"}, "makes no sense"),
        ({"result": b"\x01"}, "before its end"),
    ],
)
async def test_a_forged_step_fails_its_run(boxes: Boxes, tmp_path: Path, step: dict[str, Any], reason: str) -> None:
    assert reason in await failure(boxed(boxes, tmp_path, "Forged", step=step))


@pytest.mark.parametrize("said", [b"what?", 5, None, {"step": []}, b"\xc1", b""])
async def test_what_makes_no_sense_fails_its_run(boxes: Boxes, tmp_path: Path, said: Any) -> None:
    assert "makes no sense" in await failure(boxed(boxes, tmp_path, "Nonsense", said=said))


async def test_an_app_that_cannot_be_loaded_or_made_fails_its_run(boxes: Boxes, tmp_path: Path) -> None:
    assert "LookupError: never made" in await failure(boxed(boxes, tmp_path, "Picky"))
    assert "loaded where its run is hosted" in await failure(boxed(boxes, tmp_path, "Missing", run=2))


async def test_hostile_drivers_do_not_hold_up_honest_ones(boxes: Boxes, tmp_path: Path) -> None:
    hostile = [
        asyncio.create_task(failure(boxed(boxes, tmp_path, "Hostile", run=10 + n, way="sleeps"))) for n in range(3)
    ]
    for _ in range(3):
        stepped = await boxed(boxes, tmp_path, "Sum").step(AT, HEARD)
        assert stepped.step is not None
        assert not stepped.step.failed
    assert not any(task.done() for task in hostile)
    await asyncio.gather(*hostile)


async def test_boxes_that_nobody_uses_are_closed(boxes: Boxes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes_module, "MOST_BOXES", 2)
    for run in range(5):
        await boxed(boxes, tmp_path, "Sum", run=run).step(AT, HEARD)
    assert len(boxes._warm) <= 3
    await boxes.drop(4)
    assert 4 not in boxes._warm
