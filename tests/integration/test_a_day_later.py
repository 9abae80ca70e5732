"""A researcher who sends work, goes, and comes back a day later."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from dsage_server.testing import World, running_server, until

DAY_S = 86_400.0


async def test_every_answer_is_there_a_day_later(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        world = World(running, tmp_path, stack)
        host, run = await world.host(), await world.run()
        await run.make(*range(100))
        done: list[int] = []

        async def worked() -> bool:
            got = await host.fetch(50)
            numbers = [index for index, _ in enumerate(got, len(done))]
            assert await host.report(got, numbers) == ["ok"] * len(got)
            done.extend(numbers)
            return len(done) == 100

        await until(worked)
        date = running.hub.clock
        running.hub.clock = lambda: date() + DAY_S
        view = await world.view(run)
        assert (view.state, view.units) == ("running", {"valid": 100})
        assert running.hub.clock() > view.driver_seen + DAY_S
        folded: set[int] = set()
        while len(folded) < 100:
            heard = await run.answers()
            assert heard.answers
            assert not folded & {answer.unit for answer in heard.answers}
            folded |= {answer.unit for answer in heard.answers}
            await run.commit(
                folded=[answer.unit for answer in heard.answers], replicas=[a.replica for a in heard.answers]
            )
        await run.commit(finished=True, result=b"\x00")
        assert (await world.view(run)).state == "done"
