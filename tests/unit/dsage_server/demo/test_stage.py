"""The demo's programs as the stage sees them: their events, their end, what their end means."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from dsage.errors import DSageError
from dsage_server.demo.children import Child
from dsage_server.demo.place import place
from dsage_server.demo.stage import Stage, Volunteer


async def child(folder: Path, program: str, heard: list[Any]) -> Child:
    log = folder / "log"
    return await Child.start("program", ["-c", program], home=folder, log=log, scratch=folder, heard=heard.append)


async def test_documents_of_one_line_and_of_several_are_heard_and_logged(tmp_path: Path) -> None:
    heard: list[Any] = []
    program = """print('{"a": 1}'); print('{\\n "b":\\n 2}')"""
    one = await child(tmp_path, program, heard)
    await one.ended()
    assert heard == [{"a": 1}, {"b": 2}]
    assert '{"a": 1}' in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("last", "message", "hint"),
    [
        ("no keys here", "no keys here", DSageError.default_hint),
        ('{"detail": "no keys", "hint": "Make some."}', "no keys", "Make some."),
        ("17", "17", DSageError.default_hint),
    ],
)
async def test_an_early_end_is_told_in_the_programs_own_words(
    tmp_path: Path, last: str, message: str, hint: str
) -> None:
    one = await child(tmp_path, f"import sys; sys.exit({last!r})", [])
    error = await one.ended()
    assert error.message == f"the demo's program has ended: {message}"
    assert error.hint == hint


async def test_a_program_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsage_server.demo.children.STOP_S", 0.1)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(99)"
    ready = asyncio.Event()
    one = await Child.start(
        "deaf", ["-c", deaf], home=tmp_path, log=tmp_path / "log", scratch=tmp_path, heard=lambda _: ready.set()
    )
    await ready.wait()
    await one.stop()
    assert not one.alive


async def test_a_programs_home_and_temporary_files_are_its_own(tmp_path: Path) -> None:
    heard: list[Any] = []
    program = "import json, os; print(json.dumps([os.environ['DSAGE_HOME'], os.environ['TMPDIR'], os.getsid(0)]))"
    one = await Child.start(
        "p", ["-c", program], home=tmp_path / "h", log=tmp_path / "log", scratch=tmp_path / "t", heard=heard.append
    )
    await one.ended()
    assert heard[0][:2] == [str(tmp_path / "h"), str(tmp_path / "t")]
    assert heard[0][2] != os.getsid(0)


def test_a_program_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    parent = f"""
import asyncio, os, signal
from pathlib import Path
from dsage_server.demo.children import Child
async def main():
    child = await Child.start("c", ["-c", "import time; time.sleep(99)"], home=Path({str(tmp_path)!r}),
        log=Path({str(tmp_path / "log")!r}), scratch=Path({str(tmp_path)!r}), heard=print)
    Path({str(tmp_path / "pid")!r}).write_text(str(child.pid))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    done = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", parent])
    assert done == -signal.SIGKILL
    child_pid = int((tmp_path / "pid").read_text())
    waiting = os.pidfd_open(child_pid) if Path("/proc", str(child_pid)).exists() else None
    if waiting is not None:
        import select

        assert select.select([waiting], [], [], 10.0)[0]
        os.close(waiting)


def event(kind: str, **data: Any) -> dict[str, Any]:
    return {"kind": kind, "text": f"the text of {kind}", "data": data}


def test_a_volunteer_is_what_its_events_tell() -> None:
    volunteer = Volunteer("volunteer-1")
    volunteer.hear(event("sandbox", level="landlock"))
    assert (volunteer.sandbox, volunteer.sandbox_sentence) == ("landlock", "the text of sandbox")
    assert not volunteer.joined.is_set()
    volunteer.hear(event("joined", pseudonym="calm-ibis-1"))
    assert volunteer.joined.is_set()
    assert volunteer.pseudonym == "calm-ibis-1"
    volunteer.hear(event("working", unit=3))
    assert volunteer.doing == "computes unit 3"
    volunteer.hear(event("finished", unit=3))
    assert volunteer.answers == 1
    assert not volunteer.answered.is_set()
    volunteer.hear(event("accepted"))
    assert volunteer.answered.is_set()
    volunteer.hear(event("away"))
    assert volunteer.doing == "the text of away"
    volunteer.hear(event("something-new"))


async def test_waiting_in_vain_ends_with_the_reason() -> None:
    async with Stage(None, [], slots=1, needed=1, say=print) as stage:  # type: ignore[arg-type]
        assert await stage.unless_broken(asyncio.sleep(0, "done")) == "done"
        asyncio.get_running_loop().call_soon(stage.broken.set_exception, DSageError("the server has gone"))
        with pytest.raises(DSageError, match="the server has gone"):
            await stage.unless_broken(asyncio.Event().wait())


async def test_a_server_that_speaks_only_when_it_is_stopped_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    late = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print('{"data": {}}', flush=True), sys.exit()))
open(os.environ["DSAGE_HOME"] + "/ready", "w").close()
time.sleep(99)
"""
    monkeypatch.setattr("dsage_server.demo.stage.DSAGE", ("-c", late))
    with place(None) as where:
        async with Stage(where, [], slots=1, needed=1, say=print) as stage:
            serving = asyncio.create_task(stage.serve(1))
            while not (where.server.folder / "ready").exists():
                await asyncio.sleep(0.01)
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
