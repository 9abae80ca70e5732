"""The author's code of a hosted run, stepped in its box; what comes out is believed only as far as it was checked."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from dsage import codec
from dsage.errors import CodecError, SandboxRefused, UnitFailed
from dsage.function import MAX_STATE_BYTES
from dsage.hosted import Made, Stand
from dsage.sandbox import Outcome
from dsage.stepping import Position, Stepped
from dsage.trust.documents import Manifest
from dsage.wire import MAX_BODY_BYTES, Answers, Step
from dsage_server.hosting.boxes import Boxes
from dsage_server.hosting.lines import MAX_REASON

BROKEN_MOST: Final = 5
"""Times in a row that the box itself may fail before its run does."""
FIRST_BACKOFF_S: Final = 1.0


class Misstep(Exception):
    """A step that cannot be committed, with the reason for people."""


@dataclass(slots=True)
class Boxed:
    """Steps one run in its box: a `dsage.stepping.Stepper`."""

    boxes: Boxes
    run: int
    app_dir: Path
    manifest: Manifest
    params: bytes
    _working: bytes = field(init=False, default=b"")

    def stand(self, state: bytes) -> None:
        """Begin at a committed state."""
        self._working = state

    async def step(self, at: Position, heard: Answers) -> Stepped:
        """Fold what was heard; whatever the author's code does wrong is a step that fails the run."""
        try:
            made = _checked(await self._outcome(at, heard), at, heard)
        except Misstep as error:
            failed = Step(fence=at.fence, step=at.step + 1, state=at.state, failed=str(error)[:MAX_REASON])
            return Stepped(step=failed, dry=True)
        self._working = made.working
        return Stepped(step=made.step, dry=made.dry, wake_at=made.wake_at)

    async def _outcome(self, at: Position, heard: Answers) -> Outcome:
        stand = Stand(fence=at.fence, step=at.step, committed=at.state, working=self._working, dry=at.dry)
        packed = (codec.encode(msgspec.msgpack.encode(stand)), codec.encode(msgspec.msgpack.encode(heard)))
        delay, said = FIRST_BACKOFF_S, ""
        for _ in range(BROKEN_MOST):
            try:
                outcome = await self.boxes.step(self.run, self.app_dir, self.manifest.entry, (self.params, *packed))
                if outcome.status not in ("broken", "stopped"):
                    return outcome
                said = outcome.detail
            except SandboxRefused as error:
                said = error.message
            except UnitFailed as error:
                raise Misstep(f"{_last_line(error.message)} (the app, loaded where its run is hosted)") from error
            await self.boxes.drop(self.run)
            await asyncio.sleep(delay)
            delay *= 2
        raise Misstep(f"sandbox: the box of the hosted driver failed {BROKEN_MOST} times: {_last_line(said)}")


def _checked(outcome: Outcome, at: Position, heard: Answers) -> Made:
    """Return what a step made, if the server could take it. Raises Misstep."""
    if outcome.value is None:
        raise Misstep(
            f"{outcome.reason}: the hosted driver {'went beyond its limit' if outcome.status == 'limit' else 'ended'} "
            f"in step {at.step + 1}: {_last_line(outcome.detail)}"
        )
    try:
        made = msgspec.msgpack.decode(codec.decode(outcome.value), type=Made)
        if made.step is not None:
            _check(made.step, at, heard)
    except (msgspec.MsgspecError, CodecError, TypeError, UnicodeDecodeError, RecursionError) as error:
        raise Misstep(f"codec: step {at.step + 1} of the hosted driver makes no sense: {error}") from None
    if len(made.working) > MAX_STATE_BYTES:
        raise Misstep(f"codec: the hosted driver's state has {len(made.working)} bytes; {MAX_STATE_BYTES} are kept")
    wake_at = made.wake_at if math.isfinite(made.wake_at) else 0.0
    return msgspec.structs.replace(made, wake_at=wake_at)


def _check(step: Step, at: Position, heard: Answers) -> None:
    """Raise Misstep or CodecError unless a step follows, folds what was heard and is not too long."""
    if (step.fence, step.step) != (at.fence, at.step + 1):
        raise Misstep(f"codec: the hosted driver made step {step.step} in place of step {at.step + 1}")
    if not {*step.folded} <= {answer.unit for answer in heard.answers}:
        raise Misstep(f"codec: step {step.step} of the hosted driver folds what it has not heard of")
    if len(step.state) > MAX_STATE_BYTES:
        raise Misstep(f"codec: the hosted driver's state has {len(step.state)} bytes; {MAX_STATE_BYTES} are kept")
    if len(msgspec.msgpack.encode(step)) > MAX_BODY_BYTES:
        raise Misstep(f"output: step {step.step} of the hosted driver has more than {MAX_BODY_BYTES} bytes")
    for data in filter(None, (step.state, step.progress, step.result)):
        codec.decode(data)
    if step.finished and step.result is None:
        raise Misstep(f"codec: step {step.step} of the hosted driver ends the run without an answer")
    if step.result is not None and not step.finished:
        raise Misstep(f"codec: step {step.step} of the hosted driver has an answer before its end")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing was said")
