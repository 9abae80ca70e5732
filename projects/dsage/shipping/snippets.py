"""A text run as it is: its value is that of its last expression, or of DSAGE_RESULT if it sets that."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dsage.bundle import Bundle
from dsage.function import DistributedFunction
from dsage.shipping import imports
from dsage.shipping.packing import base_line, packed
from dsage.shipping.refusals import ShipError

NAME: Final = "<eval>"
RESULT: Final = "DSAGE_RESULT"
TITLE_CHARACTERS: Final = 40

ENTRY: Final = '''"""A text, run with variables {{"vars": {{name: value}}}}. Its last expression is the answer."""

{base}
from dsage_runner import run

TEXT = {text!r}


class Evaluation({base_name}):
    title = {title!r}
    needs = {needs!r}

    @staticmethod
    def compute(args):
        return run(TEXT, {name!r}, args["vars"], {sage!r})
'''


def ship_source(
    text: str,
    *,
    names: Sequence[str] = (),
    sage: bool = False,
    files: Mapping[str, bytes] | None = None,
    base: type[DistributedFunction] = DistributedFunction,
) -> Bundle:
    """Return an app whose `compute({"vars": {...}})` runs `text` and gives its value.

    `names` are the variables that will be passed; `files` are modules that the text imports, by relative path. With
    `sage` the text is Sage's language, and runs where Sage is. Raises ShipError for a text that is not Python.
    """
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ShipError(f"{name!r} cannot be the name of a variable", hint="Use letters, digits and _.")
    return _shipped(text, NAME, files or {}, _needs(text, sage), sage, base)


def ship_file(path: Path, *, sage: bool = False, base: type[DistributedFunction] = DistributedFunction) -> Bundle:
    """Return the same for the text of a file; modules beside it that it imports come along. Raises ShipError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ShipError(f"{path} cannot be read: {error}", hint="Give the path of a Python file.") from None
    if sage:
        return _shipped(text, path.name, {}, _needs(text, sage), sage, base)
    _checked(text, path.name)
    files, needs = imports.of_source(text, path.resolve().parent)
    return _shipped(text, path.name, files, needs, sage, base)


def _shipped(
    text: str,
    name: str,
    files: Mapping[str, bytes],
    needs: tuple[str, ...],
    sage: bool,
    base: type[DistributedFunction],
) -> Bundle:
    line, base_name = base_line(base)
    title = " ".join(text.split())[:TITLE_CHARACTERS]
    entry = ENTRY.format(base=line, base_name=base_name, text=text, name=name, title=title, needs=needs, sage=sage)
    runner = Path(__file__).with_name("runner.py").read_bytes()
    return packed({**files, "dsage_runner.py": runner}, entry, "Evaluation", what="the text")


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
