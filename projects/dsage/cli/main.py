"""The `dsage` command: finds the subcommand, and turns what went wrong into a sentence and an exit status.

Subcommands live in the packages that they belong to and are found through the entry-point group
`dsage.commands`; only the one that is called is imported. The overview costs no import at all, so that
`dsage --help` answers at once (a budget of three times bare Python, held by a test).
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any

    import click

    from dsage.errors import DSageError

GROUPS = {
    "To begin": {
        "demo": "Factor a number with a server and volunteers of your own, all on this computer.",
        "doctor": "Say whether everything is well here, and what to do if not.",
    },
    "Volunteers": {
        "join": "Give this computer's time to a server.",
        "status": "Say what this computer does, and why; or what a server does.",
        "pause": "Pause this computer's work, or a run.",
        "resume": "Let this computer's work, or a paused run, go on.",
        "finish": "Finish what this computer has begun, then stop computing.",
        "prefs": "Show or change when and how this computer computes.",
        "log": "Show what this computer did.",
        "manager": "Open the manager: all about this computer's work, in the browser.",
        "me": "Open your own page at a server, in the browser.",
        "tray": "Show the icon beside the clock, and give the computer back when you return.",
        "saver": "Show what this computer computes, as a screensaver or on the whole screen.",
        "autostart": "Start the client with your session, or not.",
        "link": "Let one more of your computers work for your account.",
        "privacy": "Show or change what others see of you.",
        "team": "Found, join or leave a team.",
        "leave": "Hand work back and leave: one server, or all.",
    },
    "Researchers: code": {
        "init": "Write the beginning of an application.",
        "check": "Try whether code gives the same answers everywhere.",
        "run": "Run a whole run, or some units, on this computer.",
        "estimate": "Estimate what a run would take.",
        "calibrate": "Compare a core of this computer with the reference core.",
    },
    "Researchers: runs": {
        "login": "Remember the server that you work with.",
        "whoami": "Say which server and key are used here.",
        "logout": "Forget the server that you work with.",
        "submit": "Start a run and drive it until it is done.",
        "attach": "Drive a run on from its last committed step.",
        "watch": "Look at a run while it goes on.",
        "results": "Print the answer of a run, or of its units.",
        "ls": "List runs.",
        "show": "Show all that is known of a run.",
        "logs": "Show what happened to a run, and what its units printed.",
        "open": "Open the page of a run in a browser.",
        "web": "Open the pages of your runs in a browser.",
        "retry": "Try failed units of a run again.",
        "cancel": "End a run for good, without an answer.",
        "discoveries": "List what your runs have discovered, or publish it.",
        "reopen": "Refuse accepted answers: their units are computed again.",
        "host": "Let the server drive a run.",
        "retire": "Free what an ended run keeps on the server.",
        "project": "Say what a project is for, and approve newcomers' first runs.",
        "token": "Make, list and revoke tokens for programs of yours.",
    },
    "Operators": {
        "serve": "Run a project server.",
        "invite": "Make a link that lets volunteers join.",
        "keys": "Make, certify and revoke keys.",
        "admin": "Look after a server: people, limits, news, credit, backups.",
    },
    "This command": {
        "completion": "Print what makes a shell complete commands.",
    },
}
"""Every subcommand with the first sentence of its help (compared by a test), by whom and what it is for."""

COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}

EXIT_CODES = {
    0: "done",
    1: "something unexpected",
    2: "usage: what was typed cannot be done",
    3: "not found",
    4: "not allowed, or not logged in",
    5: "the code or its specification did not pass a check",
    6: "the server could not be reached, or did not answer in time",
    7: "conflict: somebody else was first",
    8: "the run ended without a full answer",
    9: "the run was cancelled",
    10: "over quota",
    130: "interrupted",
}

INTERRUPTED = 130
USAGE = 2
COMPLETING = "_DSAGE_COMPLETE"
"""How a shell asks for completions (`dsage completion`)."""
SWITCHES = {"--debug": "DSAGE_DEBUG", "--no-input": "DSAGE_NO_INPUT", "--no-color": "NO_COLOR"}
"""Options that every command has, and the environment variables that say the same."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    args = list(sys.argv[1:] if argv is None else argv)
    own = args[: args.index("--")] if "--" in args else args
    if COMPLETING in os.environ and argv is None:
        from dsage.cli.completion import complete

        return complete(os.environ[COMPLETING])
    debug = "--debug" in own or os.environ.get("DSAGE_DEBUG") == "1"
    for switch in set(own) & SWITCHES.keys():
        args.remove(switch)
        if switch != "--debug":
            os.environ[SWITCHES[switch]] = "1"
    if not debug:
        sys.excepthook = _unexpected
    if args[:1] == ["help"]:
        args = args[1:] if args[1:] == ["exit-codes"] else [*args[1:2], "--help"]
    first = args[0] if args else "--help"
    if first in ("-h", "--help", "--version", "exit-codes"):
        sys.stdout.write(_overview() if first in ("-h", "--help") else _version_or_codes(first))
        return 0
    return _run(first, args[1:], debug=debug)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = []
    for title, group in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in group.items()), ""]
    return (
        "Usage: dsage COMMAND [OPTIONS] ...\n\n"
        "Volunteers' computers as a research instrument: `dsage demo` shows it in a minute.\n\n"
        + "\n".join(lines)
        + "\n`dsage COMMAND --help` says more; `dsage help exit-codes` lists the exit codes.\n"
        "Every command takes --no-color, --no-input (never ask: say which option answers)\n"
        "and --debug (show where an error came from); --version prints the version.\n"
    )


