"""Attacks on the sandbox: each must end as a status and a reason, with the host unchanged and nothing left behind."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dsage import Limits, codec
from dsage.errors import InstructionMissing, SandboxRefused, UnitFailed
from dsage.sandbox import Box, Level, landlock, lane, processes, self_test, strongest
from dsage.sandbox.frames import Kind, pack
from dsage.sandbox.reach import reachable
from dsage.sandbox.selftest import bait
from dsage.wire import MAX_OUTPUT

ATTACKS = Path(__file__).parent / "attacks"
LIMITS = Limits(cpu_s=20, wall_s=20, memory_bytes=128 << 20, disk_bytes=16 << 20, output_bytes=1 << 16)
ORDINARY = 1234
"""A user with no rights of their own, to be when the tests run as root."""


async def until(condition, seconds=60.0):
    """Wait until `condition()` holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


def marked(marker):
    """Return the pids of all processes of this machine with the marker in their command line."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if marker.encode() in Path("/proc", name, "cmdline").read_bytes().split(b"\0"):
                found.append(int(name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.fixture
def marker():
    return f"86400.{secrets.randbelow(10**12):012d}"


@pytest.fixture(params=list(Level))
def level(request):
    if request.param is Level.LANDLOCK and landlock.version() < 6:
        pytest.skip("signals are not confined by this kernel's Landlock")
    return request.param


@pytest.fixture
async def box(level, tmp_path):
    opened = await Box.open(level, ATTACKS, "hostile:Hostile", tmp_path)
    yield opened
    await opened.close()
    assert [path for path in tmp_path.iterdir() if path.name.startswith("box-")] == []


async def call(box, function, value=None, limits=LIMITS, **listeners):
    return await box.call(function, (codec.encode(value),), limits, **listeners)


async def still_works(box):
    """The box serves an honest call, whatever went on before."""
    outcome = await call(box, "compute", 41)
    assert (outcome.status, outcome.value) == ("done", codec.encode(41)), outcome


# -- the list ------------------------------------------------------------------------------------------------


async def test_every_attempt_is_refused(level, tmp_path):
    report = await self_test(level, tmp_path)
    assert report.failures == ()
    assert report.passed
    assert "attacks were tried" in report.sentence
    assert list(tmp_path.iterdir()) == []


def test_the_bait_is_within_reach_of_whoever_runs_in_a_box(tmp_path):
    with bait(tmp_path) as targets:
        assert all(reachable(path) for path in (targets["secret"], *targets["private"].values()))


def test_the_same_attempts_get_through_without_a_box(tmp_path):
    """The positive control: an attack that fails everywhere proves nothing."""
    script = (
        "import sys, os; from dsage import codec; from dsage.sandbox import attacks;"
        "targets = codec.decode(sys.stdin.buffer.read());"
        "print(*attacks.attempted(targets), *attacks.reached(['socket', 'memfd_create']), sep='\\n')"
    )
    with bait(tmp_path) as targets:
        got = subprocess.run(
            [sys.executable, "-c", script],
            input=codec.encode(targets),
            capture_output=True,
            cwd=tmp_path,
            check=True,
        ).stdout.decode()
    through = set(got.splitlines())
    assert through >= {
        "read a file of the host",
        "change a file of the host",
        "list a folder of the host",
        "read the password file",
        "link a file of the host",
        "find the host's variables in its own environment",
        "see the host's processes",
        "signal the host's processes",
        "connect over TCP",
        "send over UDP",
        "open a netlink socket",
        "connect to a UNIX socket",
        "connect to an abstract socket",
        "have signals sent to others",
        "make a file outside its slot",
        "read an SSH key",
        "read a browser's profile",
        "read the client's key",
        "read the slot of another box",
        "follow a link to a file of the host",
        "remove a file of the host",
        "change a file's rights on the host",
        "change a file's times on the host",
        "connect to the desktop's doors",
        "socket",
        "memfd_create",
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="to be another user takes root")
@pytest.mark.skipif(not reachable(str(ATTACKS)), reason="another user cannot reach this checkout")
def test_the_self_test_passes_for_an_ordinary_user():
    done = subprocess.run(
        [sys.executable, "-m", "dsage.sandbox"],
        env={"HOME": "/", "PATH": os.environ["PATH"]},
        user=ORDINARY,
        group=ORDINARY,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("bubblewrap: holds\n  Strangers' work is safe to run here")
    if landlock.version() >= 6:
        assert "\nlandlock: holds\n" in done.stdout


async def test_strangers_are_refused_when_bubblewrap_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxRefused, match="Bubblewrap is not installed"):
        await strongest(tmp_path, strangers=True)
    report = await strongest(tmp_path, strangers=False)
    assert report.level is Level.LANDLOCK
    assert "weaker" in report.sentence
    assert "Bubblewrap is not installed" in report.sentence


async def test_a_box_that_ends_at_once_is_refused(level, tmp_path, monkeypatch):
    def ended(plan, disk_bytes, launch=lane.launch):
        started = launch(plan, disk_bytes)
        started.process.kill()
        os.waitid(os.P_PID, started.process.pid, os.WEXITED | os.WNOWAIT)
        return started

    monkeypatch.setattr(lane, "launch", ended)
    with pytest.raises(SandboxRefused):
        await Box.open(level, ATTACKS, "hostile:Hostile", tmp_path)


# -- taking too much -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "value", "limits", "reason"),
    [
        ("memory", None, LIMITS, "memory"),
        ("memory_of_many", 32 << 20, LIMITS, "memory"),
        ("disk", None, LIMITS, "disk"),
        ("many_files", None, LIMITS, "disk"),
        ("many_folders", None, LIMITS, "disk"),
        ("many_links", None, LIMITS, "disk"),
        ("files_without_names", None, LIMITS, "disk"),
        ("sparse_file", 1 << 30, LIMITS, "disk"),
        ("sockets", None, replace(LIMITS, memory_bytes=1 << 30), "memory"),
        ("spin", None, replace(LIMITS, cpu_s=1), "cpu"),
        ("spin_in_children", None, replace(LIMITS, cpu_s=0.5), "cpu"),
        ("hang", None, replace(LIMITS, wall_s=0.3), "wall"),
        ("stop_itself", None, replace(LIMITS, wall_s=0.3), "wall"),
        ("too_long", 1 << 17, LIMITS, "output"),
        ("flood", None, LIMITS, "output"),
        ("forge", pack(Kind.RESULT, b"")[:1] + b"\xff\xff\xff\xff", LIMITS, "output"),
        ("forge_endless", None, replace(LIMITS, wall_s=0.3), "wall"),
    ],
)
async def test_a_limit_ends_the_call(box, function, value, limits, reason, monkeypatch):
    monkeypatch.setattr("dsage.sandbox.slots.MAX_FILES", 1000)
    outcome = await call(box, function, value, limits)
    assert (outcome.status, outcome.reason, outcome.value) == ("limit", reason, None), outcome
    assert reason == "wall" or outcome.wall_s < limits.wall_s
    await still_works(box)


@pytest.mark.parametrize("function", ["log", "log_for_ever"])
async def test_a_call_that_prints_on_and_on_is_ended_and_its_memory_comes_back(box, function):
    outcome = await call(box, function)
    assert (outcome.status, outcome.reason) == ("limit", "disk"), outcome
    assert "printed more than 8388608 bytes" in outcome.detail
    assert outcome.output == bytes(MAX_OUTPUT)
    assert outcome.wall_s < LIMITS.wall_s
    await still_works(box)
    assert box._lanes[0]._printed.size() == 0


async def test_processes_and_open_files_are_counted(box):
    forked = await call(box, "forks")
    assert forked.status == "done", forked
    assert codec.decode(forked.value) < 200
    opened = await call(box, "files_open")
    assert codec.decode(opened.value) < 300
    await still_works(box)


async def test_memory_that_processes_share_counts_once(box):
    base = processes.usage(box._lanes[0]._base).memory_bytes
    outcome = await call(box, "work_in_many", 40, replace(LIMITS, memory_bytes=64 << 20))
    assert 40 * base / 3 > 2 * base + (64 << 20), "plainly counted it would be too much"
    assert outcome.status == "done", outcome


async def test_the_init_s_standard_error_takes_no_more_than_a_page_of_words(tmp_path):
    box = await Box.open(Level.BUBBLEWRAP, ATTACKS, "hostile:Hostile", tmp_path)
    try:
        written = codec.decode((await call(box, "print_for_init", 4 << 20)).value)
        assert written <= 1 << 16
        await still_works(box)
    finally:
        await box.close()


async def test_checkpoints_cost_the_host_little(box):
    taken = []
    limits = replace(LIMITS, output_bytes=1 << 20, memory_bytes=1 << 30)
    outcome = await call(box, "checkpoints_of_many_values", limits=limits, on_checkpoint=taken.append)
    assert codec.decode(outcome.value) == "sent"
    assert len(taken) == 1, "what comes before the host has recovered from the first is left out"


# -- ending badly, lying -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "value", "reason", "detail"),
    [
        ("exit_quietly", None, "crash", "without an answer"),
        ("close_channel", None, "crash", "ended"),
        ("exit_loudly", None, "exception", "SystemExit: done"),
        ("crash", None, "crash", "last words\n\nkilled by SIGSEGV"),
        ("not_data", None, "codec", "is not data"),
        ("nested", None, "codec", "nested deeper"),
        ("unreadable_error", None, "exception", "xxxx"),
        ("no_such_function", None, "exception", "no_such_function"),
        ("illegal_instruction", None, "instruction", "built for processors with instructions that this computer's"),
        ("illegal_instruction_of_a_program", None, "instruction", "died with <Signals.SIGILL"),
        ("forge", b"\x09\x00\x00\x00\x00", "codec", "kind 9"),
        ("forge", pack(Kind.REQUEST, b""), "codec", "kind 1"),
        ("forge", pack(Kind.RESULT, b"\xc1"), "codec", "not a value"),
        ("forge", pack(Kind.RESULT, b"\xcc\x01"), "codec", "canonical"),
        ("forge", pack(Kind.CHECKPOINT, b"\xd9\x01a"), "codec", "canonical"),
        ("forge", pack(Kind.FAILURE, b"\x93\x01\x02\x03"), "codec", "a reason and a detail"),
    ],
)
async def test_a_bad_end_is_a_reason(box, function, value, reason, detail):
    outcome = await call(box, function, value)
    assert (outcome.status, outcome.reason, outcome.value) == ("failed", reason, None), outcome
    assert detail in outcome.detail
    assert len(outcome.detail) <= 4200
    await still_works(box)


async def test_what_follows_a_forged_answer_does_not_count(box):
    outcome = await call(box, "answer_and_stay", pack(Kind.RESULT, codec.encode(7)))
    assert outcome.value == codec.encode(7)
    assert outcome.wall_s < LIMITS.wall_s
    await still_works(box)


async def test_progress_that_is_no_share_is_left_out(box):
    heard = []
    outcome = await call(box, "odd_progress", on_progress=lambda *told: heard.append(told))
    assert outcome.status == "done"
    assert heard == [(0.25, {})]


async def test_a_picture_is_shown_numbers_and_short_words_only(box):
    heard = []
    outcome = await call(box, "odd_shows", on_progress=lambda *told: heard.append(told))
    assert outcome.status == "done"
    assert heard == [(0.25, {"curve": 3, "word": "stage 2"})]


async def test_a_call_holds_no_channel_but_its_own(box):
    outcome = await call(box, "descriptors")
    kinds = codec.decode(outcome.value)
    assert kinds.count("socket") == 1
    assert kinds.count("file") == 2  # standard output and error, one log


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
async def test_an_attack_on_the_warm_parent_harms_only_its_own_call(box, number):
    other = asyncio.create_task(call(box, "hang", limits=replace(LIMITS, wall_s=1.0)))
    outcome = await call(box, "kill_parent", int(number), replace(LIMITS, wall_s=0.3))
    assert outcome.status in ("done", "failed", "limit")
    assert (await other).reason == "wall"
    await still_works(box)


async def test_an_attack_on_the_box_s_init_does_nothing(tmp_path):
    box = await Box.open(Level.BUBBLEWRAP, ATTACKS, "hostile:Hostile", tmp_path)
    try:
        assert codec.decode((await call(box, "stop_init")).value) == "tried"
        assert codec.decode((await call(box, "trace_init")).value) == -1
        outcome = await call(box, "kill_all", limits=replace(LIMITS, wall_s=1))
        assert outcome.status in ("failed", "limit")
        await still_works(box)
    finally:
        await box.close()


async def test_a_lane_killed_while_idle_is_replaced(box):
    await still_works(box)
    for place in (0, -1):
        whole = processes.tree(box.pid)
        os.kill(whole[place], signal.SIGKILL)
        await until(lambda whole=whole: len(processes.tree(whole[0])) < len(whole))
        await still_works(box)


# -- loading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("failing_import:X", "this app cannot be loaded"),
        ("threaded_import:Threaded", "threads or processes"),
        ("hostile:NoSuchClass", "NoSuchClass"),
        ("no_such_module:X", "no_such_module"),
        ("ending_import:X", "its process ended"),
    ],
)
async def test_an_app_that_does_not_load_fails_its_unit(level, tmp_path, entry, said):
    with pytest.raises(UnitFailed, match=said):
        await Box.open(level, ATTACKS, entry, tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_an_app_for_another_processor_is_this_computer_s_lack(tmp_path):
    with pytest.raises(InstructionMissing, match="built for processors"):
        await Box.open(Level.BUBBLEWRAP, ATTACKS, "illegal_import:X", tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_an_import_that_never_ends_is_ended(level, tmp_path, monkeypatch):
    monkeypatch.setattr("dsage.sandbox.lane.OPENING", Limits(wall_s=0.3))
    with pytest.raises(UnitFailed, match="wall"):
        await Box.open(level, ATTACKS, "looping_import:X", tmp_path)
    assert list(tmp_path.iterdir()) == []


# -- leaving things behind -----------------------------------------------------------------------------------


async def test_what_a_call_leaves_running_is_ended_with_it(box, marker):
    outcome = await call(box, "leave_behind", marker)
    assert codec.decode(outcome.value) == "innocent"
    assert marked(marker) == []
    await still_works(box)


async def test_a_thread_left_behind_ends_with_its_call(box):
    assert codec.decode((await call(box, "leave_thread")).value) == "answer"
    await still_works(box)


async def test_files_of_one_call_are_gone_for_the_next(box):
    assert (await call(box, "leave_files")).status == "done"
    assert codec.decode((await call(box, "what_is_here")).value) == []


async def test_cancelling_kills_everything_at_once(box, marker):
    ready = asyncio.Event()
    task = asyncio.create_task(call(box, "leave_and_hang", marker, on_checkpoint=lambda _: ready.set()))
    await asyncio.wait_for(ready.wait(), 60)
    await until(lambda: len(marked(marker)) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert marked(marker) == []
    await still_works(box)


async def test_cancelling_again_and_again_still_waits_until_all_is_gone(box, marker):
    ready = asyncio.Event()
    task = asyncio.create_task(call(box, "leave_and_hang", marker, on_checkpoint=lambda _: ready.set()))
    await asyncio.wait_for(ready.wait(), 60)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()
    assert marked(marker) == []
    assert processes.tree(box.pid) == []


async def test_what_a_call_printed_outlives_its_box(box):
    heard = []
    task = asyncio.create_task(call(box, "say", "hang", on_output=heard.append))
    await until(lambda: heard)
    await box.close()
    outcome = await task
    assert (outcome.status, outcome.output) == ("stopped", b"hang\n")


async def test_closing_stops_a_running_call(box, marker):
    ready = asyncio.Event()
    task = asyncio.create_task(call(box, "leave_and_hang", marker, on_checkpoint=lambda _: ready.set()))
    await asyncio.wait_for(ready.wait(), 60)
    pids = processes.tree(box.pid)
    await box.close()
    assert (await task).status == "stopped"
    assert marked(marker) == []
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


HOST = """
import asyncio, sys
from pathlib import Path
from dsage import Limits, codec
from dsage.sandbox import Box, Level
async def main(level, app, work, marker):
    box = await Box.open(Level(level), Path(app), "hostile:Hostile", Path(work))
    ready = lambda _: print("ready", flush=True)
    await box.call("leave_and_hang", (codec.encode(marker),), Limits(), on_checkpoint=ready)
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("user", [None, ORDINARY])
async def test_nothing_outlives_a_host_that_is_killed(level, tmp_path, marker, user):
    if user is not None and (os.geteuid() != 0 or not reachable(str(ATTACKS))):
        pytest.skip("to be another user takes root, and a checkout that they can reach")
    work = tmp_path
    dropped = {}
    if user is not None:
        work = Path("/tmp", f"dsage-test-{marker}")
        work.mkdir()
        os.chown(work, user, user)
        dropped = {"user": user, "group": user, "extra_groups": []}
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, level, ATTACKS, work, marker],
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
        cwd="/",
        **dropped,
    )
    with host:
        assert await asyncio.to_thread(host.stdout.readline) == b"ready\n"
        await until(lambda: len(set(marked(marker)) - {host.pid}) == 2)
        below = processes.tree(host.pid)
        host.kill()
    await until(lambda: not marked(marker))
    await until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in below))
    again = await Box.open(level, ATTACKS, "hostile:Hostile", work)
    await again.close()
    assert not list(work.glob("box-*"))
    if user is not None:
        work.rmdir()


