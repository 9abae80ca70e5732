"""What people see: the same structs feed the pages, `watch` and `status`."""

from __future__ import annotations

from dsage.account import Message


class ProjectView(Message):
    """What is said of a project, by whom, since when (Unix seconds)."""

    name: str
    title: str
    purpose: str
    ethics: str
    link: str
    by: str
    changed: float


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
