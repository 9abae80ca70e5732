"""The messages of the machine API: what travels between clients, drivers and the server.

Bodies are MessagePack of these structs (errors are problem+json). Every request carries the protocol version in
the header `DSage-Protocol`. Sizes are capped before parsing; unknown fields are ignored, so that a newer peer may
say more. docs/protocol.md describes the conversation.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from dsage.account import (
    AccountView,
    BadgesView,
    BadgeView,
    Correction,
    Count,
    DeviceView,
    Leave,
    Left,
    LinkCode,
    Message,
    PageLink,
    Privacy,
    Seconds,
    TeamView,
    TeamWish,
)
from dsage.inputs import MAX_INPUTS, Name, Sha256
from dsage.trust.envelope import Envelope

__all__ = [
    "AccountView",
    "BadgeView",
    "BadgesView",
    "Correction",
    "Count",
    "DeviceView",
    "Leave",
    "Left",
    "LinkCode",
    "Message",
    "PageLink",
    "Privacy",
    "Seconds",
    "TeamView",
    "TeamWish",
]

PROTOCOL: Final = 1
OLDEST_PROTOCOL: Final = 1
PROTOCOL_HEADER: Final = "DSage-Protocol"
MEDIA_TYPE: Final = "application/msgpack"

MAX_BATCH: Final = 50
"""Replicas per call, either way."""
MAX_WAIT_S: Final = 50.0
"""The longest that a call is held open: below the 60 s after which many proxies give up."""
MAX_BODY_BYTES: Final = 32 << 20
INPUTS: Final = "inputs"
"""The feature of hosts that can fetch input files: others get no units that have any."""
AGREEMENT: Final = "agreement"
"""The feature of hosts that can read in a manifest how answers are compared (its rule, `homogeneous`): others get no
units of such apps."""
PERTURBED: Final = "perturbed"
"""The feature of hosts that perturb each copy of a unit where its app can: others get no units of such apps."""
MAX_RETRIES: Final = 50
"""More failures than this teach nobody anything, and every event of a unit looks at all its copies."""
MAX_OUTPUT: Final = 16 << 10
"""What is kept of what a replica prints (bytes): its end."""
MANY: Final = msgspec.Meta(max_length=100_000)
"""What a server reads of any list: a longer one, whose values may be a byte each, is refused before objects are made of
it. The limits of each call are narrower."""


MAX_TITLE: Final = 200
MAX_CHECK: Final = 2000
MAX_FACTS: Final = 32
MAX_FACT: Final = 2000
"""What a discovery may say (characters): its title, its check, each of so many facts."""
MAX_DISCOVERIES: Final = 1000
"""Discoveries of one step."""


# -- meeting ---------------------------------------------------------------------------------------------------


class Hello(Message):
    """Who the server is, before any login."""

    server_id: str
    name: str
    protocols: list[int]
    root_version: int
    time: float
    pages_url: str


class ChallengeReply(Message):
    """A single-use number to sign."""

    challenge: bytes
    server_id: str
    valid_s: float


class NameWish(Message):
    """What would a newcomer be called? The body of POST /v1/name, with the code of an invite."""

    code: str


class NameOffer(Message):
    """A pseudonym that is free, good for an enrolment soon; `linked` if the code leads to an account that has it."""

    pseudonym: str
    linked: bool = False


class EnrolReply(Message):
    """A volunteer's new account."""

    volunteer: int
    pseudonym: str


class LoginReply(Message):
    """A bearer token."""

    token: str
    valid_s: float
    name: str


# -- volunteers' clients -----------------------------------------------------------------------------------------


class Report(Message):
    """One finished replica. Its proof is the entry with the same number in the signed ResultBatch.

    `output` is the end of what it printed (at most MAX_OUTPUT bytes): for people to read, no part of the answer.
    """

    replica: Count
    value: bytes | None = None
    cpu_s: Seconds = 0.0
    wall_s: Seconds = 0.0
    detail: str = ""
    output: bytes = b""


