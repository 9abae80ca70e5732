"""One run."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection

from dsage import wire
from dsage_server.store import views
from dsage_server.store.schema import event
from dsage_server.web import plain
from dsage_server.web.page import Asked, Document, Page
from dsage_server.web.plain import Opened
from dsage_server.web.public.lines import PAGE_ROWS, RUN_EVENTS, SPECIAL, RunLine, events, run_line
from dsage_server.web.shapes import shape_of


class Share(msgspec.Struct, kw_only=True):
    """A volunteer's credit for one run."""

    pseudonym: str
    credit: float


class RunPage(Document, kw_only=True):
    """One run: `progress` is what its author reports beyond the fields of `run`."""

    schema: ClassVar[str] = "dsage.run/1"
    run: RunLine
    app: str
    step: int
    params: Opened
    progress: Opened
    result: Opened
    finders: list[wire.Finder]
    shares: list[Share]
    events: list[wire.Event]


def run_page(connection: Connection, asked: Asked) -> RunPage:
    """Return one run; raises NotFound."""
    view = views.run_view(connection, asked.number, asked.now)
    progress = plain.opened(view.progress, f"`dsage watch {view.run}`")
    own = {name: item for name, item in plain.mapping(progress.value).items() if name not in SPECIAL}
    result = plain.opened(view.result, f"`dsage results {view.run}`")
    numbers = shape_of(result.value).units(result.value)
    credit = views.credit_of_run(connection, view.run, PAGE_ROWS)
    return RunPage(
        run=run_line(view), app=view.app, step=view.step, params=plain.opened(view.params, f"`dsage watch {view.run}`"),
        progress=Opened(own or None, progress.note), result=result,
        finders=views.finders(connection, view.run, numbers) if numbers else [],
        shares=[Share(pseudonym=name, credit=amount / 1000) for name, amount in credit.items()],
        events=events(connection, RUN_EVENTS, event.c.run_id == view.run),
    )  # fmt: skip


PAGES: Final = (Page(template="run", route=r"/run/{number:\d+}", load=run_page, document=RunPage, live=True),)
