"""What boxed code leaves, plants or outlives: the host reads, tidies and ends it without being led anywhere."""

import asyncio
import os
import secrets
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dsage import Limits, codec
from dsage.sandbox import Box, Level, attacks, bubblewrap, gentle, groups, landlock, processes
from dsage.sandbox.bubblewrap import ENVIRONMENT
from dsage.sandbox.selftest import bait, state

ATTACKS = Path(__file__).parent / "attacks"
LIMITS = Limits(cpu_s=20, wall_s=20, memory_bytes=128 << 20, disk_bytes=16 << 20, output_bytes=1 << 16)


@pytest.fixture(params=list(Level))
def level(request):
    if request.param is Level.LANDLOCK and landlock.version() < 6:
        pytest.skip("signals are not confined by this kernel's Landlock")
    return request.param


@pytest.fixture
def work(tmp_path):
    place = tmp_path / "work"
    yield place
    assert list(place.glob("box-*")) == []


@pytest.fixture
async def box(level, work):
    opened = await Box.open(level, ATTACKS, "hostile:Hostile", work)
    yield opened
    await opened.close()


async def call(box, function, value=None, limits=LIMITS, **listeners):
    return await box.call(function, (codec.encode(value),), limits, **listeners)


async def until(condition, seconds=60.0):
    """Wait until `condition()` holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


async def begun(box, function, value, **more):
    """Start a call and return it, and what its first checkpoint said."""
    said = asyncio.get_running_loop().create_future()
    listen = lambda state: said.done() or said.set_result(codec.decode(state))  # noqa: E731
    task = asyncio.create_task(call(box, function, value, on_checkpoint=listen, **more))
    return task, await asyncio.wait_for(said, 60)


# -- planting --------------------------------------------------------------------------------------------------


async def test_what_is_planted_where_results_could_be_leads_nobody_to_the_host(box, tmp_path):
    with bait(tmp_path) as targets:
        host = Path(targets["secret"]).parent
        before = state(host)
        outcome = await call(box, "plant", str(host))
        assert outcome.status == "done" or outcome.reason == "disk", outcome
        assert codec.decode((await call(box, "what_is_here")).value) == []
        await box.close()
        assert state(host) == before


async def test_a_folder_that_changes_places_with_a_link_leads_nobody_to_the_host(box, tmp_path):
    with bait(tmp_path) as targets:
        host = Path(targets["secret"]).parent
        before = state(host)
        task, _ = await begun(box, "change_places", str(host), limits=replace(LIMITS, wall_s=1))
        for _ in range(200):
            files = box._lanes[0]._disk()[1]
            assert files < 20, "the host's files were counted"
        assert (await task).reason == "wall"
        await box.close()
        assert state(host) == before


async def test_one_box_finds_nothing_of_another(level, box, work):
    """Where the other works at the same time, keeps a file that anybody may read, and its folder is known."""
    text = secrets.token_hex(16)
    task, slot = await begun(box, "keep_in_slot", text)
    assert codec.decode((await call(box, "look_for", text)).value) == []
    reader = await call(box, "read", f"{slot}/kept")
    assert (reader.status, reader.reason) == ("failed", "exception"), "the same box's other call read it"
    kept = Path(f"/proc/{box._lanes[0]._base[-1]}/root{slot}/kept")
    assert kept.read_text() == text, "there was something to find"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# -- the environment -------------------------------------------------------------------------------------------


async def test_no_process_of_a_box_keeps_the_host_s_environment(box, level, monkeypatch):
    monkeypatch.setenv("DSAGE_SECRET", "a password")
    assert (await call(box, "compute", 1, limits=replace(LIMITS, disk_bytes=32 << 20))).status == "done"
    for pid in box._lanes[0]._base:
        found = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"password" not in found
        names = {pair.partition(b"=")[0].decode() for pair in found.split(b"\0") if pair}
        assert names <= (
            {"PWD"} if level is Level.BUBBLEWRAP and pid != box._lanes[0]._base[-1] else {*ENVIRONMENT, "PWD"}
        )


@pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock")
async def test_not_even_that_can_be_read_in_the_box(work):
    box = await Box.open(Level.BUBBLEWRAP, ATTACKS, "hostile:Hostile", work)
    try:
        outcome = await call(box, "read", "/proc/1/environ")
        assert (outcome.status, outcome.reason) == ("failed", "exception")
        assert "PermissionError" in outcome.detail
        assert (await call(box, "read", "/proc/self/environ")).status == "done"
    finally:
        await box.close()


# -- ended from outside ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["stop_itself", "hang", "spin_in_children"])
async def test_the_clock_that_ends_a_call_runs_outside_of_its_box(box, function):
    """Nothing in the box takes part: all of its processes are stopped while the time runs out."""
    task = asyncio.create_task(call(box, function, limits=replace(LIMITS, wall_s=2.0)))
    await until(lambda: len(processes.tree(box.pid)) > box._plan.layers)
    inside = processes.stop(box.pid, keep=[box.pid])
    outcome = await task
    assert (outcome.status, outcome.reason) == ("limit", "wall")
    await until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in inside))


HOST = """
import asyncio, sys
from pathlib import Path
from dsage import Limits, codec
from dsage.sandbox import Box, Level
async def main(level, app, work, marker):
    box = await Box.open(Level(level), Path(app), "hostile:Hostile", Path(work))
    def ready(_):
        box.pause()
        print(*[lane.pid for lane in box._lanes], flush=True)
    await box.call("leave_and_hang", (codec.encode(marker),), Limits(), on_checkpoint=ready)
asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_paused_box_dies_with_its_host_too(level, work):
    work.mkdir()
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, level, ATTACKS, work, "86400"], stdout=subprocess.PIPE, cwd="/"
    )
    with host:
        root = int(await asyncio.to_thread(host.stdout.readline))
        inside = processes.tree(root)
        assert len(inside) >= 4
        host.kill()
    await until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in inside))
    await (await Box.open(level, ATTACKS, "hostile:Hostile", work)).close()


# -- control groups and priorities -----------------------------------------------------------------------------


@pytest.fixture
def grouped():
    groups.ours.cache_clear()
    if groups.ours() is None:
        pytest.skip("no control group is ours to divide here")
    return groups.ours()


async def test_all_of_a_box_is_in_one_group_that_goes_with_it(box, grouped):
    task, _ = await begun(box, "keep_in_slot", "x")
    group = box._lanes[0]._started.group
    assert sorted(group.members()) == sorted(processes.tree(box.pid))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not group.path.exists()


async def test_the_kernel_freezes_a_box_whole(grouped, work):
    box = await Box.open(Level.BUBBLEWRAP, ATTACKS, "hostile:Hostile", work)
    try:
        task = asyncio.create_task(call(box, "spin_in_children"))
        await until(lambda: processes.usage(processes.tree(box.pid)).cpu_s > 0.1)
        box.pause()
        group = box._lanes[0]._started.group
        await until(lambda: "frozen 1" in (group.path / "cgroup.events").read_text())
        box.resume()
        await until(lambda: "frozen 0" in (group.path / "cgroup.events").read_text())
        box.pause()
    finally:
        await box.close()
    assert (await task).status == "stopped"
    assert not group.path.exists()


async def test_a_group_that_is_gone_is_replaced_by_signals(grouped, work, monkeypatch):
    monkeypatch.setattr(groups.Group, "freeze", lambda self: False)
    box = await Box.open(Level.BUBBLEWRAP, ATTACKS, "hostile:Hostile", work)
    try:
        task = asyncio.create_task(call(box, "spin", limits=replace(LIMITS, cpu_s=0.5, wall_s=60)))
        await until(lambda: processes.usage(processes.tree(box.pid)).cpu_s > 0.1)
        box.pause()
        inside = processes.tree(box.pid)
        states = lambda: {Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] for pid in inside[1:]}  # noqa: E731
        await until(lambda: states() == {"T"})
        box.resume()
        assert (await task).reason == "cpu"
    finally:
        await box.close()


async def test_a_good_guest_s_box_is_idle_in_every_way_and_cannot_change_that(level, work):
    box = await Box.open(level, ATTACKS, "hostile:Hostile", work, nice=gentle.NICEST)
    try:
        inside = processes.tree(box.pid)
        assert [gentle.io_class(pid) for pid in inside] == [gentle.IDLE] * len(inside)
        assert codec.decode((await call(box, "priority")).value) == [19, True, 3]
    finally:
        await box.close()


# -- each wall alone -------------------------------------------------------------------------------------------

ALLOW_ALL = bytes.fromhex("060000000000ff7f")
FILES_AND_PEOPLE = ("read", "change", "remove", "link", "list", "follow", "connect", "see", "signal the host")


async def test_without_the_filter_namespaces_and_landlock_still_keep_files_and_doors(work, tmp_path, monkeypatch):
    monkeypatch.setattr("dsage.sandbox.box.seccomp.program", lambda *_, **__: ALLOW_ALL)
    box = await Box.open(Level.BUBBLEWRAP, Path(attacks.__file__).parent, "dsage.sandbox.attacks:Attacks", work)
    try:
        with bait(tmp_path) as targets:
            before = state(Path(targets["secret"]).parent)
            through = codec.decode((await call(box, "compute", targets)).value)
            assert "call socket" in through, "the filter was in force"
            assert [name for name in through if name.startswith(FILES_AND_PEOPLE)] == []
            assert state(Path(targets["secret"]).parent) == before
    finally:
        await box.close()


@pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock")
@pytest.mark.parametrize("inner", [True, False])
async def test_with_the_whole_disk_mounted_landlock_still_keeps_its_files(work, monkeypatch, inner):
    options, reach = bubblewrap.arguments, bubblewrap.reach
    opened = lambda *args, **more: ["--ro-bind", "/", "/host", *options(*args, **more)]  # noqa: E731
    wide = lambda *args: reach(*args) | {"read": ["/"]}  # noqa: E731
    monkeypatch.setattr(bubblewrap, "arguments", opened)
    if not inner:
        monkeypatch.setattr(bubblewrap, "reach", wide)
    box = await Box.open(Level.BUBBLEWRAP, ATTACKS, "hostile:Hostile", work)
    try:
        outcome = await call(box, "read", "/host/etc/passwd")
        assert (outcome.status == "done") is not inner, outcome.detail
        assert ("PermissionError" in outcome.detail) is inner
    finally:
        await box.close()
