"""The projects: what each is for, what it ran, and what that was worth."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection

from dsage import wire
from dsage.errors import NotFound
from dsage.states import OPEN_UNITS
from dsage_server.store import discoveries, portfolio, views
from dsage_server.web.page import Asked, Document, Page
from dsage_server.web.public.lines import RunLine, run_line

PERIOD_S: Final = 10.0
RUNS: Final = 30
FINDS: Final = 20
LINKS: Final = ("https://", "http://")
"""What a project's own address may begin with to be a link."""


class ProjectLine(msgspec.Struct, kw_only=True):
    """A project in a few words; `units` are by state, `share` of them are over."""

    name: str
    title: str
    purpose: str
    by: str
    runs: int
    running: int
    units: dict[str, int]
    share: float | None
    credit: float


class ProjectsPage(Document, kw_only=True):
    """All projects, those first that have runs which go on."""

    schema: ClassVar[str] = "dsage.projects/1"
    projects: list[ProjectLine]


class AppLine(msgspec.Struct, kw_only=True):
    """A version of the app that its project calls `entry`, by the hash of its signed manifest; `bundle` is the hash of
    its source.

    `value` is the credit of a valid copy on average, `taken_back` how often a grant was reversed; `rule` is how its
    answers are held against each other: "verify", "close", "detections", "image", "own" or "exact".
    """

    hash: str
    entry: str
    title: str
    bundle: str
    bundle_bytes: int
    needs: list[str]
    rule: str
    runs: int
    first: float
    credit: float
    valid: int
    value: float
    taken_back: int


class ProjectPage(Document, kw_only=True):
    """One project; `again` are copies that were sent once more: lost, failed, late or refused."""

    schema: ClassVar[str] = "dsage.project/1"
    project: ProjectLine
    ethics: str
    link: str
    changed: float | None
    researchers: int
    again: int
    valid_copies: int
    runs: list[RunLine]
    apps: list[AppLine]
    discoveries: list[wire.DiscoveryView]


def projects_page(connection: Connection, asked: Asked) -> ProjectsPage:
    """Return all projects."""
    said, sums = portfolio.described(connection), portfolio.sums(connection)
    lines = [_line(name, said.get(name), sums.get(name)) for name in sorted(said.keys() | sums.keys())]
    return ProjectsPage(projects=sorted(lines, key=lambda line: (not line.running, -line.credit))[: portfolio.MOST])


def project_page(connection: Connection, asked: Asked) -> ProjectPage:
    """Return one project; raises NotFound."""
    name = asked.path["slug"]
    said, sums = portfolio.described(connection).get(name), portfolio.sums(connection, name).get(name)
    if said is None and sums is None:
        raise NotFound(f"there is no project {name[:60]!r}")
    line = _line(name, said, sums)
    runs = [run_line(views.run_view(connection, each, asked.now)) for each in portfolio.runs_of(connection, name, RUNS)]
    apps = [_app(each) for each in portfolio.apps(connection, name)]
    line.title = said.title if said and said.title else (apps[0].title if apps else name)
    finds = [discoveries.public(connection, number=each) for each in portfolio.finds_of(connection, name, FINDS)]
    copies = sums.copies if sums else {}
    return ProjectPage(
        project=line, ethics=said.ethics if said else "",
        link=said.link if said and said.link.startswith(LINKS) else "", changed=said.changed if said else None,
        researchers=portfolio.researchers_of(connection, name),
        again=sum(copies.get(state, 0) for state in AGAIN), valid_copies=copies.get("valid", 0), runs=runs, apps=apps,
        discoveries=[view for some in finds for view in some],
    )  # fmt: skip


AGAIN: Final = ("expired", "error", "returned", "aborted", "invalid", "redundant")


def _line(name: str, said: wire.ProjectView | None, sums: portfolio.Sums | None) -> ProjectLine:
    units = sums.units if sums else {}
    made = sum(units.values())
    going = sum(units.get(state, 0) for state in OPEN_UNITS)
    return ProjectLine(
        name=name, title=said.title if said and said.title else name, purpose=said.purpose if said else "",
        by=said.by if said else "", runs=sums.runs if sums else 0, running=sums.running if sums else 0, units=units,
        share=1 - going / made if made else None, credit=sums.amount_milli / 1000 if sums else 0.0,
    )  # fmt: skip


def _app(app: portfolio.App) -> AppLine:
    signed = app.manifest
    return AppLine(
        hash=app.hash, entry=signed.entry, title=signed.title, bundle=signed.bundle, bundle_bytes=signed.bundle_bytes,
        needs=signed.needs, rule=_rule(app), runs=app.runs, first=app.first, credit=app.amount_milli / 1000,
        valid=app.valid, value=app.amount_milli / 1000 / app.valid if app.valid else 0.0, taken_back=app.taken_back,
    )  # fmt: skip


def _rule(app: portfolio.App) -> str:
    signed = app.manifest
    if signed.has_verify:
        return "verify"
    if signed.rule is not None:
        return type(signed.rule).__name__.lower()
    return "own" if signed.has_agree else "exact"


PAGES: Final = (
    Page(template="projects", route="/projects", load=projects_page, document=ProjectsPage, period_s=PERIOD_S),
    Page(
        template="project", route=r"/project/{slug:[\w.-]+?}", load=project_page, document=ProjectPage,
        period_s=PERIOD_S,
    ),
)  # fmt: skip
