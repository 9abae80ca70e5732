"""`dsage completion`: let the shell complete commands and options, without importing what is not completed."""

from __future__ import annotations

import os
import sys
from typing import Final

import click
from click.shell_completion import get_completion_class

from dsage.cli.later import Later
from dsage.cli.main import COMMANDS, COMPLETING, find
from dsage.cli.options import json_option
from dsage.cli.output import emit, say
from dsage.errors import DSageError, UsageError

SCHEMA: Final = "dsage.completion/1"
SHELLS: Final = ("bash", "zsh", "fish")
PLACES: Final = {
    "bash": '`eval "$(dsage completion bash)"` in ~/.bashrc',
    "zsh": '`eval "$(dsage completion zsh)"` in ~/.zshrc, after compinit',
    "fish": "`dsage completion fish > ~/.config/fish/completions/dsage.fish`",
}


class Everything(Later):
    """All commands as one group."""

    def __init__(self, name: str) -> None:
        super().__init__(name, texts=COMMANDS, load=find)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none, or its package is not installed."""
        try:
            return super().get_command(ctx, cmd_name)
        except DSageError:
            return None


@click.command(short_help="Print what makes a shell complete commands.")
@click.argument("shell", required=False, type=click.Choice(SHELLS), metavar="[bash|zsh|fish]")
@json_option
def completion(shell: str | None, as_json: bool) -> None:
    """Print what makes a shell complete commands.

    Without a name it is for the shell that SHELL names. Put `eval "$(dsage completion bash)"` into ~/.bashrc.
    """
    chosen = shell or os.path.basename(os.environ.get("SHELL", ""))
    kind = get_completion_class(chosen) if chosen in SHELLS else None
    if kind is None:
        raise UsageError(f"{chosen or 'this'} is not a shell that can be told", hint=f"Name one: {', '.join(SHELLS)}.")
    text = kind(Everything("dsage"), {}, "dsage", COMPLETING).source()
    emit(SCHEMA, {"shell": chosen, "source": text}, as_json, text)
    if sys.stdout.isatty():
        say(f"to keep it, put {PLACES[chosen]}")


def complete(instruction: str) -> int:
    """Answer the shell's question, which it asks through the environment; return the exit status."""
    from click.shell_completion import shell_complete

    return shell_complete(Everything("dsage"), {}, "dsage", COMPLETING, instruction)
