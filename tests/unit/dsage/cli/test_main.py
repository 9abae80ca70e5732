"""The `dsage` command itself: its table, its exit statuses, and what it may cost."""

from __future__ import annotations

import errno
import json
import os
import statistics
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from dsage.cli import main as command_line
from dsage.cli.main import COMMANDS, EXIT_CODES, find, main
from dsage.errors import Conflict, DSageError, UsageError, _tree

DSAGE = str(Path(sys.executable).with_name("dsage"))
ENTRIES = {entry.name: entry for entry in entry_points(group="dsage.commands")}
KINDS = list(_tree(DSageError))


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSAGE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


def raising(error: BaseException) -> click.Command:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def command(as_json: bool) -> None:
        raise error

    return command


def test_the_table_names_every_command_and_no_other() -> None:
    assert sorted(COMMANDS) == sorted(ENTRIES)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_table_says_what_the_command_says(name: str) -> None:
    command = find(name)
    assert command.get_short_help_str(limit=200) == COMMANDS[name]
    assert (command.help or "").partition("\n")[0].strip() == COMMANDS[name]


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 0
    out = capsys.readouterr().out
    for name, text in COMMANDS.items():
        assert f"  {name} " in out
        assert text in out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "dsage 0.1.0\n"


def test_the_exit_codes_are_listed_and_are_those_of_the_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "exit-codes"]) == 0
    listed = [int(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert listed == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130]
    assert {kind.exit_status for kind in _tree(DSageError)} <= EXIT_CODES.keys()


@pytest.mark.parametrize("kind", KINDS, ids=[kind.code for kind in KINDS])
def test_an_error_is_a_sentence_a_hint_and_a_status(
    kind: type[DSageError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "find", lambda name: raising(kind("it went wrong", hint="mend it")))
    assert main(["submit"]) == kind.exit_status
    assert capsys.readouterr() == ("", "dsage: it went wrong\n  mend it\n")
    assert main(["submit", "--json"]) == kind.exit_status
    out, err = capsys.readouterr()
    told = json.loads(err)
    assert out == ""
    assert (told["code"], told["detail"], told["hint"]) == (kind.code, "it went wrong", "mend it")
    assert told["status"] == kind.status


def test_what_a_missing_choice_may_be_stands_in_the_same_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("dsage: missing argument")
    assert "Choose from: " in told[0]


@pytest.mark.parametrize("args", [["nosuch"], ["submit", "--nosuch"], ["submit"], ["watch", "abc"], ["help", "nosuch"]])
def test_what_cannot_be_understood_is_status_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dsage: ")
    assert len(err.splitlines()) == 2


def test_switches_that_every_command_has(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("DSAGE_NO_INPUT", "")
    assert main(["init", "--no-color", "--list", "--no-input"]) == 0
    assert (os.environ["NO_COLOR"], os.environ["DSAGE_NO_INPUT"]) == ("1", "1")
    assert main(["init", "--", "--no-input"]) == 2
    assert "no template '--no-input'" in capsys.readouterr().err


def test_a_slip_of_the_finger_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sumbit"]) == 2
    assert "Did you mean `dsage submit`?" in capsys.readouterr().err


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "watch"]) == 0
    assert capsys.readouterr().out.startswith("Usage: dsage watch ")


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "find", lambda name: raising(KeyboardInterrupt()))
    assert main(["submit"]) == 130


@pytest.mark.parametrize("way", ["option", "variable"])
def test_debug_shows_where_an_error_came_from(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "find", lambda name: raising(Conflict("it went wrong")))
    if way == "variable":
        monkeypatch.setenv("DSAGE_DEBUG", "1")
    with pytest.raises(Conflict):
        main(["submit", "--debug"] if way == "option" else ["submit"])


def test_what_nobody_expected_is_one_line_and_status_1() -> None:
    code = (
        "import sys, click\nfrom dsage.cli import main as m\n"
        "m.find = lambda name: click.Command(name, callback=lambda: 1 // 0)\nsys.exit(m.main(sys.argv[1:]))"
    )
    told = subprocess.run([sys.executable, "-c", code, "x"], capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert told.stderr.splitlines() == [
        "dsage: something unexpected happened: ZeroDivisionError: integer division or modulo by zero",
        "  Run the command again with --debug and report what it prints.",
    ]
    told = subprocess.run([sys.executable, "-c", code, "x", "--debug"], capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "Traceback" in told.stderr


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        def load(self) -> click.Command:
            raise ModuleNotFoundError("x", name="sqlalchemy.orm")

    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [Entry()])
    with pytest.raises(UsageError, match=r"needs the module sqlalchemy\.orm") as caught:
        find("serve")
    assert "dsage[all]" in caught.value.hint


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (["status"], 6),
        (["watch", "1"], 6),
        (["submit", "nosuch"], 5),
        (["submit", "nosuch.py"], 5),
        (["submit", "factor", "-p", "n"], 2),
        (["submit", "factor", "-p", "n=abc"], 2),
        (["submit", "factor", "-p", "n=15", "-p", "x=1"], 2),
        (["login", "https://example.org"], 2),
        (["status", "--server", "nonsense"], 2),
        (["results", "1", "-o", "no/such/folder/x"], 2),
        (["results", "1", "--format", "npz", "--follow"], 2),
        (["results", "1", "--format", "files"], 2),
        (["watch", "1", "--until", "percent:101"], 2),
        (["watch", "1", "--until", "tomorrow"], 2),
        (["run", "factor", "-p", "n=15", "--units", ":"], 2),
        (["check", "nosuch.py"], 5),
        (["estimate", "nosuch.py"], 5),
        (["init", "nosuch"], 2),
        (["completion", "tcsh"], 2),
        (["logout"], 3),
        (["whoami"], 6),
        (["doctor", "--server", "nonsense"], 2),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_sent(
    args: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == status
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize(("number", "told"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.ENOENT, False)])
def test_a_disk_that_takes_nothing_is_said_by_every_command(
    number: int, told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/some/where")

    monkeypatch.setattr(command_line, "find", lambda name: SimpleNamespace(main=refuse))
    if not told:
        with pytest.raises(OSError, match="No such file"):
            main(["keys", "status"])
        return
    assert main(["keys", "status"]) == 1
    assert capsys.readouterr().err.startswith(f"dsage: /some/where cannot be written: {os.strerror(number)}\n  ")


def test_help_imports_little() -> None:
    code = (
        "import sys; from dsage.cli.main import main; main(['--help'])\n"
        "sys.exit(' '.join({'aiohttp', 'sqlalchemy', 'numpy', 'rich', 'click', 'msgspec'} & set(sys.modules)) or 0)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


def test_help_stays_under_three_times_bare_python() -> None:
    def cpu_s(*command: str) -> float:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert status == 0
        return usage.ru_utime + usage.ru_stime

    pairs = [(cpu_s(DSAGE, "--help"), cpu_s(sys.executable, "-c", "pass")) for _ in range(7)]
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert ours < 3 * bare
