"""The profile for macOS, and the steps to it. This proves what is built, not what it holds: it never ran there."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsage.errors import SandboxRefused
from dsage.sandbox import seatbelt
from dsage.sandbox.outline import Outline

GOLDEN = Path(__file__).parent / "golden" / "seatbelt.sb"
OUTLINE = Outline(
    name="dsage.box.1",
    read=("/opt/python", '/Users/ann "the" b\\c/app'),
    write="/private/var/dsage/slot-1",
    memory_bytes=1 << 30,
    file_bytes=1 << 26,
    processes=64,
    cpu_s=3600,
    environment={"HOME": "/private/var/dsage/slot-1"},
)
COMMAND = ["/opt/python/bin/python3", "-c", "pass"]


class Recorder:
    """Writes down what is called, and fails at one step if asked to."""

    def __init__(self, failing=None, error=None):
        self.calls = []
        self.failing, self.error = failing, error

    def __getattr__(self, name):
        def called(*args):
            self.calls.append((name, *args))
            if len(self.calls) - 1 == self.failing:
                raise self.error

        return called


def words(text):
    """Take a profile apart: brackets, strings (unescaped) and atoms; fail on anything else."""
    found = re.findall(r'\s+|[()]|"(?:[^"\\]|\\.)*"|[a-z0-9*-]+', text)
    assert "".join(found) == text
    return [re.sub(r"\\(.)", r"\1", word) if word[0] == '"' else word for word in found if word.strip()]


def test_the_profile_is_the_one_that_was_looked_at():
    assert seatbelt.profile(OUTLINE) == GOLDEN.read_text()


def test_everything_is_denied_first_and_the_network_last():
    rules = seatbelt.profile(OUTLINE).splitlines()
    assert rules[:2] == ["(version 1)", "(deny default)"]
    assert rules[-3:] == ["(deny network*)", "(deny mach-lookup)", "(deny file-write-setugid)"]


def test_only_the_slot_and_devices_can_be_written():
    found = re.findall(r"\(allow [^\n]*file-write[^\n]*\n((?:    [^\n]*\n?)+)", seatbelt.profile(OUTLINE))
    assert len(found) == 2
    assert words("(" + found[0]) == ["(", "(", "subpath", '"/private/var/dsage/slot-1"', ")", ")"]
    assert {word for word in words("(" + found[1]) if word[0] == '"'} == {f'"{path}"' for path in seatbelt.DEVICES}


@given(st.text(min_size=1))
def test_a_hostile_path_stays_one_word_or_is_refused(text):
    path = "/" + text
    try:
        profile = seatbelt.profile(replace(OUTLINE, write=path))
    except SandboxRefused:
        return
    plain = words(seatbelt.profile(replace(OUTLINE, write="/x")))
    hostile = words(profile)
    assert f'"{path}"' in hostile
    parents = len([part for part in path.split("/")[1:-1] if part])
    assert len([word for word in hostile if word == "("]) - len([word for word in plain if word == "("]) <= parents
    assert [word for word in hostile if word in ("allow", "deny")] == [
        word for word in plain if word in ("allow", "deny")
    ]


@pytest.mark.parametrize(
    "path",
    ["", "/", "relative", "//x", "/a/../b", "/a/./b", "/a/", "/a\nb", "/a\0b", "/a\udcffb", "/a\u202eb", "/a\tb"],
)
def test_a_path_that_cannot_be_said_for_certain_is_refused(path):
    with pytest.raises(SandboxRefused, match="could not be made"):
        seatbelt.quoted(path)


@pytest.mark.parametrize("command", [[], ["python3"], ["/bin/sh", "a\0b"]])
def test_a_command_without_a_place_is_refused(command):
    with pytest.raises(SandboxRefused, match="command"):
        seatbelt.arguments(OUTLINE, command)


def test_the_limits_come_before_the_program():
    posix = Recorder()
    with pytest.raises(SandboxRefused, match="did not start"):
        seatbelt.become(OUTLINE, COMMAND, posix)
    assert posix.calls == [
        ("setsid",),
        ("setrlimit", "CORE", 0),
        ("setrlimit", "CPU", 3600),
        ("setrlimit", "FSIZE", 1 << 26),
        ("setrlimit", "AS", 1 << 30),
        ("setrlimit", "NPROC", 64),
        ("nice", 19),
        ("execve", seatbelt.PROGRAM, [seatbelt.PROGRAM, "-p", GOLDEN.read_text(), *COMMAND], OUTLINE.environment),
    ]


@pytest.mark.parametrize("step", range(8))
@pytest.mark.parametrize("error", [PermissionError(1, "not permitted"), ValueError("too high"), AttributeError("none")])
def test_no_step_may_fail(step, error):
    posix = Recorder(step, error)
    with pytest.raises(SandboxRefused, match="macOS said"):
        seatbelt.become(OUTLINE, COMMAND, posix)
    assert len(posix.calls) == step + 1
    assert all(call[0] != "execve" for call in posix.calls[:step])


def test_a_hostile_path_stops_all_before_the_first_step():
    posix = Recorder()
    with pytest.raises(SandboxRefused):
        seatbelt.become(replace(OUTLINE, read=("/a\n(allow default)",)), COMMAND, posix)
    assert posix.calls == []
