"""A run and its driver: how it is made, what a step commits, and the answers that come of it."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dsage.account import Count, Message
from dsage.inputs import MAX_INPUTS, Name, Sha256
from dsage.trust.envelope import Envelope
from dsage.wire.limits import MANY

MAX_RETRIES: Final = 50
"""More failures than this teach nobody anything, and every event of a unit looks at all its copies."""
MAX_TITLE: Final = 200
MAX_CHECK: Final = 2000
MAX_FACTS: Final = 32
MAX_FACT: Final = 2000
"""What a discovery may say (characters): its title, its check, each of so many facts."""
MAX_DISCOVERIES: Final = 1000
"""Discoveries of one step."""


class SubmitRun(Message):
    """Create a run. The same `Authorisation.run_key` twice is one run.

    `priority` orders the runs of one researcher; `platforms` (prefixes) and `tags` say which hosts may get its units.
    A `hosted` run is driven by the server's own drivers.
    """

    manifest: Envelope
    authorisation: Envelope
    params: bytes
    state: bytes
    priority: Annotated[int, msgspec.Meta(ge=-100, le=100)] = 0
    platforms: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=16)] = []
    tags: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=16)] = []
    hosted: bool = False


class RunCreated(Message):
    """The run's number, and whether this call made it."""

    run: int
    created: bool


class Drive(Message):
    """A driver takes over: the new fence shuts out older drivers."""

    fence: int
    step: int
    state: bytes
    state_of_run: str
    params: bytes
    manifest: Envelope
    open_units: int


class NewUnit(Message):
    """A unit to make in a step; `args` and limits as in dsage.Unit, `inputs` as hashes of blobs by name.

    One that `splits` is given up as soon as one computer's time limit was passed: its author makes smaller ones of it.
    `retries` is how many failures are followed by another try; None leaves it to the server. Of an `adaptive` one the
    answer of a computer that has proved itself is taken alone, as far as it is not drawn to be checked.
    """

    key: str
    args: bytes
    group: str = ""
    credit_milli: int = 1000
    quorum: int = 2
    deadline_s: float = 3600.0
    cpu_s: float = 3600.0
    wall_s: float = 7200.0
    memory_bytes: int = 1 << 30
    disk_bytes: int = 256 << 20
    output_bytes: int = 4 << 20
    inputs: Annotated[dict[Name, Sha256], msgspec.Meta(max_length=MAX_INPUTS)] = {}
    splits: bool = False
    retries: Annotated[int, msgspec.Meta(ge=0, le=MAX_RETRIES)] | None = None
    adaptive: bool = False


class Discovered(Message):
    """Something that a unit's answer shows, as its author declares it: `facts` by name, `check` a line of Python."""

    unit: Count
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TITLE)]
    facts: Annotated[
        dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[str, msgspec.Meta(max_length=MAX_FACT)]],
        msgspec.Meta(max_length=MAX_FACTS),
    ] = {}
    check: Annotated[str, msgspec.Meta(max_length=MAX_CHECK)] = ""


class Step(Message, kw_only=True):
    """What a driver commits at once: results folded, answers taken back, new state, new units, groups cancelled,
    discoveries declared, the end.

    `replicas` are those of the answers folded (`Answer.replica`), in the same order: an answer that was refused after
    the driver had heard it is not folded. Left out, nothing is compared.
    """

    fence: Count
    step: Count
    folded: Annotated[list[Count], MANY] = []
    replicas: Annotated[list[Count], MANY] = []
    retracted: Annotated[list[Count], MANY] = []
    units: Annotated[list[NewUnit], MANY] = []
    cancel_groups: Annotated[list[str], MANY] = []
    discoveries: Annotated[list[Discovered], msgspec.Meta(max_length=MAX_DISCOVERIES)] = []
    state: bytes
    progress: bytes = b""
    finished: bool = False
    failed: str = ""
    result: bytes | None = None


class StepReply(Message):
    """The step stands; `hungry` is how many more units volunteers could start on now."""

    step: int
    hungry: int


class Answer(Message):
    """A unit that ended, to be folded: `value` of the canonical result, which is that of `replica`, or why it failed.

    `code` is the reason of a failure as one word ("cpu", "wall", "memory", "exception", ...); `cpu_s` and `wall_s` are
    what the computer that brought the canonical result says it took.
    """

    unit: int
    key: str
    group: str
    args: bytes
    value: bytes | None
    failed: str = ""
    code: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    replica: int = 0


class Answers(Message):
    """The next answers that no step has folded, how hungry volunteers are, and what is still open.

    `retracted` are answers that a step has folded and that do not hold any more, with the old value: the driver takes
    them back in its next step, or asks for a replay.
    """

    answers: list[Answer] = []
    hungry: int = 0
    open_units: int = 0
    state_of_run: str = ""
    retracted: list[Answer] = []


class Replay(Message):
    """Go back to before the first step that folded an answer which does not hold any more; the reply is a Drive."""

    fence: Count


class Remainder(Message):
    """What is left of a run: units that have not ended, to be made again elsewhere; `more`, after the unit `last`."""

    units: list[NewUnit] = []
    last: int = 0
    more: bool = False
