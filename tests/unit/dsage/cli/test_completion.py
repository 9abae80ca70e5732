"""Completion asks for little: names cost no import, and each shell is told in its own language."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsage.cli.main import COMPLETING, main

DSAGE = str(Path(sys.executable).with_name("dsage"))


def completed(*words: str) -> list[str]:
    environment = os.environ | {
        COMPLETING: "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run([DSAGE], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("dsage", "re"), ["resume", "results", "retry", "reopen", "retire"]),
        (("dsage", "results", "--fo"), ["--format", "--follow"]),
        (("dsage", "results", "--format", "p"), ["parquet"]),
        (("dsage", "keys", "rev"), ["revoke"]),
        (("dsage", "nosuch", "--x"), []),
    ],
)
def test_words_are_completed(words: tuple[str, ...], found: list[str]) -> None:
    assert completed(*words) == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert COMPLETING in capsys.readouterr().out


def test_the_shell_that_is_used_is_known(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert main(["completion"]) == 0
    assert capsys.readouterr().out.startswith("#compdef dsage")