class Holding(Message):
    """A replica that the client holds: `cpu_s` is how far its child process has come.

    `output` is the end of what it has printed, if that is more than when the server last heard of it.
    """

    replica: Count
    lease: bytes
    cpu_s: Seconds = 0.0
    suspended: bool = False
    output: bytes = b""


class HostInfo(Message):
    """What a host offers: `offers` names Python packages, `tags` are labels that its owner gave it.

    `features` names what its client can do that older ones cannot. `name` is what its owner calls it among their own
    computers: nobody else sees it, and it is empty unless they gave one. `refuses` are projects it does nothing for.
    """

    client: str
    platform: str
    cores: Count
    memory_bytes: Count
    sandbox: str
    offers: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=64)] = []
    disk_bytes: Count = 0
    tags: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=64)] = []
    features: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=64)] = []
    name: Annotated[str, msgspec.Meta(max_length=64)] = ""
    refuses: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=64)] = []


class Exchange(Message):
    """Report what is done, say what is held, ask for more: the one call of a client.

    `want` is how many further replicas to send (at most MAX_BATCH). With `wait_s` above zero and nothing to say,
    the server holds the call until there is work, something to abort, or the time is over. A newer call of the
    same host ends an older one that is being held.
    """

    reports: Annotated[list[Report], MANY] = []
    proof: Envelope | None = None
    holding: Annotated[list[Holding], MANY] = []
    want: Count = 0
    wait_s: Seconds = 0.0
    host: HostInfo | None = None


class Assignment(Message):
    """A leased replica and the proof of its unit; `batch` names an envelope in ExchangeReply.batches."""

    replica: Count
    lease: bytes
    deadline_s: Seconds
    document: bytes
    index: Count
    path: list[bytes]
    batch: str


class Ack(Message):
    """What became of one report: code "ok", or why it was not taken (the client forgets it either way)."""

    replica: int
    code: str = "ok"
    message: str = ""


class ExchangeReply(Message):
    """What the server says to an Exchange.

    Where there is nothing to do, `reason` says why in one sentence and `reasons` by project; `retry_s` is when to ask
    again. Should the server be away later, a client waits a time drawn from 0 to `spread_s` before its first try.
    """

    acks: list[Ack] = []
    units: list[Assignment] = []
    batches: dict[str, Envelope] = {}
    abort: list[int] = []
    retry_s: Seconds = 0.0
    reason: str = ""
    reasons: dict[str, str] = {}
    spread_s: Seconds = 0.0
    root_version: int = 0


# -- researchers -------------------------------------------------------------------------------------------------


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


class DiscoveryView(Message):
    """A discovery as it stands: `state` is candidate, confirmed or published; times are Unix seconds.

    Only a published one is shown to others than its researcher. `reason` is why it waits or was taken back,
    `correction` why a published one does not hold any more. `finder` sent the first answer that holds it, and the
    `confirmers` the same independently; `proven` says that the answer proves itself. Names are of those who agreed.
    """

    id: int
    run: int
    unit: int
    project: str
    title: str
    facts: dict[str, str]
    check: str
    state: str
    declared: float
    confirmed: float | None = None
    published: float | None = None
    reason: str = ""
    correction: str = ""
    proven: bool = False
    finder: str = ""
    confirmers: list[str] = []
    link: str = ""


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


class Chosen(Message):
    """Which units of a run a retry or a re-opening is for; none: of a retry, all that failed."""

    units: Annotated[list[Count], MANY] = []


class UnitView(Message):
    """A unit as its researcher sees it: `value` of the canonical result; failures, times and `code` as in Answer.

    `attempts` is how many copies were sent to computers.
    """

    unit: int
    key: str
    group: str
    state: str
    args: bytes
    value: bytes | None
    failed: str = ""
    code: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    attempts: int = 0


class UnitPage(Message):
    """Units of a run in the order of their ids; `more` says whether there are further ones after the last."""

    units: list[UnitView] = []
    more: bool = False


class Attempt(Message):
    """One copy of a unit as its researcher sees it: how it ended, and the end of what it printed.

    `detail` is the end of the traceback of one that failed; `ended` is None while it runs.
    """

    unit: int
    replica: int
    state: str
    started: float
    ended: float | None
    reason: str
    detail: str
    output: bytes
    cpu_s: float
    wall_s: float
    platform: str


