"""What an operator reads and signs by command, on the server's own machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dsage.errors import Conflict, DSageError, NotFound
from dsage.home import Home
from dsage.trust.ceremony import first_keys, load_root, read
from dsage.trust.keys import PrivateKey
from dsage_server.admin import admin
from dsage_server.store import deeds, requests, visits
from dsage_server.store.engine import Store
from dsage_server.store.meta import remember
from dsage_server.store.testing import fresh

Type = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A server that is not running, with its keys."""
    monkeypatch.setenv("DSAGE_HOME", str(tmp_path))
    home = Home()
    first_keys(home, ["localhost"], "a lab", ["lab"])
    where = fresh(home.server)
    if isinstance(where, str):
        pytest.skip("the folder's own database")
    return home


def change(home: Home, work: Callable[[Any], Any]) -> Any:
    store = Store(home.server / "dsage.sqlite")
    try:
        return store.write_now(work)
    finally:
        store.close()


def typed(*words: str) -> Any:
    """Type a command; get what `--json` says, or the error."""
    shown = CliRunner().invoke(admin, [*words, "--json"])
    if isinstance(shown.exception, DSageError):
        return shown.exception
    assert shown.exit_code == 0, shown.output
    return json.loads(shown.stdout)["data"]


def asked(home: Home, key: bytes, name: str = "curie") -> int:
    return int(change(home, lambda c: requests.ask(c, key, name, ["radium"], "Half-lives.", 1e9)))


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("overview", "matters"), ("health", "parts"), ("checks", "corrections"), ("deletions", "departures"),
        ("limits", "quotas"),
    ],
)  # fmt: skip
def test_each_page_in_a_terminal(home: Home, command: str, part: str) -> None:
    assert part in typed(command)
    assert CliRunner().invoke(admin, [command]).exit_code == 0


def test_the_overview_says_what_to_do(home: Home) -> None:
    asked(home, b"k" * 32)
    said = CliRunner().invoke(admin, ["overview"]).stdout
    assert "! the server has not said" in said
    assert "1 waiting for your signature (dsage admin requests)" in said


def test_a_link_logs_one_browser_in_as_the_operator(home: Home) -> None:
    assert isinstance(typed("web"), NotFound)
    change(home, lambda c: remember(c, "pages_url", "http://localhost:8471"))
    link = typed("web")["link"]
    code = link.removeprefix("http://localhost:8471/login/")
    now = 0.0
    assert change(home, lambda c: visits.use_link(c, code, now)) == (visits.Role.OPERATOR, "")
    assert change(home, lambda c: visits.use_link(c, code, now)) is None


def test_a_request_is_approved_with_the_root_key(home: Home, tmp_path: Path) -> None:
    key = PrivateKey.generate().public
    number = asked(home, key)
    assert [each["state"] for each in typed("requests")] == ["waiting"]
    away = tmp_path / "away.key"
    home.root_key.rename(away)
    assert "the root key is not at" in typed("approve", str(number)).message
    assert [each["state"] for each in typed("requests")] == ["waiting"]

    done = typed("approve", str(number), "--days", "10", "--root-key", str(away))
    root = read(load_root(home.root_file))
    [entry] = [entry for entry in root.code_keys if entry.key == key]
    assert (entry.name, entry.projects, done["root_version"]) == ("curie", ["radium"], root.version)
    assert entry.expires - root.issued == pytest.approx(10 * 86400, abs=60)
    assert [each["state"] for each in typed("requests")] == ["approved"]
    assert isinstance(typed("approve", str(number), "--root-key", str(away)), Conflict)
    [deed] = change(home, lambda c: deeds.newest(c, 9))
    assert (deed.actor, deed.action) == ("operator", "approved")


def test_a_request_is_refused(home: Home) -> None:
    key = PrivateKey.generate().public
    number = asked(home, key)
    typed("refuse", str(number), "--reason", "Who are you?")
    [each] = typed("requests")
    assert (each["state"], each["answer"]) == ("refused", "Who are you?")
    assert isinstance(typed("refuse", str(number)), Conflict)
    assert isinstance(typed("refuse", "99"), NotFound)
    with pytest.raises(Conflict, match="refused this key"):
        asked(home, key)


def test_a_name_that_another_key_has_is_not_certified_twice(home: Home) -> None:
    number = asked(home, PrivateKey.generate().public, "lab")
    assert "another code key is named 'lab'" in typed("approve", str(number)).message
    assert [each["state"] for each in typed("requests")] == ["waiting"]
