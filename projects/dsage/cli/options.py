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


def server_option(command: F) -> F:
    """Add --server."""
    text = "Speak to this server instead of the one that `dsage login` remembers."
    return click.option("--server", type=Link.parse, metavar="LINK", help=text)(command)


def key_option(command: F) -> F:
    """Add --key."""
    text = "The code key to sign with, by its name (default: the one that `dsage login` chose)."
    return click.option("--key", metavar="NAME", help=text)(command)
