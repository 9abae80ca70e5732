"""One step of a hosted run, inside the server's sandbox: values in, values out, nothing kept between two steps.

The server calls it through `DistributedFunction.hosted_step`, each time in a fresh process. What comes out is a
stranger's word: the server holds it against its own limits before it commits anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dsage.inputs import is_hash
from dsage.stepping import Position, next_step
from dsage.wire import Answers, Step

if TYPE_CHECKING:
    from dsage.function import DistributedFunction


class Stand(msgspec.Struct, frozen=True, kw_only=True):
    """Where a hosted driver stands: its last committed step and state, and the state that it works on.

    The two states differ after a look that changed the function but gave nothing to commit.
    """

    fence: int
    step: int
    committed: bytes
    working: bytes
    dry: bool


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the step to commit, if any, the state to work on, and what `dsage.stepping.Stepped` says."""

    step: Step | None
    working: bytes
    dry: bool
    wake_at: float


def step(kind: type[DistributedFunction], params: dict[str, Any], stand: bytes, heard: bytes) -> bytes:
    """Fold what was heard (Answers) into the run that stands there (Stand), and return what came of it (Made)."""
    at = msgspec.msgpack.decode(stand, type=Stand)
    function = kind(**params)
    function.load_state(at.working)
    position = Position(at.fence, at.step, at.committed, at.dry)
    made, dry = next_step(function, position, msgspec.msgpack.decode(heard, type=Answers))
    wanted = None if made is None else _file_by_path(made)
    if wanted is not None:
        made = Step(fence=at.fence, step=at.step + 1, state=at.committed, failed=wanted)
    working = function.dump_state() if made is None else made.state
    return msgspec.msgpack.encode(Made(step=made, working=working, dry=dry, wake_at=float(function.wake_at)))


def _file_by_path(made: Step) -> str | None:
    """Return why a step cannot be: no file of the researcher's is where the run is hosted."""
    for unit in made.units:
        for name, source in unit.inputs.items():
            if not is_hash(source):
                return (
                    f"the input {name!r} of unit {unit.key} is the path {source}, and a hosted run has no files: "
                    "send the file first and name it by its SHA-256, or drive the run yourself (`dsage attach`)"
                )
    return None
