"""Every option of every command does something: a case for each, here or in the test that is named for it."""

from __future__ import annotations

import ast
import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

import click
import pytest

from dsage.cli.main import COMMANDS, find, main
from dsage.errors import ServerAway
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust.ceremony import first_keys
from dsage.trust.invite import Link

ROOT = Path(__file__).parents[2]
LINK: Final = str(Link("https://127.0.0.1:9", "0" * 32, "a" * 64, "b" * 64))
APP: Final = """
from dsage import DistributedFunction


class Sum(DistributedFunction):
    def units(self):
        yield from range(9)

    @staticmethod
    def compute(i):
        return i

    def process_result(self, unit, value):
        self.result = value
"""

ELSEWHERE: Final = {
    "acceptance/test_demo.py::test_a_budget_ends_a_sieve_and_what_is_unfinished_is_labelled": "demo --number --budget",
    "acceptance/test_demo.py::test_one_volunteer_alone": "demo --volunteers",
    "acceptance/test_demo.py::test_what_is_kept_can_be_looked_at_as_it_says": "demo --keep",
    "acceptance/test_demo.py::test_a_cheater_is_caught_and_unpaid": "demo --cheater",
    "acceptance/test_joining.py::test_a_computer_that_joins_by_a_public_link_is_paid_where_no_research_waits": (
        "invite --public --per-hour --per-network; admin welcome --off"
    ),
    "acceptance/test_joining.py::test_a_link_that_was_withdrawn_takes_nobody_in": "invite --revoke",
    "acceptance/test_joining.py::test_links_say_which_work_is_for_those_who_join_by_them": (
        "invite --verifiable-only --any-work --list --uses --days --qr; admin trust --withdraw"
    ),
    "acceptance/test_joining.py::test_packages_are_published_by_command": "admin publish-client --news --root-key",
    "acceptance/test_recovery.py::test_a_lost_unit_key_and_a_lost_code_key_are_replaced": "login --key",
    "acceptance/test_recovery.py::test_a_lost_server_comes_back_and_its_client_goes_on_by_itself": (
        "admin restore --root-key"
    ),
    "acceptance/test_tray.py::test_it_sleeps_when_nothing_happens": "tray --icon",
    "integration/test_archive.py::test_the_command_by_age_and_its_refusals": "admin archive --older-than",
    "integration/test_backup.py::test_people_who_saw_a_later_root_json_believe_the_one_signed_above_it": (
        "keys renew --above"
    ),
    "integration/test_backup.py::test_the_commands_as_an_operator_types_them": (
        "admin backup --passphrase-file; admin restore --home --verify --passphrase-file; "
        "keys backup --passphrase-file; keys restore --passphrase-file"
    ),
    "integration/test_discoveries.py::test_a_researcher_lists_and_publishes_by_command": "discoveries publish --yes",
    "integration/test_cli.py::test_a_dry_run_sends_nothing": "submit --dry-run",
    "integration/test_cli.py::test_a_project_says_what_it_is_for": (
        "project create --title --purpose --ethics --link; project describe --title --purpose --ethics --link; "
        "project approve --yes"
    ),
    "integration/test_cli.py::test_a_project_that_the_key_is_not_certified_for": "submit --project",
    "integration/test_cli.py::test_a_run_is_paused_resumed_cancelled_and_retired": "cancel --yes; retire --yes",
    "integration/test_cli.py::test_runs_are_listed_and_shown": "ls --state --mine --all --jsonl",
    "integration/test_cli.py::test_submit_prints_the_answer_alone_on_standard_output": "submit --param",
    "integration/test_cli.py::test_an_estimate_knows_the_computers_of_the_server": "estimate --param",
    "fault/test_hosted_kills.py::test_a_hosted_run_survives_kills_of_server_and_hosting_process": "submit --hosted",
    "integration/test_cli.py::test_the_server_drives_a_run_and_its_owner_refuses_an_answer": "reopen --unit --yes",
    "integration/test_cli.py::test_what_a_run_asks_of_the_scheduler_is_kept_and_shown": (
        "submit --priority --platform --tag --detach"
    ),
    "integration/test_cli.py::test_the_same_word_is_the_same_run": "submit --once",
    "integration/test_cli.py::test_what_units_answered_printed_and_why_one_failed": (
        "results --output --format --partial --follow --jsonl; logs --unit --copies --jsonl; watch --until"
    ),
    "integration/test_server_control.py::test_the_operator_sees_and_sets_quotas_while_the_server_runs": (
        "admin quota --runs --open-units --blob-bytes --clear"
    ),
    "integration/test_own_checks.py::test_the_operator_sees_what_was_computed_and_turns_it_off": (
        "admin own-checks --share"
    ),
    "integration/test_maintenance.py::test_the_commands_of_the_operator": (
        "admin announce --hours --later --end; admin maintenance --hours --later --off"
    ),
    "integration/test_operating.py::test_a_request_is_approved_with_the_root_key": "admin approve --days --root-key",
    "integration/test_operating.py::test_every_browser_of_the_operator_is_logged_out": "admin web --log-out",
    "integration/test_operating.py::test_a_request_is_refused": "admin refuse --reason",
    "integration/test_outlying.py::test_a_host_that_stands_out_is_checked_and_shown": (
        "admin hosts --flagged; admin apps --copies"
    ),
    "integration/test_seed_demo.py::test_the_command_fills_an_empty_server_once": (
        "admin seed-demo --volunteers --days --ledger --seed --empty-ok"
    ),
    "integration/test_server_ledger.py::test_what_is_taken_back_is_shown_to_its_volunteer_with_the_reason": (
        "admin credit reverse --reason"
    ),
    "integration/test_server_ledger.py::test_an_operator_corrects_with_a_reason": (
        "admin credit correct --take --reason"
    ),
    "integration/test_server_ledger.py::test_a_sum_that_is_wrong_is_told_and_repaired_when_asked": (
        "admin credit check --repair"
    ),
    "integration/test_server_ledger.py::test_a_researchers_own_computers_earn_house_credit_until_somebody_approves": (
        "admin house --off"
    ),
    "integration/test_trying.py::test_a_check_finds": "check --samples",
    "integration/test_trying.py::test_a_template_runs_as_it_is_in_under_fifteen_lines": "init --force; run --workers",
    "integration/test_trying.py::test_some_units_are_computed_here": "run --units",
    "unit/dsage_client/test_consent.py::test_who_joins_on_a_terminal_sees_the_name_and_may_have_another": "join --show",
    "unit/dsage_client/test_consent.py::test_nobody_is_asked": "join --yes",
    "integration/test_tokens.py::test_tokens_and_the_link_by_command": "token new --write --days; web --print",
    "integration/test_teams.py::test_an_operator_lists_renames_and_closes_teams": "admin team close --yes",
    "integration/test_team_command.py::test_a_team_by_command": "team --at",
    "integration/test_privacy.py::test_what_others_see_is_shown_and_changed_by_command": "privacy --show --hide",
    "unit/dsage/cli/test_keys.py::test_certify_accepts_an_authority_by_its_certificate_or_every_public_one": (
        "keys certify --ca"
    ),
    "unit/dsage/cli/test_keys.py::test_new_prints_the_public_half_and_keeps_the_other": "keys new --name",
    "unit/dsage/cli/test_keys.py::test_prove_prints_a_line_that_one_server_takes_for_the_key_of_a_name": (
        "keys prove --name"
    ),
    "unit/dsage/cli/test_keys.py::test_certify_renews_under_the_name_it_knows": "keys certify --project --name --days",
    "unit/dsage/cli/test_keys.py::test_certify_a_new_unit_key": "keys certify --unit",
    "unit/dsage/cli/test_asking.py::test_prompts_of_older_commands_too": "keys replace-root --yes",
}
"""Tests that try options: "COMMAND --OPTION ...; COMMAND ..."."""

