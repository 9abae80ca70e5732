"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dsage.trust.invite import Link

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")(command)


def jsonl_option(command: F) -> F:
    """Add --jsonl."""
    return click.option("--jsonl", "as_lines", is_flag=True, help="Print one JSON object a line as they come.")(command)


def server_option(command: F) -> F:
    """Add --server."""
    text = "Speak to this server instead of the one that `dsage login` remembers."
    return click.option("--server", type=Link.parse, metavar="LINK", help=text)(command)


def key_option(command: F) -> F:
    """Add --key."""
    text = "The code key to sign with, by its name (default: the one that `dsage login` chose)."
    return click.option("--key", metavar="NAME", help=text)(command)


def yes_option(command: F) -> F:
    """Add --yes."""
    return click.option("--yes", is_flag=True, help="Do not ask whether to go on.")(command)


def run_argument(command: F) -> F:
    """Add the run's number."""
    return click.argument("run", type=int, metavar="ID")(command)


def target_argument(command: F) -> F:
    """Add what is to be run: TARGET, and its parameters."""
    params = click.option(
        "-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; may be repeated."
    )
    return click.argument("target")(params(command))
