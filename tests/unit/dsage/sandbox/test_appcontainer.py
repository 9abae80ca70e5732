"""The box for Windows as calls and structures. This proves what is built, not what it holds: it never ran there."""

import ctypes
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage.errors import SandboxRefused
from dsage.sandbox import appcontainer
from dsage.sandbox.appcontainer import Libraries
from dsage.sandbox.outline import Outline

GOLDEN = Path(__file__).parent / "golden" / "appcontainer.json"
SID = "S-1-15-2-1-2-3-4-5-6-7"
OUTLINE = Outline(
    name="dsage.box.1",
    read=("C:\\Program Files\\DSage\\python", "C:\\Users\\ann & co\\app"),
    write="C:\\Users\\ann & co\\slot-1",
    memory_bytes=1 << 30,
    file_bytes=1 << 26,
    processes=64,
    cpu_s=3600,
    environment={"Path": "C:\\Windows\\System32", "HOME": "C:\\Users\\ann & co\\slot-1", "lang": "é"},
)
COMMAND = ["C:\\Program Files\\DSage\\python\\python.exe", "-c", 'print("a b")', "ends in \\", ""]
IN_ORDER = [
    "CreateAppContainerProfile",
    "ConvertSidToStringSidW",
    "run",
    "run",
    "run",
    "LocalFree",
    "CreateJobObjectW",
    "SetInformationJobObject",
    "SetInformationJobObject",
    "InitializeProcThreadAttributeList",
    "InitializeProcThreadAttributeList",
    "UpdateProcThreadAttribute",
    "CreateProcessW",
    "DeleteProcThreadAttributeList",
    "AssignProcessToJobObject",
    "IsProcessInJob",
    "ResumeThread",
    "CloseHandle",
]


class Windows:
    """Plays Windows's libraries: writes down the calls and answers as they would, but for one that fails."""

    def __init__(self, failing=None, answer=0):
        self.calls = []
        self.failing, self.answer = failing, answer

    def __getattr__(self, name):
        def called(*args):
            self.calls.append((name, args))
            given = getattr(type(self), f"_{name}", lambda *_: 1)(self, *args)
            return self.answer if len(self.calls) - 1 == self.failing else given

        return called

    def _CreateAppContainerProfile(self, *args):
        args[-1]._obj.value = 0x5000
        return 0

    def _ConvertSidToStringSidW(self, identity, text):
        text._obj.value = SID
        return 1

    def _CreateJobObjectW(self, *_):
        return 0x70

    def _InitializeProcThreadAttributeList(self, listed, count, flags, size):
        size._obj.value = 48
        return int(listed is not None)

    def _CreateProcessW(self, *args):
        made = args[-1]._obj
        made.process, made.thread, made.process_id = 0x80, 0x90, 4242
        return 1

    def _IsProcessInJob(self, process, job, inside):
        inside._obj.value = 1
        return 1

    def _run(self, *_):
        return 0

    @property
    def names(self):
        return [name for name, _ in self.calls]

    def libraries(self):
        return Libraries(self, self, self, self.run)


def written(outline=OUTLINE):
    return {
        "command line": appcontainer.command_line(COMMAND),
        "environment": appcontainer.environment_block(outline.environment).decode("utf-16-le"),
        "grants": appcontainer.grants(outline, SID),
        "job": bytes(appcontainer.job_limits(outline)).hex(),
        "creation": hex(appcontainer.CREATION),
    }


def test_what_is_built_is_what_was_looked_at():
    assert written() == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize(
    ("structure", "size"),
    [
        (appcontainer.BasicLimits, 64),
        (appcontainer.ExtendedLimits, 144),
        (appcontainer.Capabilities, 24),
        (appcontainer.StartupInfo, 112),
        (appcontainer.ProcessInfo, 24),
    ],
)
def test_structures_have_their_size_on_64_bits(structure, size):
    assert ctypes.sizeof(ctypes.c_void_p) != 8 or ctypes.sizeof(structure) == size


