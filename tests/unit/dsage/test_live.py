"""What a notebook is told while a run goes on, also when its server does not answer."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec

from dsage.errors import ServerAway
from dsage.live import Live
from dsage.wire import RunView

RUN = RunView(
    run=1, project="", title="Sum", app="", state="running", created=0.0, finished=None, driver_seen=None, step=0,
    units={}, replicas={}, credit_milli=0, volunteers=0, progress=b"", result=None, reason="", params=b"",
)  # fmt: skip


class Notebook:
    """The shell of a kernel, as far as a display needs it."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.listeners: list[Callable[..., None]] = []
        self.events = SimpleNamespace(unregister=lambda _, listener: self.listeners.remove(listener))
        self.display_pub = self

    def publish(self, data: dict[str, str], metadata: dict[str, Any], *, transient: Any, update: bool) -> None:
        assert update
        assert transient["display_id"].startswith("dsage-")
        self.published.append(data["text/html"])


class Server:
    """Answers a list of things, one a look, and has the display look again at once."""

    def __init__(self, *answers: RunView | ServerAway) -> None:
        self.answers = list(answers)
        self.live: Live

    async def run(self, run: int) -> RunView:
        answer = self.answers.pop(0)
        self.live._news.set()
        if isinstance(answer, ServerAway):
            raise answer
        return answer


async def test_a_server_that_is_away_is_said_to_be_and_the_end_is_still_seen() -> None:
    done = msgspec.structs.replace(RUN, state="done", finished=5.0)
    server = Server(RUN, ServerAway("no server answers <there>"), RUN, done)
    grid: Any = SimpleNamespace(place=server)
    live, notebook = Live(grid, 1), Notebook()
    server.live, live._shell = live, notebook
    notebook.listeners.append(live._cell_begins)
    live._news.set()
    await live._keep(RUN)
    assert ["no server answers &lt;there&gt;" in html for html in notebook.published] == [False, True, False, False]
    assert ">done<" in notebook.published[-1]
    assert not notebook.listeners
    assert not server.answers
