"""Windows, an experiment: an outline as an AppContainer in a job object, and the calls that make one, in order.

Nothing here has ever run on Windows. An AppContainer without capabilities reads only what its own identity was granted
and has no network; the job object limits and ends it. The process is made suspended, put into the job, and only then
let go, so that it never runs outside of it. Sources: Microsoft's documentation of each call and structure by name.
"""

from __future__ import annotations

import ctypes
import ntpath
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from dsage.sandbox.outline import Outline, refuse

# Limits of a job: JOB_OBJECT_LIMIT_...
JOB_TIME: Final = 0x4
ACTIVE_PROCESS: Final = 0x8
PRIORITY_CLASS: Final = 0x20
PROCESS_MEMORY: Final = 0x100
JOB_MEMORY: Final = 0x200
DIE_ON_UNHANDLED_EXCEPTION: Final = 0x400
KILL_ON_JOB_CLOSE: Final = 0x2000

EXTENDED_LIMITS: Final = 9
UI_RESTRICTIONS: Final = 4
EVERYTHING_OF_THE_DESKTOP: Final = 0xFF
"""JOB_OBJECT_UILIMIT_: handles, clipboard (both ways), settings, display, atoms, desktops, log-off."""
IDLE_PRIORITY: Final = 0x40

CREATION: Final = 0x4 | 0x400 | 0x80000 | 0x08000000
"""CREATE_SUSPENDED, CREATE_UNICODE_ENVIRONMENT, EXTENDED_STARTUPINFO_PRESENT and CREATE_NO_WINDOW."""
SECURITY_CAPABILITIES: Final = 0x20009
"""PROC_THREAD_ATTRIBUTE_SECURITY_CAPABILITIES."""
HUNDRED_NS: Final = 10_000_000
LONGEST_COMMAND: Final = 32_767
RESUMED: Final = 1
"""What ResumeThread says of a thread that was suspended once, and runs now."""

