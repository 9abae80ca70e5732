"""The rules of the house: who imports whom, and that the documents say what the code does."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import dsage_client.settings
import dsage_server.settings
from dsage.cli.main import COMMANDS, EXIT_CODES, find
from dsage.errors import DSageError

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MAY_IMPORT = {
    "dsage": set(),
    "dsage_validator": {"dsage"},
    "dsage_server": {"dsage", "dsage_validator"},
    "dsage_client": {"dsage"},
    "dsage_projects": {"dsage"},
}
SHOWS_A_PROJECT = ROOT / "server" / "dsage_server" / "demo"
"""The demo is about one project of the gallery, and may import that too."""
FOLDERS = {
    "dsage": ROOT / "projects" / "dsage",
    "dsage_projects": ROOT / "projects" / "dsage_projects",
    "dsage_validator": ROOT / "validator" / "dsage_validator",
    "dsage_server": ROOT / "server" / "dsage_server",
    "dsage_client": ROOT / "volunteer_client" / "dsage_client",
}
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))


def imports_of(source: str) -> set[str]:
    """Return the top-level names of every import in a source, also of those inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
                found.add(str(node.args[0].value).partition(".")[0])
    return found


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, up to the next one."""
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"there is no heading {heading!r}"
    return match[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of a Markdown table without its head and without backquotes around whole cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[re.sub(r"^`([^`]*)`$", r"\1", cell.strip()) for cell in line.strip("|").split("|")] for line in lines[2:]]


def modules(package: str) -> Iterator[str]:
    """Name every module of a package that can be imported (not programs, not migrations)."""
    yield package
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not found.name.endswith("__main__") and ".migrations" not in found.name:
            yield found.name


def errors() -> dict[str, list[type[DSageError]]]:
    """Return every error class of every package by its code."""
    for package in FOLDERS:
        for name in modules(package):
            importlib.import_module(name)
    found: dict[str, list[type[DSageError]]] = {}
    waiting: list[type[DSageError]] = [DSageError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.partition(".")[0] in FOLDERS:
            found.setdefault(kind.code, []).append(kind)
    return found


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Name a command and every one below it."""
    yield name, command
    if isinstance(command, click.Group):
        for word, below in command.commands.items():
            yield from commands(below, f"{name} {word}")


# -- the layout --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", FOLDERS)
def test_imports_point_one_way(package: str) -> None:
    forbidden = set(FOLDERS) - MAY_IMPORT[package] - {package}
    files = list(FOLDERS[package].rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): bad for f in files if (bad := imports_of(f.read_text()) & forbidden)}
    assert not {file: bad for file, bad in wrong.items() if not (ROOT / file).is_relative_to(SHOWS_A_PROJECT)}
    assert all(bad == {"dsage_projects"} for bad in wrong.values())


def test_the_check_of_imports_sees_hidden_ones() -> None:
    source = "def f():\n    import dsage_server.hub\n    importlib.import_module('dsage_client.agent')\n"
    assert imports_of(source) == {"dsage_server", "dsage_client"}


def test_the_client_loads_neither_the_server_nor_sqlalchemy() -> None:
    loaded = [name for name in modules("dsage_client") if ".testing" not in name]
    assert "dsage_client.cli" in loaded
    program = f"import sys, importlib\nfor name in {loaded}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    tops = {name.partition(".")[0] for name in done.stdout.split()}
    assert "dsage_client" in tops
    assert not tops & {"dsage_server", "dsage_validator", "dsage_projects", "sqlalchemy"}


def test_packaging_is_no_package() -> None:
    assert (ROOT / "packaging" / "dev-setup").is_file()
    assert not list((ROOT / "packaging").rglob("__init__.py"))


