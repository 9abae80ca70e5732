"""What an operator reads and signs by command, on the server's own machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from dsage import wire
from dsage.errors import Conflict, DSageError, NotFound
from dsage.home import Home
from dsage.trust.ceremony import first_keys, load_root, read
from dsage.trust.keys import PrivateKey
from dsage_server.admin import admin
from dsage_server.sentences.found import find
from dsage_server.store import deeds, hosts, open_links, requests, teams, visits
from dsage_server.store.engine import Store
from dsage_server.store.meta import remember
from dsage_server.store.schema import volunteer
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


def test_every_browser_of_the_operator_is_logged_out(home: Home) -> None:
    role = visits.Role.OPERATOR
    change(home, lambda c: remember(c, "pages_url", "http://localhost:8471"))
    tokens = [change(home, lambda c: visits.begin(c, role, "", "link", 1e9)) for _ in range(2)]
    other = change(home, lambda c: visits.begin(c, visits.Role.VOLUNTEER, "1", "link", 1e9))
    code = typed("web")["link"].rpartition("/")[2]
    assert typed("web", "--log-out")["browsers"] == 2
    assert change(home, lambda c: [visits.find(c, each, 1e9) for each in tokens]) == [None, None]
    assert change(home, lambda c: visits.use_link(c, code, 0.0)) is None
    assert change(home, lambda c: visits.find(c, other, 1e9)) is not None


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


def test_what_an_operator_does_by_command_stands_in_the_audit_log(home: Home) -> None:
    root = read(load_root(home.root_file))

    def people(connection: Any) -> str:
        remember(connection, "url", "https://localhost:8470")
        code = hosts.make_invite(connection, 1, 60.0, 1e9)
        who = hosts.enrol(connection, b"v" * 32, code, wire.Privacy(), 1e9).volunteer
        teams.act(connection, who, wire.TeamWish(do="create", name="Otters"), 1e9)
        named = connection.execute(select(volunteer.c.pseudonym).where(volunteer.c.id == who))
        return str(named.scalar_one())

    name = change(home, people)
    package = home.server / "dsage_9.9.9_amd64.deb"
    package.write_bytes(b"a package")
    researcher = root.code_keys[0].name
    told = [
        (["trust", name], "vouched for 1 volunteer", ""),
        (["trust", name, "--withdraw"], "withdrew trust in 1 volunteer", ""),
        (["quota", researcher, "--runs", "5"], f"changed what {researcher} may have", "5 open runs"),
        (["quota", researcher, "--clear"], f"changed what {researcher} may have", "the server's settings hold"),
        (["house", researcher, name], f"noted 1 account as belonging to {researcher}", ""),
        (["house", researcher, name, "--off"], f"noted 1 account as not belonging to {researcher}", ""),
        (["team", "rename", "1", "Voles"], "renamed team 1", ""),
        (["team", "close", "1", "--yes"], "closed team 1", ""),
        (["own-checks", "--share", "0.02"], "set how much the server checks itself to 2.00%", ""),
        (["publish-client", str(package)], "published 1 package of the client", sha256(b"a package").hexdigest()),
    ]
    for words, did, detail in told:
        typed(*words)
        deed = change(home, lambda c: deeds.newest(c, 1))[0]
        assert (deed.actor, f"{deed.action} {deed.about}", deed.detail) == ("operator", did, detail)
        assert find(did) is not None
    for words in (["quota"], ["house", researcher], ["own-checks"]):
        typed(*words)
    assert change(home, deeds.count) == len(told)


def test_public_links_stand_in_the_audit_log(home: Home) -> None:
    def work(connection: Any) -> list[str]:
        number, _ = open_links.make(connection, per_hour=1, per_prefix=1, valid_s=60.0, now=1e9)
        for _ in range(2):
            open_links.revoke(connection, number, 1e9)
        return [f"{deed.action} {deed.about}" for deed in deeds.newest(connection, 9)]

    told = change(home, work)
    assert told == ["withdrew public link 1", "made public link 1"]
    assert all(map(find, told))
