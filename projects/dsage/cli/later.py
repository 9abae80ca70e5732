"""Groups of commands that are imported when they are called: their names and first sentences cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from dsage.errors import UsageError


class Later(click.Group):
    """A group that knows each command's first sentence by its name, and asks `load` for the command itself."""

    def __init__(
        self, name: str | None, *, texts: Mapping[str, str], load: Callable[[str], click.Command], **settings: Any
    ) -> None:
        super().__init__(name, _Commands(texts, load), **settings)  # type: ignore[arg-type]  # none is added
        self.texts = texts

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every command."""
        return list(self.texts)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first sentence of each command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.texts.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands, and options of the group, that begin so."""
        found = [CompletionItem(name, help=text) for name, text in self.texts.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


class _Commands(Mapping[str, click.Command]):
    """Commands by name, each imported when it is looked up."""

    def __init__(self, names: Mapping[str, str], load: Callable[[str], click.Command]) -> None:
        self._names = names
        self._load = load

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._names:
            raise KeyError(name)
        return self._load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def imported(name: str, load: Callable[[], click.Command]) -> click.Command:
    """Return a command by its loader. Raises UsageError if a package that it needs is not installed."""
    try:
        return load()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "dsage":
            raise
        raise UsageError(
            f"`dsage {name}` needs the module {error.name}, which is not installed",
            hint="Install DSage with everything: pip install 'dsage[all]'",
        ) from error