RESEARCHERS: Final = {
    "doctor": "", "status": "", "pause": "1", "resume": "1", "estimate": "app.py", "whoami": "", "submit": "app.py",
    "attach": "1", "watch": "1", "results": "1 --partial", "ls": "", "show": "1", "logs": "1", "open": "1",
    "retry": "1", "cancel": "1 --yes", "reopen": "1 --unit 1 --yes", "host": "1", "retire": "1 --yes",
    "discoveries list": "", "discoveries publish": "1 --yes", "web": "",
    "token new": "x", "token ls": "", "token revoke": "1",
    "project create": "p --title T --purpose P", "project describe": "p", "project approve": "1 --yes",
}  # fmt: skip
"""Commands that speak to a server, with what they need."""
SIGNED: Final = sorted(RESEARCHERS.keys() - {"doctor", "status", "estimate", "watch", "open"})
"""Those that can sign with another key."""

DESK: Final = ("pause", "resume", "finish", "link", "me", "privacy", "team")
"""Commands that speak to the client that runs in a home."""

ROOTED: Final = {
    "keys certify": "KEY --project p", "keys renew": "", "keys replace-root": "--yes", "keys status": "",
    "keys revoke app": "a" * 64, "keys revoke key": "KEY",
}  # fmt: skip
"""Commands that read root.json."""

