"""How the client says what people read: in which language, and only what a catalogue can have."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from catalogues import CLIENT

from dsage_client.words import PSEUDO, SOURCE, _, n_, speak


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    speak(SOURCE)
    yield
    speak(SOURCE)


def said_in(tree: ast.AST) -> list[ast.Call]:
    """Return the calls of `_` and `n_` below a node."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("_", "n_")]


def test_what_is_said_is_written_out_where_it_is_said_and_when() -> None:
    """What is put together at run time is in no catalogue, and what is said on import is said before `speak`."""
    for path in CLIENT.code.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        functions = [
            node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        ]
        late = {call for function in functions for call in said_in(function)}
        for call in said_in(tree):
            texts = call.args[: 2 if ast.unparse(call.func) == "n_" else 1]
            where = f"{path.relative_to(CLIENT.code)}:{call.lineno}"
            assert all(isinstance(text, ast.Constant) for text in texts), f"{where}: only a text as it stands"
            assert call in late, f"{where}: say it in a function"


def test_speaking() -> None:
    assert _("Computing") == "Computing"
    speak("de")
    assert _("Computing") == "Rechnet"
    assert [n_("{n} minute", "{n} minutes", n) for n in (1, 2)] == ["{n} Minute", "{n} Minuten"]
    assert _("said nowhere") == "said nowhere"
    assert _("") == "", "not the head of the catalogue"
    speak(PSEUDO)
    assert _("Paused by you until {when}") == "⟦Páúšéđ bý ýóú úñťíļ {when}······⟧"


@pytest.mark.parametrize("language", ["tlh", "../../..", "/etc", "de\x00", " ", "x" * 100, "en"])
def test_a_language_that_nobody_speaks_is_english(language: str) -> None:
    speak("de")
    speak(language)
    assert _("Computing") == "Computing"


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"LANG": "de_DE.UTF-8"}, "Rechnet"),
        ({"LANG": "de_AT.UTF-8", "LC_ALL": "C.UTF-8"}, "Computing"),
        ({"LANGUAGE": "tlh:de:en", "LANG": "en_US.UTF-8"}, "Rechnet"),
        ({"LANGUAGE": "en_GB:de"}, "Computing"),
        ({"LANG": "C"}, "Computing"),
        ({}, "Computing"),
    ],
)
def test_the_language_of_the_session(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], word: str) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    speak()
    assert _("Computing") == word