# -- what is printed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "status", "limits"),
    [
        ("return", "done", LIMITS),
        ("raise", "failed", LIMITS),
        ("die", "failed", LIMITS),
        ("hang", "limit", replace(LIMITS, wall_s=1.5)),
        ("spin", "limit", replace(LIMITS, cpu_s=0.3)),
    ],
)
async def test_the_end_of_what_a_call_printed_is_kept_however_it_ended(box, words, status, limits):
    outcome = await call(box, "say", words, limits)
    assert outcome.status == status
    # What is killed in the middle of a line has not printed that.
    half = "and a half line" if words in ("return", "raise") else ""
    assert outcome.output.decode() == f"{words}\n{half}"
    assert (await call(box, "compute", 1)).output == b""


async def test_only_the_end_is_kept_and_letters_that_are_none_do_no_harm(box):
    outcome = await call(box, "say", "a \N{BUTTERFLY}" + "x" * 2 * MAX_OUTPUT)
    assert outcome.status == "done"
    assert len(outcome.output) == MAX_OUTPUT
    assert outcome.output.endswith(b"x\nand a half line")


async def test_what_a_call_prints_is_heard_while_it_runs_and_only_when_there_is_more(box):
    heard = []
    task = asyncio.create_task(call(box, "say", "hang", replace(LIMITS, wall_s=1.5), on_output=heard.append))
    await until(lambda: heard)
    assert not task.done()
    await task
    assert heard == [b"hang\n"]
    await call(box, "hang", limits=replace(LIMITS, wall_s=0.6), on_output=heard.append)
    assert heard == [b"hang\n"]