SERVE: Final = {
    "--listen": ("127.0.0.1:7", "port", 7), "--public": ("https://a.example:7", "public", "https://a.example:7"),
    "--pages": ("127.0.0.1:8", "pages_port", 8), "--pages-url": ("https://b.example", "pages_url", "https://b.example"),
    "--proxies": ("10.0.0.5", "proxies", (IPv4Network("10.0.0.5/32"),)),
    "--traces": ("http://c/v1/traces", "traces", "http://c/v1/traces"),
    "--metrics": ("127.0.0.1:9", "metrics", "127.0.0.1:9"), "--log-format": ("json", "log_format", "json"),
    "--tls-cert": ("/c.pem", "tls_cert", "/c.pem"), "--tls-key": ("/c.key", "tls_key", "/c.key"),
    "--tls-ca": ("system", "tls_ca", "system"), "--name": ("Sums", "name", "Sums"),
    "--operator": ("Ada", "operator", "Ada"), "--roles": ("api", "roles", frozenset({"api"})),
    "--own-work": ("", "sandbox_own", True), "--store": ("postgresql://h/d", "store", "postgresql://h/d"),
    "--blobs": ("/b", "blobs", "/b"), "--held-calls": ("3", "held_calls", 3),
    "--archive-after": ("2", "archive_after_days", 2.0), "--approve-first-runs": ("", "approve_first_runs", True),
}  # fmt: skip
"""Options of a server, and the setting that each makes, whose effect its own tests show."""

JOIN: Final = {
    "--slots": ("3", "slots", 3), "--own-work": ("", "own_work", True), "--tag": ("gpu", "tags", ("gpu",)),
}  # fmt: skip

UNTRIED: Final = {
    "check --param", "run --param", "submit --watch", "logs --follow", "retry --unit", "retry --only",
}  # fmt: skip
"""Options that no test tries yet: the list may only become shorter."""

OWN: Final = {
    "test_a_file_of_the_home_that_is_named_is_read": "log -n --home; prefs --home; status --home",
    "test_what_a_start_of_the_client_is_told": "join --when --home",
    "test_leaving_removes_what_is_named": "leave --yes --erase --home",
    "test_the_manager_is_opened_or_its_address_printed": "manager --print --home; me --print",
    "test_files_for_other_systems_are_written": "autostart write --system --prefix --everyone --program",
    "test_the_tray_belongs_to_a_home": "tray --home",
    "test_an_estimate_computes_as_many_as_it_is_told": "estimate --samples",
    "test_templates_are_listed": "init --list",
    "test_what_a_screensaver_is_told": "saver --full-screen -window-id -root --calm --no-names --home",
    "test_a_welcome_is_signed_by_whom_one_says": "admin welcome --project --key",
}
"""Tests below that try options."""


def options(command: str) -> set[str]:
    """Return the options of a command, each by its long name."""
    word, *below = command.split()
    found = find(word)
    for part in below:
        assert isinstance(found, click.Group)
        found = found.commands[part]
    return {
        name
        for option in found.params
        if isinstance(option, click.Option)
        for name in (option.opts[-1], *option.secondary_opts)
    }


