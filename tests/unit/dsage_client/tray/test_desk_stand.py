"""The stand-in agent of the desktop's tests answers as `Desk` expects."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from desk_stand import PAGE, Stand

from dsage.errors import NoAgent, UsageError
from dsage_client.door.desk import Desk
from dsage_client.door.words import Status
from dsage_client.guest.reasons import Reason


async def test_it_does_what_is_asked(tmp_path: Path) -> None:
    async with Stand(tmp_path) as stand, await Desk.open(tmp_path) as desk:
        assert (await desk.status()).reason is Reason.WORKING
        assert (await desk.pause("1h")).paused
        assert not (await desk.resume()).paused
        assert (await desk.finish()).finishing
        assert await desk.manager() == PAGE
        assert (await desk.prefer({"idle_after_s": 60})).idle_after_s == 60
        assert [ask.do for ask in stand.asks] == ["status", "pause", "resume", "finish", "manager", "prefer"]
        assert (await stand.heard("pause")).what == "1h"


async def test_followers_are_told_and_the_file_says_the_same(tmp_path: Path) -> None:
    async with Stand(tmp_path) as stand, await Desk.open(tmp_path) as desk:
        told = desk.follow()
        assert (await anext(told)).reason is Reason.WORKING
        await stand.followed()
        stand.change(reason=Reason.IN_USE, sentence="Somebody is here")
        assert (await anext(told)).reason is Reason.IN_USE
        kept = msgspec.json.decode((tmp_path / "status.json").read_bytes(), type=Status)
        assert kept.sentence == "Somebody is here"


async def test_it_refuses_and_goes_as_an_agent_does(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.refuses["pause"] = UsageError("that is no duration")
    async with stand, await Desk.open(tmp_path) as desk:
        with pytest.raises(UsageError, match="that is no duration"):
            await desk.pause("long")
        await stand.close()
        with pytest.raises(NoAgent):
            await desk.status()
        with pytest.raises(NoAgent):
            await Desk.open(tmp_path)