async def test_one_call_cannot_spoil_what_the_next_prints(box):
    spoilt = await call(box, "spoil_the_log")
    assert spoilt.output.endswith(b"far away")
    assert (await call(box, "say", "return")).output == b"return\nand a half line"


# -- being a good guest --------------------------------------------------------------------------------------


async def test_a_paused_box_uses_nothing_and_its_time_stands_still(box):
    began = time.monotonic()
    task = asyncio.create_task(call(box, "spin_in_children", limits=replace(LIMITS, wall_s=2.0, cpu_s=60)))
    await until(lambda: processes.usage(processes.tree(box.pid)).cpu_s > 0.1)
    box.pause()
    paused = time.monotonic()
    tree = processes.tree(box.pid)
    used = processes.usage(tree).cpu_s
    await asyncio.sleep(0.8)
    assert processes.usage(tree).cpu_s - used <= 0.02
    assert not task.done()
    paused_s = time.monotonic() - paused
    box.resume()
    outcome = await task
    assert (outcome.status, outcome.reason) == ("limit", "wall")
    assert outcome.wall_s >= 2.0
    assert outcome.wall_s <= time.monotonic() - began - paused_s


async def test_a_call_that_only_computes_progresses_by_its_processor_time(box, monkeypatch):
    monkeypatch.setattr("dsage.sandbox.lane.BEAT_S", 0.3)
    heard = []
    limits = replace(LIMITS, wall_s=60, cpu_s=60)
    task = asyncio.create_task(call(box, "spin", limits=limits, on_progress=lambda share, _: heard.append(share)))
    await until(lambda: len(heard) > 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(heard) == {0.0}


async def test_a_call_that_hangs_does_not_progress(box, monkeypatch):
    monkeypatch.setattr("dsage.sandbox.lane.BEAT_S", 0.3)
    heard = []
    await call(box, "hang", limits=replace(LIMITS, wall_s=0.9), on_progress=lambda share, _: heard.append(share))
    assert heard == []


async def test_calls_at_the_same_time_do_not_meet(box):
    outcomes = await asyncio.gather(*(call(box, "compute", number) for number in range(6)))
    assert [codec.decode(outcome.value) for outcome in outcomes] == list(range(6))