@cache
def commands() -> tuple[str, ...]:
    """Return every command that has options."""

    def below(command: click.Command, name: str) -> Iterator[str]:
        if isinstance(command, click.Group):
            for word, each in command.commands.items():
                yield from below(each, f"{name} {word}")
        elif options(name):
            yield name

    return tuple(name for word in COMMANDS for name in below(find(word), word))


def named(table: dict[str, str]) -> dict[str, set[str]]:
    """Return what each test of a table tries, as "COMMAND --OPTION"."""
    found: dict[str, set[str]] = {}
    for test, text in table.items():
        for part in text.split(";"):
            words = part.split()
            command = " ".join(word for word in words if not word.startswith("-"))
            found.setdefault(test, set()).update(f"{command} {word}" for word in words if word.startswith("-"))
    return found


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DSAGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DSAGE_NO_INPUT", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text(APP)
    return Home()


Say = Callable[..., tuple[str, str]]


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    """Give a command line; get what it wrote on standard output and on standard error."""

    def run(*words: str) -> tuple[str, str]:
        main(list(words))
        return capfd.readouterr()

    return run


def test_each_option_has_a_case() -> None:
    real = {f"{command} {option}" for command in commands() for option in options(command)}
    tried = set().union(*named(ELSEWHERE | OWN).values())
    tried |= {f"{command} --server" for command in RESEARCHERS} | {f"{command} --key" for command in SIGNED}
    tried |= {f"{command} --home" for command in DESK} | {f"{command} --root-file" for command in ROOTED}
    tried |= {f"{command} --root-key" for command in ROOTED if "--root-key" in options(command)}
    tried |= {f"serve {option}" for option in SERVE} | {f"join {option}" for option in JOIN}
    tried |= {f"{command} --json" for command in commands() if "--json" in options(command)}
    assert tried.isdisjoint(UNTRIED)
    assert tried | UNTRIED == real


def test_each_test_that_is_named_tries_what_it_is_named_for() -> None:
    here = {f"unit/test_options.py::{name}": text for name, text in OWN.items()}
    missing: list[str] = []
    for name, tried in named(ELSEWHERE | here).items():
        path, _, function = name.partition("::")
        source = (ROOT / "tests" / path).read_text()
        found = [node for node in ast.parse(source).body if getattr(node, "name", "") == function]
        assert found, name
        start = min(node.lineno for node in (found[0], *found[0].decorator_list))  # type: ignore[attr-defined]
        body = "\n".join(source.splitlines()[start - 1 : found[0].end_lineno])
        for each in tried:
            command, _, option = each.rpartition(" ")
            parts = find(command.split()[0])
            for word in command.split()[1:]:
                parts = parts.commands[word]  # type: ignore[attr-defined]
            spelled = next(o.opts + o.secondary_opts for o in parts.params if option in (*o.opts, *o.secondary_opts))
            own = [option] if option in parts.params[0].secondary_opts else spelled
            if not any(f'"{word}"' in body or f"{word} " in body or f"{word}=" in body for word in own):
                missing.append(f"{each}: {name}")
    assert not missing


@pytest.mark.parametrize("command", [name for name in commands() if "--json" in options(name)])
def test_json(command: str, say: Say) -> None:
    """What a command says is a document; what is wrong with these words is one too, and the same thing."""
    words = [*command.split(), "--no-such-thing"]
    assert json.loads(say(*words, "--json")[1])["detail"].startswith("no such option '--no-such-thing'")
    wrong = "x" * 300
    assert json.loads("".join(say(*command.split(), "--json", wrong, wrong, "y")))


