"""What projects are for, in plain words, and whose first runs wait until a second person has looked at them.

Who may sign for a project is decided by the root key, offline; what stands here is what those people say of it. There
are few projects and few researchers, so both are single values that the server remembers.
"""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import Connection, select, update

from dsage import wire
from dsage.errors import Conflict, NotAllowed, NotFound
from dsage.states import RunState
from dsage_server.sentences import news, reasons
from dsage_server.store.events import note
from dsage_server.store.meta import recall, remember
from dsage_server.store.schema import meta, run

WAITS: Final = reasons.UNAPPROVED()
WAITING: Final = "waiting"
APPROVED: Final = "approved-key:"
"""Begins the names under which it is remembered who approved a researcher's first run."""


def find(connection: Connection, name: str) -> wire.ProjectView:
    """Return what is said of a project. Raises NotFound if nothing is."""
    known = recall(connection, f"project:{name}")
    if known is None:
        raise NotFound(
            f"nothing is said of a project {name!r}", hint=f"`dsage project create {name}` says what it is for."
        )
    return msgspec.json.decode(known, type=wire.ProjectView)


def describe(connection: Connection, view: wire.ProjectView, *, new: bool) -> None:
    """Keep what is said of a project. Raises Conflict if it is to be a `new` one and is there."""
    if new and recall(connection, f"project:{view.name}") is not None:
        raise Conflict(
            f"the project {view.name} is there already", hint=f"`dsage project describe {view.name}` changes it."
        )
    remember(connection, f"project:{view.name}", msgspec.json.encode(view).decode())


def ask(connection: Connection, number: int, researcher: bytes, now: float) -> bool:
    """Let a run that was just made wait, if no run of its researcher was ever approved; say whether it waits."""
    if recall(connection, APPROVED + researcher.hex()) is not None:
        return False
    remember(connection, f"approval:{number}", WAITING)
    connection.execute(update(run).where(run.c.id == number).values(state=RunState.PAUSED.value, reason=WAITS))
    note(connection, now, "paused", news.UNAPPROVED(run=number), run=number)
    return True


def waiting(connection: Connection) -> list[int]:
    """Return the runs that wait for approval, the oldest first."""
    names = connection.execute(select(meta.c.name).where(meta.c.name.like("approval:%"), meta.c.value == WAITING))
    found = sorted(int(name.removeprefix("approval:")) for name in names.scalars())
    open_ones = select(run.c.id).where(run.c.id.in_(found), run.c.state == RunState.PAUSED.value)
    return sorted(connection.execute(open_ones).scalars())


def check_approved(connection: Connection, number: int) -> None:
    """Raise NotAllowed if a run still waits for approval."""
    if recall(connection, f"approval:{number}") == WAITING:
        raise NotAllowed(
            f"run {number} {WAITS}",
            hint=f"Another researcher of its project looks at it: `dsage project approve {number}`.",
        )


def approve(connection: Connection, number: int, approver: bytes, name: str, now: float) -> bool:
    """Let a run that waits go on, and its researcher's later runs without asking; say whether it waited until now.

    Raises NotFound, Conflict if it does not wait for that, NotAllowed if it is the approver's own.
    """
    row = connection.execute(select(run.c.researcher, run.c.state).where(run.c.id == number).with_for_update()).first()
    if row is None:
        raise NotFound(f"there is no run {number}")
    if row.researcher == approver:
        raise NotAllowed(f"run {number} is your own", hint="Approving takes a second person with a key of their own.")
    known = recall(connection, f"approval:{number}")
    if known is None:
        raise Conflict(f"run {number} does not wait for approval", hint=f"`dsage show {number}` says how it stands.")
    if known != WAITING:
        return False
    remember(connection, f"approval:{number}", name)
    remember(connection, APPROVED + row.researcher.hex(), f"run {number}, by {name}")
    if row.state == RunState.PAUSED:
        connection.execute(update(run).where(run.c.id == number).values(state=RunState.RUNNING.value, reason=""))
    note(connection, now, "approved", news.APPROVED(run=number, name=name), run=number)
    return True