def test_no_flag_lets_a_process_leave_its_job():
    breakaway, silent_breakaway = 0x800, 0x1000
    flags = appcontainer.job_limits(OUTLINE).basic.flags
    assert not flags & (breakaway | silent_breakaway)
    assert flags & appcontainer.KILL_ON_JOB_CLOSE
    create_suspended, create_breakaway = 0x4, 0x01000000
    assert appcontainer.CREATION & create_suspended
    assert not appcontainer.CREATION & create_breakaway


def taken_apart(line):
    """Split a command line as Microsoft's C runtime does (their "Parsing C command-line arguments")."""
    words, word, quoted, begun, at = [], "", False, False, 0
    while at < len(line):
        if line[at] == "\\":
            end = at
            while end < len(line) and line[end] == "\\":
                end += 1
            count, at = end - at, end
            if at < len(line) and line[at] == '"':
                word += "\\" * (count // 2)
                if count % 2:
                    word, at = word + '"', at + 1
            else:
                word += "\\" * count
            begun = True
        elif line[at] == '"':
            quoted, begun, at = not quoted, True, at + 1
        elif line[at] in " \t" and not quoted:
            if begun:
                words.append(word)
            word, begun, at = "", False, at + 1
        else:
            word, begun, at = word + line[at], True, at + 1
    return [*words, word] if begun else words


@given(st.lists(st.text(st.characters(blacklist_characters="\0", max_codepoint=0xFFFF), max_size=20), max_size=8))
def test_hostile_words_arrive_as_they_were(words):
    line = appcontainer.command_line([COMMAND[0], *words])
    assert taken_apart(line) == [COMMAND[0], *words]


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=6))
def test_a_hostile_environment_stays_as_many_variables_or_is_refused(environment):
    try:
        block = appcontainer.environment_block(environment).decode("utf-16-le", "surrogatepass")
    except SandboxRefused:
        return
    pairs = block[: -1 if environment else -2].split("\0")
    assert block.endswith("\0\0")
    assert dict(pair.split("=", 1) for pair in pairs if pair) == environment


@given(st.text(max_size=30))
def test_a_hostile_folder_is_granted_by_its_own_name_or_refused(text):
    path = "C:\\" + text
    try:
        made = appcontainer.grants(replace(OUTLINE, write=path), SID)
    except SandboxRefused:
        return
    assert made[-1] == ["icacls.exe", path, "/grant", f"*{SID}:(OI)(CI)(M)", "/q"]
    assert ".." not in text.split("\\")
    assert not set(text) & set('*?"<>|:/\0')


@pytest.mark.parametrize(
    "path",
    [
        "", "C:", "C:\\", "relative", "\\\\server\\share\\x", "\\\\?\\C:\\x", "C:x", "C:\\a\\..\\b", "C:\\a:stream",
        "C:\\a*", "C:\\a/b", "/T", "C:\\a ", "C:\\a.\\b", "C:\\a\nb",
    ],
)  # fmt: skip
def test_a_folder_that_windows_may_read_otherwise_is_refused(path):
    with pytest.raises(SandboxRefused, match="no plain absolute path"):
        appcontainer.grants(replace(OUTLINE, write=path), SID)


@pytest.mark.parametrize("sid", ["", "S-1-1-0", "S-1-15-2-1:(F)", "S-1-15-3-1", "*"])
def test_nobody_else_is_granted_anything(sid):
    with pytest.raises(SandboxRefused, match="no identity"):
        appcontainer.grants(OUTLINE, sid)


@pytest.mark.parametrize("command", [[], ["python.exe"], [COMMAND[0], "a\0b"], [COMMAND[0], "x" * 40_000]])
def test_a_command_that_cannot_be_said_is_refused(command):
    with pytest.raises(SandboxRefused):
        appcontainer.command_line(command)


