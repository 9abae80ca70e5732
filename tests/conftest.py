"""When the whole suite runs, every test that docs/parity.md names must have run: else the run fails."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import aiohttp.web_app
import hypothesis
import pytest

pytest_plugins = ["pytester"]

PARITY: Final = Path(__file__).parent.parent / "docs" / "parity.md"
PROOF: Final = re.compile(r"`(tests/[\w/]+\.py::\w+)`")
OUTCOMES: Final = pytest.StashKey[dict[str, set[str]]]()
TRIM: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)


def unproved(named: Iterable[str], outcomes: dict[str, set[str]], *, skips_allowed: bool) -> list[str]:
    """Return which of the named tests did not run to a good end; what is `slow` runs with `--parity`."""
    enough = {"passed", "slow", "skipped"} if skips_allowed else {"passed", "slow"}
    return [name for name in named if not outcomes.get(name, set()) & enough]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parity", action="store_true", help="run what docs/parity.md names, slow or not, and no more")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTCOMES] = {}
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell begins what runs in its background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of programs are started: each would compile anew
    sys.dont_write_bytecode = False
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES"):  # what programs say is compared: a test asks for a language
        os.environ.pop(name, None)
    os.environ["LANG"] = "C.UTF-8"
    hypothesis.settings.register_profile("suite", deadline=None)  # how long an example takes is the computer's affair
    hypothesis.settings.load_profile("suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.parity:
        named = set(PROOF.findall(PARITY.read_text()))
        others = [item for item in items if _named(item.nodeid) not in named]
        items[:] = [item for item in items if _named(item.nodeid) in named]
        config.hook.pytest_deselected(items=others)
        return
    for item in items:
        if item.get_closest_marker("slow"):
            _note(config, item.nodeid, "slow")


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Note how a test ended: a good call, or a skip in any phase."""
    if call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception):
        _note(item.config, item.nodeid, "skipped")
    elif call.when == "call" and call.excinfo is None:
        _note(item.config, item.nodeid, "passed")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let the collector look no more at what was imported: that stays to the end, and is most of all there is."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Let go of the servers of the test: aiohttp keeps a thousand handlers, each with its server and store.

    After the last test of a file the system gets back what is free; the C library would keep it.
    """
    aiohttp.web_app._cached_build_middleware.cache_clear()
    if TRIM is not None and (nextitem is None or nextitem.path != item.path):
        TRIM(0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist has noted, in the process that reports."""
    for name, outcomes in getattr(node, "workeroutput", {}).get("outcomes", {}).items():
        node.config.stash[OUTCOMES].setdefault(name, set()).update(outcomes)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of the whole suite in which a proof was missing."""
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["outcomes"] = {name: sorted(found) for name, found in config.stash[OUTCOMES].items()}
        return
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    if not whole or config.option.collectonly or session.exitstatus != pytest.ExitCode.OK:
        return
    named = PROOF.findall(PARITY.read_text())
    missing = unproved(named, config.stash[OUTCOMES], skips_allowed=not os.environ.get("CI"))
    if missing:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = config.pluginmanager.getplugin("terminalreporter")
        reporter.write_line(f"docs/parity.md names tests that did not run: {', '.join(missing)}", red=True)


def _named(node: str) -> str:
    """Return a test as docs/parity.md names it: a class or a function, whatever its parameters."""
    path, _, rest = node.partition("::")
    return f"{path}::{rest.split('::')[0].split('[')[0]}"


def _note(config: pytest.Config, node: str, outcome: str) -> None:
    config.stash[OUTCOMES].setdefault(_named(node), set()).add(outcome)


@pytest.fixture
def proofs() -> dict[str, list[str]]:
    """The tests that docs/parity.md names, by row."""
    rows = [line for line in PARITY.read_text().splitlines() if re.match(r"\| \d+ \|", line)]
    return {row.split("|")[1].strip(): PROOF.findall(row) for row in rows}
