"""What somebody at a terminal reads and answers before their computer joins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from manager_visit import NAMES, offers

from dsage.cli import asking as terminal
from dsage.cli.main import main
from dsage.trust.invite import Link
from dsage.wire import About, Privacy, ProjectOffer
from dsage_client import asking, consent
from dsage_client.asking import Offer
from dsage_client.door.words import Newcomer
from dsage_client.guest.preferences import Preferences

LINK = Link("https://lab.example:8443", "lab", "a" * 64, "b" * 64, "code")
Join = Callable[..., list[Newcomer]]


@pytest.fixture
def join(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Join:
    """Type `dsage join LINK` with these options on a terminal, and answers; get how clients were started."""

    def typed(*options: str, answers: tuple[str, ...] = (), link: Link = LINK, can_ask: bool = True) -> list[Newcomer]:
        started: list[Newcomer] = []
        given, offer = iter(answers), offers()

        async def volunteer(settings: Any, link: object, tell: object, *, newcomer: Newcomer) -> int:
            started.append(newcomer)
            return 15

        async def ask(link: Link) -> Offer:
            return offer(link)

        monkeypatch.setattr("dsage_client.joining.volunteer", volunteer)
        monkeypatch.setattr(asking, "offer", ask)
        monkeypatch.setattr(terminal, "can_ask", lambda: can_ask)
        monkeypatch.setattr("click.prompt", lambda *_, **__: next(given))
        main(["join", str(link), "--home", str(tmp_path), *options])
        assert next(given, None) is None, "there was no question"
        return started

    return typed


def test_who_joins_on_a_terminal_sees_the_name_and_may_have_another(
    join: Join, capsys: pytest.CaptureFixture[str]
) -> None:
    (started,) = join("--show", "discoveries", answers=("another", "another", "yes"))
    assert started == Newcomer(name=NAMES[2], shown=Privacy(discoveries=True))
    said = capsys.readouterr().err
    for part in (*NAMES, "Number Lab, run by the Institute (lab.example:8443)", "Factors", "Only while nobody uses"):
        assert part in said
    assert "Others see your pseudonym beside what your computers find" in said
    (started,) = join("--show", "leaderboard", answers=("yes",))
    assert started.shown == Privacy(leaderboard=True)


def test_who_says_no_does_not_join_and_keeps_the_preferences(join: Join, tmp_path: Path) -> None:
    assert join("--when", "always", answers=("no",)) == []
    assert not (tmp_path / "client").exists()


@pytest.mark.parametrize(("option", "can_ask"), [("--yes", True), ("--json", True), ("--own-work", False)])
def test_nobody_is_asked(join: Join, option: str, can_ask: bool) -> None:
    assert join(option, can_ask=can_ask) == [Newcomer()]
    join(answers=("yes",))  # without `--yes`, on a terminal, there is a question


def test_nobody_is_asked_about_a_server_that_was_joined(join: Join, tmp_path: Path) -> None:
    (tmp_path / "client/servers/lab").mkdir(parents=True)
    assert join() == [Newcomer()]


def test_a_computer_of_an_account_takes_that_accounts_name(join: Join, capsys: pytest.CaptureFixture[str]) -> None:
    link = Link("https://linked.example", "lab", "a" * 64, "b" * 64, "code")
    assert join(answers=("yes",), link=link) == [Newcomer()]
    said = capsys.readouterr().err
    assert f"{NAMES[0]}, the account that this link belongs to" in said
    assert "Others see" not in said


def test_what_a_server_says_moves_no_cursor() -> None:
    project = ProjectOffer(name="x", title="\x1b[2J\rnothing")
    offer = Offer(
        about=About(server_id="lab", name="a\x1b]0;b\x07", operator="\x9b1A", projects=[project]), name="c\x08"
    )
    for line in consent.told(offer, LINK, Privacy(), Preferences()):
        assert line.isprintable()
