"""The menu as data: what stands in it for each state."""

from __future__ import annotations

from typing import Any

import pytest
from desk_stand import idle_status

from dsage_client.door.words import Membership
from dsage_client.guest.reasons import Reason, Work
from dsage_client.tray.model import LOOKS, Do, Look, Wish, face, walk


def _wish(label: str, shown: Any) -> Wish | None:
    found = [item.wish for item in walk(shown.items) if item.label == label]
    assert len(found) == 1, label
    return found[0]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_one_look_and_its_sentence_stands_first(reason: Reason) -> None:
    shown = face(idle_status(reason=reason, sentence="why"))
    assert [look for look, reasons in LOOKS.items() if reason in reasons] == [shown.look]
    assert shown.items[0].label == shown.title == "why"
    assert not shown.items[0].enabled


@pytest.mark.parametrize(
    "status",
    [
        None,
        idle_status(),
        idle_status(paused=True, reason=Reason.PAUSED),
        idle_status(finishing=True),
        idle_status(in_use_stops=False),
    ],
)
def test_ids_are_unique_and_at_most_one_item_is_the_default(status: Any) -> None:
    shown = face(status, can_view=True, can_start=True)
    items = list(walk(shown.items))
    assert len({item.id for item in items}) == len(items)
    assert 0 not in {item.id for item in items}
    assert [item.wish for item in items if item.default] == [shown.default or Wish(Do.START)]


def test_pausing_flips_to_resuming() -> None:
    running, paused = face(idle_status()), face(idle_status(paused=True, reason=Reason.PAUSED, work=Work.HOLD))
    assert _wish("Until tomorrow", running) == Wish(Do.PAUSE, "tomorrow")
    assert _wish("Until I resume", running) == Wish(Do.PAUSE, "")
    assert _wish("Resume", paused) == Wish(Do.RESUME)
    assert "Pause" not in [item.label for item in paused.items]


def test_what_is_finished_can_be_resumed() -> None:
    assert _wish("Resume", face(idle_status(reason=Reason.FINISHED, finishing=True))) == Wish(Do.RESUME)


def test_finishing_can_be_taken_back() -> None:
    assert _wish("Finish current task and stop", face(idle_status())) == Wish(Do.FINISH)
    assert _wish("Go on after the current task", face(idle_status(finishing=True))) == Wish(Do.RESUME)


def test_computing_beside_the_owner_is_ticked_and_not_offered_twice() -> None:
    item = next(item for item in face(idle_status()).items if item.label == "Compute beside me today")
    assert (item.checked, item.enabled) == (False, True)
    ticked = next(
        item for item in face(idle_status(in_use_stops=False)).items if item.label == "Compute beside me today"
    )
    assert (ticked.checked, ticked.enabled) == (True, False)


def test_without_an_agent_the_menu_says_so_and_offers_to_start_it_where_that_can_be_done() -> None:
    shown = face(None)
    assert shown.look is Look.AWAY
    assert [item.label for item in shown.items] == ["DSage does not run on this computer", "", "Quit"]
    assert _wish("Start computing", face(None, can_start=True)) == Wish(Do.START)


def test_the_full_screen_view_is_offered_where_there_is_one() -> None:
    assert "Full-screen view" not in [item.label for item in face(idle_status()).items]
    assert _wish("Full-screen view", face(idle_status(), can_view=True)) == Wish(Do.VIEW)


@pytest.mark.parametrize(
    ("said", "shown"),
    [("a\nb\0c\x1b[2J", "a b c [2J"), ("\u202eevil", " evil"), ("x" * 161, "x" * 160 + "…"), ("x" * 160, "x" * 160)],
)
def test_what_others_named_stays_one_line_of_plain_text(said: str, shown: str) -> None:
    assert face(idle_status(sentence=said)).title == shown


def test_ones_own_page_is_offered_at_each_server() -> None:
    def server(name: str) -> Membership:
        return Membership(
            server=name,
            name=name.upper(),
            url="https://x:1",
            pages="",
            pseudonym="p",
            reason=Reason.WORKING,
            sentence="",
        )

    assert "Open My Page" not in [item.label for item in face(idle_status()).items]
    one = face(idle_status(servers=[server("a")]))
    assert _wish("Open My Page", one) == Wish(Do.PAGE, "a")
    both = face(idle_status(servers=[server("a"), server("b")]))
    assert [_wish(name, both) for name in ("A", "B")] == [Wish(Do.PAGE, "a"), Wish(Do.PAGE, "b")]