def test_suspended_then_in_the_job_then_resumed():
    windows = Windows()
    running = appcontainer.start(OUTLINE, COMMAND, windows.libraries())
    assert windows.names == IN_ORDER
    assert (running.process, running.job, running.pid) == (0x80, 0x70, 4242)
    calls = dict(windows.calls)
    assert calls["CreateProcessW"][4] is False, "no handle is inherited"
    assert calls["CreateProcessW"][5] == appcontainer.CREATION
    assert calls["AssignProcessToJobObject"] == (0x70, 0x80)
    assert calls["ResumeThread"] == (0x90,)
    attribute, told = calls["UpdateProcThreadAttribute"][2:4]
    assert attribute == appcontainer.SECURITY_CAPABILITIES
    assert (told._obj.identity, told._obj.capabilities, told._obj.count) == (0x5000, None, 0)
    kinds = [(args[1], args[2]._obj) for name, args in windows.calls if name == "SetInformationJobObject"]
    assert kinds[0][0] == appcontainer.EXTENDED_LIMITS
    assert bytes(kinds[0][1]) == bytes(appcontainer.job_limits(OUTLINE))
    assert (kinds[1][0], kinds[1][1].value) == (appcontainer.UI_RESTRICTIONS, 0xFF)


MAY_FAIL = [i for i, name in enumerate(IN_ORDER) if name not in ("LocalFree", "DeleteProcThreadAttributeList")][:-1]
MAY_FAIL.remove(IN_ORDER.index("InitializeProcThreadAttributeList"))  # the first asks for a size, by failing


@pytest.mark.parametrize("step", MAY_FAIL)
def test_whatever_fails_the_work_is_refused_and_nothing_is_left(step):
    failure = {"CreateAppContainerProfile": -1, "run": 5, "ResumeThread": 0xFFFFFFFF}.get(IN_ORDER[step], 0)
    windows = Windows(step, failure)
    with pytest.raises(SandboxRefused, match="could not be made"):
        appcontainer.start(OUTLINE, COMMAND, windows.libraries())
    done, undone = windows.names[: step + 1], windows.calls[step + 1 :]
    assert done == IN_ORDER[: step + 1]
    if step < IN_ORDER.index("ResumeThread"):
        assert "ResumeThread" not in windows.names
    closed = [args[0] for name, args in undone if name == "CloseHandle"]
    if step > IN_ORDER.index("CreateProcessW"):
        assert ("TerminateProcess", (0x80, 1)) in undone
        assert undone.index(("TerminateProcess", (0x80, 1))) < undone.index(("CloseHandle", (0x80,)))
        assert {0x80, 0x90} <= set(closed)
    if step > IN_ORDER.index("CreateJobObjectW"):
        assert closed.count(0x70) == 1
    if step > 0:
        assert undone[-1] == ("DeleteAppContainerProfile", ("dsage.box.1",))


def test_a_process_that_is_not_in_the_job_is_not_let_go(monkeypatch):
    monkeypatch.setattr(Windows, "_IsProcessInJob", lambda self, process, job, inside: 1)
    windows = Windows()
    with pytest.raises(SandboxRefused, match="IsProcessInJob"):
        appcontainer.start(OUTLINE, COMMAND, windows.libraries())
    assert "ResumeThread" not in windows.names


def test_the_end_of_a_box_is_the_end_of_its_job():
    windows = Windows()
    running = appcontainer.start(OUTLINE, COMMAND, windows.libraries())
    windows.calls.clear()
    appcontainer.end(running, windows.libraries())
    assert windows.names == ["TerminateJobObject", "CloseHandle", "CloseHandle", "DeleteAppContainerProfile"]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 65, "é"])
def test_a_name_that_is_none_is_refused(name):
    windows = Windows()
    with pytest.raises(SandboxRefused, match="no name for a box"):
        appcontainer.start(replace(OUTLINE, name=name), COMMAND, windows.libraries())
    assert windows.calls == []
