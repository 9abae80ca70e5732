"""What runs in the box: the warm parent, which imports the app once, and the child forked from it for each call.

The warm parent has run the app's code, so nothing it says is believed and nothing it enforces is relied upon: the
host measures, times and kills from outside. Imports stay few here, because they are the cost of opening a box.
"""

from __future__ import annotations

import gc
import importlib
import io
import math
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from dsage import codec, typed
from dsage.errors import CodecError
from dsage.running import Hooks
from dsage.sandbox import frames, gentle
from dsage.sandbox.frames import Kind

MAX_CONTROL: Final = 1 << 16
MAX_REQUEST: Final = 1 << 30
MAX_OPEN_FILES: Final = 256
EACH_DETAIL: Final = 200
"""Characters of why one of many calls failed."""
BETWEEN_REPORTS_S: Final = 0.2
"""Progress and checkpoints that come faster than this are thinned out."""
CHECKPOINT_BYTES_PER_S: Final = 1 << 20
"""Large checkpoints are thinned out more: the host ends a call that floods it."""
LOST: Final = 70
"""Exit status of a child that ended without an answer."""

Compute = Callable[..., Any]


def main(control_fd: int) -> None:
    """Serve the host on this socket until it closes. The first message says what to be."""
    control = socket.socket(fileno=control_fd)
    settings = codec.decode(control.recv(MAX_CONTROL))
    _settle(settings)
    control.send(codec.encode({"settled": True}))
    try:
        for module in settings["preload"]:
            importlib.import_module(module)
        owner = _load(settings["entry"], settings["app"])
        typed.prepare(owner)
    except BaseException as error:  # noqa: BLE001 - the app's code may raise anything; the host is told
        reason, detail = _described(error)
        control.send(codec.encode({"failed": reason, "detail": detail}))
        return
    gc.collect()
    gc.freeze()
    log = os.open(settings["slot"], os.O_TMPFILE | os.O_RDWR | os.O_APPEND, 0o600)
    socket.send_fds(control, [codec.encode({"ready": True})], [log])
    while True:
        message, handles, _, _ = socket.recv_fds(control, 16, 1)
        if not message or not handles:
            return
        channel = socket.socket(fileno=handles[0])
        control.send(codec.encode(_serve(control, channel, owner, settings["slot"], log)))


def _settle(settings: dict[str, Any]) -> None:
    """Take on the limits and restrictions that hold for everything from here on."""
    import resource

    for name, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        (resource.RLIMIT_NPROC, settings["processes"]),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(name, (most, most))
    os.umask(0o077)
    os.nice(settings["nice"])
    if settings["nice"] >= 19:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        gentle.make_last("self")
    if settings["landlock"] is not None:
        from dsage.sandbox import guardian

        guardian.confine(settings["landlock"])
    if settings["inner"] is not None:
        from dsage.sandbox import landlock

        landlock.restrict_if_known(**settings["inner"])
    quiet = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(quiet, standard)
    os.close(quiet)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A line that a call prints is seen at once, and no letter in it can fail the call.
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")


def _load(entry: str, app: str) -> Any:
    sys.path.insert(0, app)
    module, _, name = entry.partition(":")
    owner = importlib.import_module(module)
    for part in name.split("."):
        owner = getattr(owner, part)
    return owner


def _serve(control: socket.socket, channel: socket.socket, owner: Any, slot: str, log: int) -> dict[str, Any]:
    """Fork the child for one call, wait for its end, tidy the slot; return how it ended.

    The host reads and empties the log: an earlier child may have changed how it is written, so that is set again.
    """
    import fcntl

    fcntl.fcntl(log, fcntl.F_SETFL, os.O_APPEND)
    child = os.fork()
    if child == 0:
        try:
            control.close()
            os.setpgid(0, 0)  # a session of its own would be a scheduling group of its own (gentle.make_last)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            _run(channel, owner)
        finally:
            os._exit(LOST)
    channel.close()
    _, status, used = os.wait4(child, 0)
    _empty(slot)
    return {"status": status, "cpu_s": used.ru_utime + used.ru_stime}


def _empty(slot: str) -> None:
    with os.scandir(slot) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