@pytest.mark.parametrize("command", RESEARCHERS)
def test_server_and_key(command: str, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_it(home: Home, link: Link | None = None, key_name: str | None = None) -> Researcher:
        raise ServerAway(f"asked for {link and link.url} with {key_name}")

    monkeypatch.setattr(Researcher, "open", open_it)
    words = [*command.split(), *RESEARCHERS[command].split()]
    assert "asked for None with None" in "".join(say(*words))
    assert "asked for https://127.0.0.1:9 with None" in "".join(say(*words, "--server", LINK))
    if command in SIGNED:
        assert "with ada" in "".join(say(*words, "--key", "ada"))


@pytest.mark.parametrize("command", DESK)
def test_the_home_of_a_client(command: str, say: Say, tmp_path: Path) -> None:
    assert f"({tmp_path}/home/client" in say(command)[1]
    assert f"({tmp_path}/other/client" in say(command, "--home", str(tmp_path / "other"))[1]


@pytest.mark.parametrize("command", ROOTED)
def test_where_root_json_and_the_root_key_are(command: str, say: Say, home: Home, tmp_path: Path) -> None:
    first_keys(home, ["localhost"], "a lab", ["lab"])
    key = json.loads(say("keys", "new", "code", "--name", "ada", "--json")[0])["data"]["public"]
    words = [*command.split(), *(key if word == "KEY" else word for word in ROOTED[command].split())]
    root, moved = home.root_key, tmp_path / "away.key"
    if "--root-key" in options(command):
        root.rename(moved)
        assert f"the root key is not at {root}" in say(*words)[1]
        words += ["--root-key", str(moved)]
    home.root_file.rename(tmp_path / "away.json")
    without = say(*words)
    assert without != (given := say(*words, "--root-file", str(tmp_path / "away.json")))
    assert "there is no" not in given[1]


@pytest.mark.parametrize("option", SERVE)
def test_what_a_server_is_told(option: str, monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    made: list[Any] = []

    async def serve(home: Home, settings: Any, as_json: bool) -> None:
        made.append(settings)

    monkeypatch.setattr("dsage_server.starting._serve", serve)
    value, name, meant = SERVE[option]
    say("serve")
    say("serve", option, *([value] if value else []))
    assert getattr(made[1], name) == meant != getattr(made[0], name)


def volunteered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list into which the settings go of clients that would start."""
    made: list[Any] = []

    async def volunteer(settings: Any, link: object, tell: object, *, newcomer: object) -> int:
        made.append(settings)
        return 15

    monkeypatch.setattr("dsage_client.joining.volunteer", volunteer)
    monkeypatch.setattr("dsage_client.settings.cores", lambda: 7)
    return made


@pytest.mark.parametrize("option", JOIN)
def test_what_a_client_is_told(option: str, monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    made = volunteered(monkeypatch)
    value, name, meant = JOIN[option]
    say("join")
    say("join", option, *([value] if value else []))
    assert getattr(made[1], name) == meant != getattr(made[0], name)


def test_what_a_start_of_the_client_is_told(monkeypatch: pytest.MonkeyPatch, say: Say, tmp_path: Path) -> None:
    made = volunteered(monkeypatch)
    say("join", "--when", "never", "--home", str(tmp_path / "other"))
    assert made[0].folder == tmp_path / "other" / "client"
    assert json.loads(made[0].preferences_file.read_text())["when"] == "never"


def test_a_file_of_the_home_that_is_named_is_read(say: Say, tmp_path: Path) -> None:
    folder = tmp_path / "other" / "client"
    folder.mkdir(parents=True)
    (folder / "preferences.json").write_text('{"when": "never"}')
    (folder / "log").write_text("first\nsecond\nthird\n")
    where = ("--home", str(tmp_path / "other"))
    assert [say("prefs", *place)[0].split()[1] for place in ((), where)] == ['"idle"', '"never"']
    assert say("log")[0] == "nothing happened here yet\n"
    assert say("log", *where)[0].splitlines() == ["first", "second", "third"]
    assert say("log", "-n", "2", *where)[0].splitlines() == ["second", "third"]
    assert "no server is known here" in say("status")[1]
    assert "no client runs here, and none has" in say("status", *where)[1]


def test_leaving_removes_what_is_named(say: Say, tmp_path: Path) -> None:
    folder = tmp_path / "other" / "client"
    folder.mkdir(parents=True)
    where = ("--home", str(tmp_path / "other"))
    assert "--yes" in say("leave", "--erase", *where)[1]
    say("leave", *where)
    say("leave", "--erase", "--yes")
    assert folder.exists()
    assert say("leave", "--erase", "--yes", *where)[0] == f"removed {folder}\n"
    assert not folder.exists()


def test_the_manager_is_opened_or_its_address_printed(monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    opened: list[str] = []
    monkeypatch.setattr("dsage_client.commands._ask", lambda home, wish: f"http://{home.name if home else 'there'}")
    monkeypatch.setattr("dsage_client.commands._browse", lambda address: not opened.append(address))  # type: ignore[func-returns-value]
    assert (say("manager")[0], opened) == ("", ["http://there"])
    assert (say("manager", "--print")[0], opened) == ("http://there\n", ["http://there"])
    assert say("manager", "--print", "--home", "other")[0] == "http://other\n"
    assert (say("me")[0], opened) == ("", ["http://there"] * 2)
    assert (say("me", "--print")[0], opened) == ("http://there\n", ["http://there"] * 2)


def test_files_for_other_systems_are_written(say: Say, tmp_path: Path) -> None:
    def written(*words: str) -> dict[str, str]:
        return {line: Path(line).read_text() for line in say("autostart", "write", *words)[0].splitlines()}

    plain = written("--prefix", str(tmp_path / "a"), "--system", "linux")
    assert all(path.startswith(str(tmp_path / "a")) for path in plain)
    assert "/opt/mine" in "".join(written("--prefix", "b", "--system", "linux", "--program", "/opt/mine").values())
    assert any(path.endswith(".plist") for path in written("--prefix", "c", "--system", "macos"))
    everyone = written("--prefix", str(tmp_path / "d"), "--system", "linux", "--everyone")
    assert any("/.config/" in path for path in plain)
    assert everyone
    assert not any("/.config/" in path for path in everyone)


def test_the_tray_belongs_to_a_home(monkeypatch: pytest.MonkeyPatch, say: Say, tmp_path: Path) -> None:
    def only_one(folder: Path, environ: object) -> None:
        raise ServerAway(f"the tray of {folder}")

    monkeypatch.setattr("dsage_client.helper.only_one", only_one)
    assert f"the tray of {tmp_path}/home/client" in say("tray")[1]
    assert f"the tray of {tmp_path}/other/client" in say("tray", "--home", str(tmp_path / "other"))[1]


def test_what_a_screensaver_is_told(monkeypatch: pytest.MonkeyPatch, say: Say, tmp_path: Path) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("dsage_client.saver.command._run", lambda *place, **how: shown.append((place, how)))
    monkeypatch.delenv("XSCREENSAVER_WINDOW", raising=False)
    for words in ([], ["--full-screen"], ["-window-id", "0x9"]):
        say("saver", *words)
    monkeypatch.setenv("XSCREENSAVER_WINDOW", "0x7")
    say("saver", "-root")
    assert len({str(place) for (place, _), _ in shown}) == 4
    assert shown[0][1] == {"calm": False, "names": True}
    say("saver", "--calm", "--no-names", "--home", str(tmp_path / "other"))
    assert (shown[-1][0][1], shown[-1][1]) == (tmp_path / "other" / "client", {"calm": True, "names": False})


def test_an_estimate_computes_as_many_as_it_is_told(monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    async def measure(packed: object, chosen: list[object]) -> list[tuple[float, int, bool]]:
        await asyncio.sleep(0)
        return [(1.0, 5, False)] * len(chosen)

    monkeypatch.setattr("dsage.cli.estimate._measure", measure)
    assert "(3 samples)" in say("estimate", "app.py")[0]
    assert "(5 samples)" in say("estimate", "app.py", "--samples", "5")[0]


def test_templates_are_listed(say: Say) -> None:
    assert "minimal" in say("init", "--list")[0] or "map" in say("init", "--list")[0]


def test_a_welcome_is_signed_by_whom_one_says(monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    async def welcome(home: Home, key: str | None, project: str | None, *, off: bool) -> tuple[int | None, list[int]]:
        raise ServerAway(f"{key} for {project}")

    monkeypatch.setattr("dsage_server.welcoming_cli._welcome", welcome)
    assert "None for None" in say("admin", "welcome")[1]
    assert "ada for sums" in say("admin", "welcome", "--key", "ada", "--project", "sums")[1]