_NAME: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
_SID: Final = re.compile(r"S-1-15-2(-\d+)+")


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("per_process_time", ctypes.c_int64),
        ("per_job_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("smallest_working_set", ctypes.c_size_t),
        ("largest_working_set", ctypes.c_size_t),
        ("active_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority_class", ctypes.c_uint32),
        ("scheduling_class", ctypes.c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("basic", BasicLimits),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


class Capabilities(ctypes.Structure):
    """SECURITY_CAPABILITIES: who the box is, and that it may nothing."""

    _fields_ = (
        ("identity", ctypes.c_void_p),
        ("capabilities", ctypes.c_void_p),
        ("count", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


class StartupInfo(ctypes.Structure):
    """STARTUPINFOEXW."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("texts", ctypes.c_void_p * 3),
        ("geometry", ctypes.c_uint32 * 7),
        ("flags", ctypes.c_uint32),
        ("show", ctypes.c_uint16),
        ("reserved_bytes", ctypes.c_uint16),
        ("reserved", ctypes.c_void_p),
        ("streams", ctypes.c_void_p * 3),
        ("attributes", ctypes.c_void_p),
    )


class ProcessInfo(ctypes.Structure):
    """PROCESS_INFORMATION."""

    _fields_ = (
        ("process", ctypes.c_void_p),
        ("thread", ctypes.c_void_p),
        ("process_id", ctypes.c_uint32),
        ("thread_id", ctypes.c_uint32),
    )


@dataclass(frozen=True, slots=True)
class Libraries:
    """The system's libraries that the calls are in, and what runs a program and returns its exit status."""

    kernel32: Any
    userenv: Any
    advapi32: Any
    run: Callable[[list[str]], int]

    @classmethod
    def here(cls) -> Libraries:
        """Return those of this computer. Raises SandboxRefused if it has none."""
        if sys.platform != "win32":
            refuse("this is not Windows")
        names = ("kernel32", "userenv", "advapi32")
        return cls(*(ctypes.WinDLL(name) for name in names), run=subprocess.call)


@dataclass(frozen=True, slots=True)
class Running:
    """A box that runs: its process and its job. All in it ends when the job's handle is closed."""

    name: str
    process: int
    job: int
    pid: int


def job_limits(outline: Outline) -> ExtendedLimits:
    """Return the limits of the whole job; no flag lets a process leave it."""
    limits = ExtendedLimits()
    limits.basic.flags = (
        JOB_TIME
        | ACTIVE_PROCESS
        | PRIORITY_CLASS
        | PROCESS_MEMORY
        | JOB_MEMORY
        | DIE_ON_UNHANDLED_EXCEPTION
        | KILL_ON_JOB_CLOSE
    )
    limits.basic.per_job_time = outline.cpu_s * HUNDRED_NS
    limits.basic.active_processes = outline.processes
    limits.basic.priority_class = IDLE_PRIORITY
    limits.process_memory = limits.job_memory = outline.memory_bytes
    return limits


def command_line(command: Sequence[str]) -> str:
    """Return the words of a command as one line that Windows programs take apart into the same words."""
    line = subprocess.list2cmdline(command)
    if not command or "\0" in line or len(line) >= LONGEST_COMMAND:
        refuse("the command is empty, too long, or has a zero in it")
    if not _plain(command[0]) or '"' in command[0]:
        refuse(f"{command[0]!r} is no plain absolute path")
    return line


def environment_block(environment: Mapping[str, str]) -> bytes:
    """Return an environment as CREATE_UNICODE_ENVIRONMENT wants it: sorted by name, zero after each and at the end."""
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name + value:
            refuse(f"{name!r} is no name of an environment variable, or its value has a zero in it")
    pairs = sorted(environment.items(), key=lambda pair: pair[0].upper())
    text = "".join(f"{name}={value}\0" for name, value in pairs) or "\0"
    return (text + "\0").encode("utf-16-le", "surrogatepass")


def grants(outline: Outline, identity: str) -> list[list[str]]:
    """Return the commands that let the box's identity (a SID as text) read and write its folders, and no other."""
    if not _SID.fullmatch(identity):
        refuse(f"{identity!r} is no identity of an AppContainer")
    for path in (*outline.read, outline.write):
        if not _plain(path):
            refuse(f"{path!r} is no plain absolute path")
    read = [["icacls.exe", path, "/grant", f"*{identity}:(OI)(CI)(RX)", "/q"] for path in outline.read]
    return [*read, ["icacls.exe", outline.write, "/grant", f"*{identity}:(OI)(CI)(M)", "/q"]]


def start(outline: Outline, command: Sequence[str], libraries: Libraries) -> Running:
    """Start a command in a box.

    Raises SandboxRefused if any step fails; then nothing of the command has run, and nothing is left of the box.
    """
    line = ctypes.create_unicode_buffer(command_line(command))
    block = ctypes.create_string_buffer(environment_block(outline.environment))
    kernel = libraries.kernel32
    with ExitStack() as undo:
        identity = _identity(outline, libraries, undo)
        job = _job(outline, kernel)
        undo.callback(kernel.CloseHandle, job)
        capabilities = Capabilities(identity, None, 0, 0)
        startup = StartupInfo(size=ctypes.sizeof(StartupInfo))
        listed = _attributes(capabilities, kernel)
        startup.attributes = ctypes.addressof(listed)
        made = ProcessInfo()
        answer = kernel.CreateProcessW(
            None, line, None, None, False, CREATION, block, outline.write, ctypes.byref(startup), ctypes.byref(made)
        )
        kernel.DeleteProcThreadAttributeList(listed)
        _demand(answer, "CreateProcessW")
        undo.callback(kernel.CloseHandle, made.thread)
        undo.callback(kernel.CloseHandle, made.process)
        undo.callback(kernel.TerminateProcess, made.process, 1)
        _demand(kernel.AssignProcessToJobObject(job, made.process), "AssignProcessToJobObject")
        inside = ctypes.c_int32()
        _demand(kernel.IsProcessInJob(made.process, job, ctypes.byref(inside)) and inside.value, "IsProcessInJob")
        _demand(kernel.ResumeThread(made.thread) == RESUMED, "ResumeThread")
        undo.pop_all()
    kernel.CloseHandle(made.thread)
    return Running(outline.name, made.process, job, made.process_id)


def end(running: Running, libraries: Libraries) -> None:
    """End all that runs in a box, and forget who it was."""
    libraries.kernel32.TerminateJobObject(running.job, 1)
    libraries.kernel32.CloseHandle(running.job)
    libraries.kernel32.CloseHandle(running.process)
    libraries.userenv.DeleteAppContainerProfile(running.name)


def _identity(outline: Outline, libraries: Libraries, undo: ExitStack) -> int | None:
    """Make the box's identity and let it read what it may; return where it lies."""
    if not _NAME.fullmatch(outline.name):
        refuse(f"{outline.name!r} is no name for a box")
    identity = ctypes.c_void_p()
    name = outline.name
    answer = libraries.userenv.CreateAppContainerProfile(name, name, name, None, 0, ctypes.byref(identity))
    _demand(answer == 0, "CreateAppContainerProfile")
    undo.callback(libraries.userenv.DeleteAppContainerProfile, name)
    text = ctypes.c_wchar_p()
    _demand(
        libraries.advapi32.ConvertSidToStringSidW(identity, ctypes.byref(text)) and text.value, "ConvertSidToStringSidW"
    )
    for grant in grants(outline, str(text.value)):
        _demand(libraries.run(grant) == 0, f"icacls for {grant[1]}")
    libraries.kernel32.LocalFree(text)
    return identity.value


def _job(outline: Outline, kernel: Any) -> int:
    job: int = kernel.CreateJobObjectW(None, None)
    _demand(job, "CreateJobObjectW")
    desktop = ctypes.c_uint32(EVERYTHING_OF_THE_DESKTOP)
    for kind, told in ((EXTENDED_LIMITS, job_limits(outline)), (UI_RESTRICTIONS, desktop)):
        if not kernel.SetInformationJobObject(job, kind, ctypes.byref(told), ctypes.sizeof(told)):
            kernel.CloseHandle(job)
            refuse("Windows refused SetInformationJobObject")
    return job


def _attributes(capabilities: Capabilities, kernel: Any) -> ctypes.Array[ctypes.c_char]:
    """Return the list of attributes that makes a process one of the AppContainer; the first call tells its size."""
    size = ctypes.c_size_t()
    kernel.InitializeProcThreadAttributeList(None, 1, 0, ctypes.byref(size))
    listed = ctypes.create_string_buffer(max(size.value, 1))
    _demand(
        kernel.InitializeProcThreadAttributeList(listed, 1, 0, ctypes.byref(size)), "InitializeProcThreadAttributeList"
    )
    told = (SECURITY_CAPABILITIES, ctypes.byref(capabilities), ctypes.sizeof(capabilities))
    _demand(kernel.UpdateProcThreadAttribute(listed, 0, *told, None, None), "UpdateProcThreadAttribute")
    return listed


def _plain(path: str) -> bool:
    """Say whether a path is absolute, on a drive, without wild cards, streams, devices or steps back."""
    drive, rest = ntpath.splitdrive(path)
    return (
        re.fullmatch(r"[A-Za-z]:", drive) is not None
        and rest.startswith("\\")
        and len(rest) > 1
        and not re.search(r'[\0-\x1f<>:"/|?*]', rest)
        and ntpath.normpath(path) == path
        and not any(part.endswith((" ", ".")) for part in rest.split("\\"))
    )


def _demand(answer: object, call: str) -> None:
    if not answer:
        refuse(f"Windows refused {call}")
