"""Commands of a group are imported when they are called: until then there are only names and first sentences."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from dsage.cli import main as command_line
from dsage.cli.later import Later, imported
from dsage.cli.main import main
from dsage.errors import UsageError
from dsage_server.admin import PLACES, TEXTS, admin

TERMINALS = {"PIL", "pystray", "dbus_fast", "rich"}
SERVERS = {"sqlalchemy", "alembic", "aiohttp.web", "jinja2", "babel", "numpy", "webauthn", "prometheus_client", "segno"}


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which commands were imported of the group that `dsage` has instead of any."""
    asked: list[str] = []

    def load(name: str) -> click.Command:
        asked.append(name)
        return click.Command(name, callback=lambda: 7)

    made = Later("group", texts={"second": "Say two.", "first": "Say one."}, load=load)
    monkeypatch.setattr(command_line, "find", lambda name: made)
    return asked


def test_an_overview_imports_no_command(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["group", "--help"]) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == ["Commands:", "  second  Say two.", "  first   Say one."]
    assert group == []


def test_a_command_is_imported_when_it_is_called_and_no_other(group: list[str]) -> None:
    assert main(["group", "first"]) == 7
    assert set(group) == {"first"}


def test_a_slip_of_the_finger_is_understood(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["group", "secnd"]) == 2
    assert "no such command 'secnd'. Did you mean 'second'?" in capsys.readouterr().err
    assert group == []


def test_a_missing_package_is_named() -> None:
    def load() -> click.Command:
        raise ModuleNotFoundError("x", name="sqlalchemy.orm")

    with pytest.raises(UsageError, match=r"`dsage admin quota` needs the module sqlalchemy\.orm"):
        imported("admin quota", load)


def test_a_fault_of_our_own_is_no_missing_package() -> None:
    def load() -> click.Command:
        raise ModuleNotFoundError("x", name="dsage.nowhere")

    with pytest.raises(ModuleNotFoundError):
        imported("admin quota", load)


def test_the_operators_commands_have_a_place_and_a_sentence_each() -> None:
    assert list(PLACES) == sorted(PLACES) == list(TEXTS)


@pytest.mark.parametrize("name", sorted(PLACES))
def test_the_overview_says_what_the_command_says(name: str) -> None:
    command = admin.commands[name]
    assert (command.help or "").partition("\n")[0].strip() == TEXTS[name]


@pytest.mark.parametrize(
    ("words", "without"),
    [
        ("status", SERVERS | TERMINALS),
        ("pause --help", SERVERS | TERMINALS | {"aiohttp", "psutil", "cryptography"}),
        ("join --help", SERVERS | TERMINALS | {"aiohttp", "psutil", "cryptography"}),
        ("submit --help", SERVERS | TERMINALS - {"rich"}),
        ("admin", SERVERS | TERMINALS | {"aiohttp", "cryptography"}),
        ("admin quota --help", SERVERS - {"sqlalchemy"}),
        ("admin hosts --help", SERVERS - {"sqlalchemy"}),
        ("serve --help", SERVERS - {"sqlalchemy"} | {"aiohttp"}),
        ("invite --help", SERVERS - {"sqlalchemy"} | {"aiohttp"}),
    ],
)
def test_a_command_imports_little_of_what_others_need(words: str, without: set[str], tmp_path: Path) -> None:
    code = (
        "import sys; from dsage.cli.main import main; main(sys.argv[1:])\nsys.exit(' '.join(sorted(set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()],
        env=os.environ | {"DSAGE_HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    modules = set(done.stderr.splitlines()[-1].split())
    assert "click" in modules
    assert sorted(modules & without) == []