def _run(channel: socket.socket, owner: Any) -> None:
    """Do one call in the forked child: read the request, answer with a result or a failure."""
    received = frames.receive(channel, {Kind.REQUEST: MAX_REQUEST})
    if received is None:
        return
    request = codec.decode(received[1])
    arguments = [codec.decode(argument) for argument in request["args"]]
    Hooks.restored = None if request["restored"] is None else codec.decode(request["restored"])
    Hooks.inputs = request["inputs"]
    reporter = _Reporter(channel, request["output_bytes"], getattr(owner, "shown_as", ""))
    Hooks.checkpoint, Hooks.progress = reporter.checkpoint, reporter.progress
    _limit(request)
    try:
        value = codec.encode(_called(owner, request["function"], arguments))
        if len(value) > request["output_bytes"]:
            frame = _failure("output", f"{len(value)} bytes of answer; {request['output_bytes']} are allowed")
        else:
            frame = frames.pack(Kind.RESULT, value)
    except BaseException as error:  # noqa: BLE001 - whatever the app raises is its answer, SystemExit too
        frame = _failure(*_described(error))
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # whatever the app has put there
            stream.flush()
    channel.sendall(frame)
    os._exit(0)


def _called(owner: Any, function: str, arguments: list[Any]) -> Any:
    if not function.endswith(frames.EACH):
        return getattr(owner, function)(*typed.arguments(owner, function, arguments))
    name = function.removesuffix(frames.EACH)
    return [_one(owner, name, [codec.decode(argument) for argument in call]) for call in arguments]


def _one(owner: Any, function: str, arguments: list[Any]) -> list[Any]:
    """Return [True, the answer], or [False, why there is none], of one of many calls."""
    try:
        answer = getattr(owner, function)(*typed.arguments(owner, function, arguments))
        codec.encode(answer)
    except Exception as error:  # noqa: BLE001 - the other calls are not to suffer for it
        reason, detail = _described(error)
        last = detail.strip().rpartition("\n")[2]
        return [False, f"{reason}: {last}".encode("utf-8", "backslashreplace").decode()[-EACH_DETAIL:]]
    return [True, answer]


def _limit(request: dict[str, Any]) -> None:
    """Set this process's own limits; `address_bytes` counts what the warm parent had mapped already."""
    import resource

    cpu_s = max(1, math.ceil(request["cpu_s"]))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (request["address_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (request["disk_bytes"],) * 2)


def _described(error: BaseException) -> tuple[str, str]:
    """Return the reason code and the end of the traceback."""
    import errno

    detail = "".join(traceback.format_exception(error))[-frames.MAX_DETAIL :]
    if isinstance(error, MemoryError):
        return "memory", detail
    if isinstance(error, CodecError):
        return "codec", detail
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return "disk", detail
    if getattr(error, "returncode", None) == -signal.SIGILL:
        return "instruction", detail
    return "exception", detail


def _failure(reason: str, detail: str) -> bytes:
    # Lone surrogates (a file name in a message) cannot be encoded and would lose the whole report.
    readable = detail.encode("utf-8", "backslashreplace").decode()[-frames.MAX_DETAIL :]
    return frames.pack(Kind.FAILURE, codec.encode([reason, readable]))


class _Reporter:
    """The app's checkpoints and progress on their way to the host, thinned out in time."""

    def __init__(self, channel: socket.socket, most: int, scene: Any) -> None:
        self._channel = channel
        self._most = most
        self._scene = {"scene": scene} if scene else {}
        self._next = dict.fromkeys((Kind.CHECKPOINT, Kind.PROGRESS), 0.0)
        if scene:
            self._channel.sendall(frames.pack(Kind.PROGRESS, frames.progressed(math.nan, self._scene)))

    def checkpoint(self, state: Any) -> None:
        if self._due(Kind.CHECKPOINT):
            body = codec.encode(state)
            if len(body) > self._most:
                raise CodecError(f"a checkpoint of {len(body)} bytes; {self._most} are allowed")
            self._channel.sendall(frames.pack(Kind.CHECKPOINT, body))
            self._next[Kind.CHECKPOINT] += len(body) / CHECKPOINT_BYTES_PER_S

    def progress(self, fraction: float, **shows: Any) -> None:
        if self._due(Kind.PROGRESS):
            self._channel.sendall(frames.pack(Kind.PROGRESS, frames.progressed(fraction, self._scene | shows)))

    def _due(self, kind: Kind) -> bool:
        now = time.monotonic()
        if now < self._next[kind]:
            return False
        self._next[kind] = now + BETWEEN_REPORTS_S
        return True
