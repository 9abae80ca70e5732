"""Nobody is asked where nobody can answer: the option that answers is named."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from dsage.cli import asking
from dsage.cli.main import main
from dsage.cli.safe import read_passphrase
from dsage.errors import UsageError


def test_without_a_terminal_the_option_is_named() -> None:
    with pytest.raises(UsageError, match="run 3 ends, and nobody can be asked here") as caught:
        asking.sure("run 3 ends", yes=False)
    assert "--yes" in caught.value.hint
    asking.sure("run 3 ends", yes=True)


def test_on_a_terminal_the_person_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def confirm(text: str, *, abort: bool, err: bool) -> None:
        asked.append(text)
        raise click.Abort

    monkeypatch.setattr(asking, "can_ask", lambda: True)
    monkeypatch.setattr(click, "confirm", confirm)
    with pytest.raises(click.Abort):
        asking.sure("run 3 ends", yes=False)
    assert asked == ["Run 3 ends. Go on?"]


@pytest.mark.parametrize(("no_input", "asks"), [("", True), ("1", False)])
def test_a_terminal_with_nobody_at_it(no_input: str, asks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(asking.NO_INPUT, no_input)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert asking.can_ask() is asks


def test_prompts_of_older_commands_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DSAGE_HOME", str(tmp_path))
    monkeypatch.setenv(asking.NO_INPUT, "1")
    with pytest.raises(UsageError) as caught:
        read_passphrase(None, new=False)
    assert "--passphrase-file" in caught.value.hint
    assert main(["keys", "replace-root"]) == 2
    assert "--yes" in capsys.readouterr().err