def _version_or_codes(word: str) -> str:
    if word == "--version":
        from dsage import __version__

        return f"dsage {__version__}\n"
    return "".join(f"{code:>4}  {meaning}\n" for code, meaning in EXIT_CODES.items())


def _run(name: str, args: list[str], *, debug: bool) -> int:
    import click

    from dsage.errors import DSageError

    as_json = "--json" in args or "--jsonl" in args
    try:
        status = find(name).main(args, prog_name=f"dsage {name}", standalone_mode=False)
    except DSageError as error:
        if debug:
            raise
        return _told(error, as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        from dsage.errors import UsageError

        told = UsageError(_sentence(error), hint=f"`dsage {name} --help` says what it takes.")
        return _told(told, as_json)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        from dsage.files import UNWRITABLE, unwritten

        if debug or error.errno not in UNWRITABLE:
            raise
        return _told(unwritten(error), as_json)
    return status if isinstance(status, int) else 0


def find(name: str) -> click.Command:
    """Import and return the subcommand. Raises UsageError if there is none, or its package is not installed."""
    from importlib.metadata import entry_points

    from dsage.cli.later import imported
    from dsage.errors import UsageError

    found = entry_points(group="dsage.commands", name=name)
    if not found:
        from difflib import get_close_matches

        near = get_close_matches(name, COMMANDS, 1)
        hint = f"Did you mean `dsage {near[0]}`?" if near else "`dsage --help` lists the commands."
        raise UsageError(f"there is no command {name!r}", hint=hint)
    return imported(name, next(iter(found)).load)


def _sentence(error: click.ClickException) -> str:
    """Return click's message the way ours begin: lower case, no full stop."""
    message = " ".join(error.format_message().split()).removesuffix(".")
    return message[:1].lower() + message[1:]


def _told(error: DSageError, as_json: bool) -> int:
    if as_json:
        import json

        text = json.dumps(problem(error), ensure_ascii=False)
    else:
        text = f"dsage: {error.message}" + (f"\n  {error.hint}" if error.hint else "")
    sys.stderr.write(text + "\n")
    return error.exit_status


def problem(error: DSageError) -> dict[str, Any]:
    """Return the error as the problem object (RFC 9457) that the API would answer with."""
    title = (type(error).__doc__ or "").strip().splitlines()[0]
    return {
        "type": f"urn:dsage:error:{error.code}",
        "title": title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "hint": error.hint,
    }


def _unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(
        f"dsage: something unexpected happened: {kind.__name__}: {error}\n"
        "  Run the command again with --debug and report what it prints.\n"
    )
