"""Asking the person at the terminal, where there is one: everywhere else the option that answers is named."""

from __future__ import annotations

import os
import sys

import click

from dsage.errors import UsageError

NO_INPUT = "DSAGE_NO_INPUT"
"""Set by `--no-input`: nobody is to be asked, also on a terminal."""


def can_ask() -> bool:
    """Say whether somebody is there who can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get(NO_INPUT)


def sure(what: str, yes: bool) -> None:
    """Return if the person wants `what` ("run 3 is cancelled for good"), by --yes or when asked.

    Raises UsageError naming --yes where nobody can be asked, and click.Abort if the answer is no.
    """
    if yes:
        return
    if not can_ask():
        raise UsageError(f"{what}, and nobody can be asked here", hint="Add --yes if that is what you want.")
    click.confirm(f"{what[:1].upper()}{what[1:]}. Go on?", abort=True, err=True)