def test_each_slow_test_has_a_target_that_runs_it() -> None:
    lines = (ROOT / "Makefile").read_text().replace("\\\n", " ").splitlines()
    places = [re.findall(r"(--ignore )?(tests/\S+)", line) for line in lines if "-m slow" in line]
    run = {
        path
        for named in places
        for ignored, place in named
        if not ignored
        for path in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("test_*.py"))
        if str(path.relative_to(ROOT)) not in {other for skipped, other in named if skipped}
    }
    slow = {
        path for path in (ROOT / "tests").rglob("test_*.py") if re.search(r"^[^\"#]*mark\.slow", path.read_text(), re.M)
    }
    assert len(slow) > 10
    assert slow <= run


# -- errors ------------------------------------------------------------------------------------------------------


def test_each_error_has_a_code_of_its_own() -> None:
    assert not {code: kinds for code, kinds in errors().items() if len(kinds) > 1}


def test_errors_md_lists_every_error_as_it_is() -> None:
    told = {row[0]: row[1:] for row in rows(section((DOCS / "errors.md").read_text(), "Codes"))}
    real = {
        code: [str(kind.status), str(kind.exit_status), (kind.__doc__ or "").splitlines()[0], kind.default_hint]
        for code, (kind, *_) in errors().items()
    }
    assert told == real


def test_errors_md_lists_every_exit_code() -> None:
    told = {int(row[0]): row[1] for row in rows(section((DOCS / "errors.md").read_text(), "Exit codes"))}
    assert told == EXIT_CODES
    used = {kind.exit_status for kinds in errors().values() for kind in kinds}
    assert used <= set(EXIT_CODES)


def test_protocol_md_names_every_call_of_the_machine_api_and_no_other() -> None:
    rooms = [FOLDERS["dsage_server"] / room for room in ("api", "blobs")]
    source = "".join(file.read_text() for room in rooms for file in sorted(room.glob("*.py")))
    routes = re.findall(r'web\.(get|post|put|delete)\("(/v1/[^"]*)"', source)
    real = {f"{verb.upper()} {path.replace('{hash}', '{sha256}').replace('{run}', '{id}')}" for verb, path in routes}
    assert real
    told = set(re.findall(r"`((?:GET|POST|PUT|DELETE) /v1/[\w/{}-]+)", (DOCS / "protocol.md").read_text()))
    assert told == real


# -- settings, commands, decisions -------------------------------------------------------------------------------


def test_every_setting_stands_in_one_table() -> None:
    text = section((DOCS / "settings.md").read_text(), "Every setting")
    told = {(row[0], row[1]): row[2] for row in rows(text)}
    real: dict[tuple[str, str], str] = {}
    for program, settings in (("server", dsage_server.settings.Settings), ("client", dsage_client.settings.Settings)):
        for key in dataclasses.fields(settings):
            default = "required" if key.default is dataclasses.MISSING else str(key.default)
            if isinstance(key.default, frozenset | tuple):
                default = ", ".join(sorted(key.default))
            if key.default_factory is not dataclasses.MISSING:
                default = "one per core"
            real[program, key.name] = default or "empty"
    assert told == real


def test_every_command_and_option_is_in_the_documents() -> None:
    text = "\n".join(path.read_text() for path in [ROOT / "README.md", *DOCS.glob("*.md")])
    missing: list[str] = []
    for word in COMMANDS:
        for name, command in commands(find(word), f"dsage {word}"):
            if not re.search(rf"`{name}\b", text) and not re.search(rf"^(\$ )?{name}\b", text, re.MULTILINE):
                missing.append(name)
            for option in command.params:
                for spelled in [*option.opts, *option.secondary_opts] if isinstance(option, click.Option) else []:
                    if not re.search(rf"(?<![\w-]){spelled}(?![\w-])", text):
                        missing.append(f"{name} {spelled}")
    assert not missing


def test_decisions_are_numbered_without_gaps() -> None:
    assert [path.name[:4] for path in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_says_context_decision_and_consequences(path: Path) -> None:
    headings = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences"]
    assert all(section(path.read_text(), heading).strip() for heading in headings)