class TokenWish(Message):
    """A researcher wants a token for a program: the body of POST /v1/researcher/tokens. `lasts_s` is how long."""

    name: str
    scope: Literal["read", "write"] = "read"
    lasts_s: Seconds = 30 * 86400.0


class TokenView(Message):
    """A token of a researcher; times in Unix seconds. Its `secret` is told once, to whom it is made for."""

    id: int
    name: str
    scope: str
    created: float
    expires: float
    used: float | None = None
    revoked: float | None = None
    secret: str = ""


class Remainder(Message):
    """What is left of a run: units that have not ended, to be made again elsewhere; `more`, after the unit `last`."""

    units: list[NewUnit] = []
    last: int = 0
    more: bool = False


# -- views: the same structs feed pages, `watch` and `status` ------------------------------------------------------


class DescribeProject(Message):
    """Say in plain words what a project is for; a `new` one must not have been described before."""

    title: Annotated[str, msgspec.Meta(max_length=200)]
    purpose: Annotated[str, msgspec.Meta(max_length=5000)]
    ethics: Annotated[str, msgspec.Meta(max_length=5000)] = ""
    link: Annotated[str, msgspec.Meta(max_length=500)] = ""
    new: bool = False


class ProjectView(Message):
    """What is said of a project, by whom, since when (Unix seconds)."""

    name: str
    title: str
    purpose: str
    ethics: str
    link: str
    by: str
    changed: float


class Finder(Message):
    """Whose machine brought the accepted answer of a unit; the name only with their consent."""

    unit: int
    pseudonym: str


class RunView(Message):
    """One run as people see it. Counts are of units (`ready` .. `cancelled`) and replicas; `volunteers` earned credit.

    `priority`, `platforms`, `tags` and `hosted` as in SubmitRun; `researcher` is the name of whose it is. Of
    `discoveries` a server tells those that are published; a run on one's own computers tells all.
    """

    run: int
    project: str
    title: str
    app: str
    state: str
    created: float
    finished: float | None
    driver_seen: float | None
    step: int
    units: dict[str, int]
    replicas: dict[str, int]
    credit_milli: int
    volunteers: int
    progress: bytes
    result: bytes | None
    reason: str
    params: bytes
    priority: int = 0
    platforms: list[str] = []
    tags: list[str] = []
    hosted: bool = False
    researcher: str = ""
    discoveries: list[DiscoveryView] = []


class CreditLine(Message):
    """A row of the leaderboard; `pseudonym` is None for the line that sums those who have not opted in."""

    pseudonym: str | None
    credit_milli: int
    recent: float
    valid: int
    last_seen: float | None
    people: int = 1


class Event(Message):
    """Something worth telling: `kind` is a fixed word, `text` a sentence."""

    id: int
    at: float
    kind: str
    text: str
    run: int | None = None
    unit: int | None = None


class StatusView(Message):
    """The server at a glance. `trouble` is why nothing can be written down at the moment, if so."""

    server_id: str
    name: str
    version: str
    time: float
    volunteers: int
    hosts_live: int
    units: dict[str, int]
    replicas: dict[str, int]
    runs: list[RunView]
    trouble: str = ""


# -- joining, and a volunteer's account ----------------------------------------------------------------------------


class ProjectOffer(Message):
    """A project that has work here: its name, and in its people's words what it is for; `by` is who says so."""

    name: str
    title: str
    purpose: str = ""
    by: str = ""
    link: str = ""


class Package(Message):
    """A client that the operator published. `system` is deb, wheel, windows, macos or other; `path` is on the pages."""

    name: str
    system: str
    version: str
    bytes: int
    sha256: str
    path: str


class About(Message):
    """What runs here and for whom, for somebody who has not joined: the reply of GET /v1/about, which needs no login.

    `pages_url` is "" where no visitor reaches the pages. `welcome` says whether newcomers get a welcome unit.
    """

    server_id: str
    name: str
    operator: str = ""
    pages_url: str = ""
    projects: list[ProjectOffer] = []
    packages: list[Package] = []
    welcome: bool = False
