"""`dsage init`: write the beginning of an application, which runs as it is."""

from __future__ import annotations

import ast
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from dsage.cli.options import json_option
from dsage.cli.output import emit, say, table
from dsage.errors import Conflict, UsageError
from dsage.files import write_whole

SCHEMA: Final = "dsage.init/1"
TEMPLATES: Final = ("map", "function", "tree", "files", "montecarlo")
"""The files of the folder `templates`, from the simplest on."""


@click.command(short_help="Write the beginning of an application.")
@click.argument("template", required=False)
@click.argument("folder", required=False, metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path))
@click.option("--list", "listed", is_flag=True, help="Say which templates there are.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@json_option
def init(template: str | None, folder: Path | None, listed: bool, force: bool, as_json: bool) -> None:
    """Write the beginning of an application.

    A TEMPLATE becomes the file DIR/TEMPLATE.py (DIR is this folder by default): a class of a few lines that runs as
    it is, to be changed into your own. Without TEMPLATE, or with --list, says which there are.
    """
    if listed or template is None:
        told = {name: title(name) for name in TEMPLATES}
        emit(SCHEMA, {"templates": told}, as_json, table(["template", "what it is"], [[*row] for row in told.items()]))
        say("next: `dsage init map` writes map.py here")
        return
    if template not in TEMPLATES:
        raise UsageError(f"there is no template {template!r}", hint=f"There are: {', '.join(TEMPLATES)}.")
    path = (folder or Path()) / f"{template}.py"
    if path.exists() and not force:
        raise Conflict(f"{path} is there already", hint="Add --force to write over it, or name another folder.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, source(template).encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    emit(SCHEMA, {"template": template, "file": str(path)}, as_json, str(path))
    say(f"next: `dsage run {path}` runs it here; `dsage check {path}` tries whether answers are the same everywhere;")
    say(f"`dsage submit {path}` runs it on volunteers' computers")


def source(template: str) -> str:
    """Return the text of a template."""
    return files("dsage.cli").joinpath("templates", f"{template}.py").read_text()


def title(template: str) -> str:
    """Return what a template says of itself, in one sentence."""
    told = ast.get_docstring(ast.parse(source(template))) or ""
    return told.partition("\n")[0]
