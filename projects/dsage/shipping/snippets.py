"""A text run as it is: its value is that of its last expression, or of DSAGE_RESULT if it sets that."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dsage.bundle import Bundle
from dsage.shipping import imports
from dsage.shipping.packing import packed
from dsage.shipping.refusals import ShipError

NAME: Final = "<eval>"
TITLE_CHARACTERS: Final = 40

ENTRY: Final = '''"""Runs of a text: each with variables as its named arguments; its last expression is the answer."""

from dsage.calls import Calls, each
from dsage_runner import run

TEXT = {text!r}


def evaluate(**variables):
    return run(TEXT, {name!r}, variables, {sage!r})


class Shipped(Calls):
    title = {title!r}
    needs = {needs!r}

    @staticmethod
    def compute(calls):
        return each(evaluate, calls)
'''


def ship_source(
    text: str, *, names: Sequence[str] = (), sage: bool = False, files: Mapping[str, bytes] | None = None
) -> Bundle:
    """Return an app whose calls run `text`: [[], {variable: value}] gives the value of the text.

    That is the value of its last expression, or of DSAGE_RESULT if it sets that. `names` are the variables that will
    be passed; `files` are modules that the text imports, by relative path. With `sage` the text is Sage's language,
    and runs where Sage is. Raises ShipError for a text that is not Python.
    """
    for name in names:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            raise ShipError(f"{name!r} cannot be the name of a variable", hint="Use letters, digits and _.")
    own = {name.partition("/")[0].removesuffix(".py") for name in files or {}}
    needs = tuple(name for name in _needs(text, sage) if name not in own)
    return _shipped(text, NAME, files or {}, needs, sage)


def ship_file(path: Path, *, sage: bool = False) -> Bundle:
    """Return the same for the text of a file; modules beside it that it imports come along. Raises ShipError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ShipError(f"{path} cannot be read: {error}", hint="Give the path of a Python file.") from None
    if sage:
        return _shipped(text, path.name, {}, _needs(text, sage), sage)
    _checked(text, path.name)
    files, needs = imports.of_source(text, path.resolve().parent)
    return _shipped(text, path.name, files, needs, sage)


def _shipped(text: str, name: str, files: Mapping[str, bytes], needs: tuple[str, ...], sage: bool) -> Bundle:
    title = " ".join(text.split())[:TITLE_CHARACTERS]
    entry = ENTRY.format(text=text, name=name, title=title, needs=needs, sage=sage)
    runner = Path(__file__).with_name("runner.py").read_bytes()
    return packed({**files, "dsage_runner.py": runner}, entry, "Shipped", what="the text")


def _needs(text: str, sage: bool) -> tuple[str, ...]:
    if sage:
        return ("sage",)
    _checked(text, NAME)
    return imports.of_source(text)[1]


def _checked(text: str, name: str) -> None:
    try:
        ast.parse(text, name)
    except SyntaxError as error:
        line = (error.text or "").rstrip("\n")
        caret = " " * max((error.offset or 1) - 1, 0) + "^"
        raise ShipError(
            f"{error.msg} ({name}, line {error.lineno})\n    {line}\n    {caret}", hint="Mend the line shown."
        ) from None
    except ValueError as error:
        raise ShipError(f"this is not Python source: {error}") from None
