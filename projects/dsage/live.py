"""A job's display in a notebook, kept up to date where it stands while the run goes on.

It is brought up to date in the Grid's own loop, so no thread can be left over: it ends with the run, with the Grid, or
when the cell that showed it runs again.
"""

from __future__ import annotations

import asyncio
import contextvars
import secrets
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dsage import display
from dsage.errors import DSageError
from dsage.states import OPEN_RUNS
from dsage.wire import RunView

if TYPE_CHECKING:
    from dsage.grid import Grid

EVERY_S: Final = 1.0


class Live:
    """The display of one run, under one display id however often it is shown."""

    def __init__(self, grid: Grid, run: int) -> None:
        self._grid = grid
        self._run = run
        self._id = f"dsage-{secrets.token_hex(8)}"
        self._url: str | None = None
        self._shell: Any = None
        self._cell = ""
        self._news = asyncio.Event()
        self._going: Future[None] | None = None

    def show(self, view: RunView) -> None:
        """Show the run below the cell that runs; keep it up to date there, if this is a notebook."""
        from IPython.core.getipython import get_ipython
        from IPython.display import display as show

        self.stop()
        show(bundle(view, self._page()), raw=True, display_id=self._id)  # type: ignore[no-untyped-call]
        shell: Any = get_ipython()
        if view.state not in OPEN_RUNS or not hasattr(shell, "kernel"):
            return
        self._shell, self._cell = shell, _cell(shell)
        shell.events.register("pre_run_cell", self._cell_begins)
        # Outside of this cell's context: what is shown later belongs to the cell that runs then.
        self._going = contextvars.Context().run(self._grid.background.start, self._keep(view))

    def now(self) -> None:
        """Bring it up to date at once, at the end of the run. May be called in any thread but the Grid's."""
        if self._going is not None:
            with suppress(DSageError):
                self._update(self._grid.background.call(self._grid.place.run(self._run)))

    def news(self) -> None:
        """Bring it up to date soon. May be called in any thread."""
        self._grid.background.soon(self._news.set)

    def stop(self) -> None:
        """Leave it as it is."""
        if self._going is not None:
            self._going.cancel()
            self._going = None
            self._unregister()

    def _page(self) -> str:
        if self._url is None:
            try:
                self._url = self._grid.background.call(self._grid.place.page(self._run))
            except DSageError:
                return ""
        return self._url

    def _cell_begins(self, info: Any) -> None:
        if self._cell and getattr(info, "cell_id", None) == self._cell:
            self.stop()

    async def _keep(self, seen: RunView) -> None:
        wait_s = EVERY_S
        try:
            while seen.state in OPEN_RUNS:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), wait_s)
                self._news.clear()
                try:
                    seen = await self._grid.place.run(self._run)
                except DSageError as error:
                    wait_s = min(2 * wait_s, 10 * EVERY_S)
                    self._update(seen, trouble=error.message)
                else:
                    wait_s = EVERY_S
                    self._update(seen)
        finally:
            self._unregister()

    def _update(self, view: RunView, trouble: str = "") -> None:
        found = bundle(view, self._url or "", trouble)
        self._shell.display_pub.publish(found, {}, transient={"display_id": self._id}, update=True)

    def _unregister(self) -> None:
        with suppress(ValueError):
            self._shell.events.unregister("pre_run_cell", self._cell_begins)


def bundle(view: RunView, url: str = "", trouble: str = "") -> dict[str, str]:
    """Return what a notebook, or a prompt without HTML, shows of a run."""
    return {"text/plain": display.line(view.run, view), "text/html": display.html(view, time.time(), url, trouble)}


def _cell(shell: Any) -> str:
    """Return the id of the cell that runs, empty if the notebook has none."""
    metadata = shell.get_parent().get("metadata", {}) if hasattr(shell, "get_parent") else {}
    return str(metadata.get("cellId") or "")
