"""Tables of the documents that are made from the code when the site is built.

`:::{from-code} NAME` in a document stands for the table `TABLES[NAME]()`, which reads the code's own tables: what the
site shows cannot differ from what the programs do. A name that nobody knows, or a table that has gone, ends the build.
Errors and settings are not here: their tables stand in files that the programs' hints name, and a test compares them.
"""

from __future__ import annotations

import ast
import inspect
import posixpath
from collections.abc import Callable, Iterable
from enum import StrEnum
from itertools import pairwise
from pathlib import PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from dsage import calibration, errors, states, stepping
from dsage.account import Privacy
from dsage.cli.completion import Everything
from dsage.trust import ceremony
from dsage_client.consent import SHOWN
from dsage_server import badges, sessions, signing
from dsage_server.store import accounts, credit, exports, open_links, schema, visits
from dsage_validator import deciding, issuing, unit

if TYPE_CHECKING:
    from sphinx.application import Sphinx

EVERY: Final = Everything(name="dsage")
"""The `dsage` command with all below it, as sphinx-click wants it."""
OF_A_PERSON: Final = frozenset({"volunteer_id", "founder_id", "host_id"})
"""A table with one of these columns, or of these itself, holds something of a volunteer."""
_SPANS: Final = ((365 * 86400, "years"), (86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
_WORDS: Final = {
    "running": "hands out units and folds their answers",
    "done": "has its answer",
    "unsent": "is to be sent out",
    "credit_host": "What each computer has earned, and how many of its answers were right.",
    "credit_sum": "What each volunteer has earned, and whether the leaderboard may show it.",
    "passkey": "Keys by which a volunteer logs in to the pages, if they made one; the private half never leaves them.",
    "recovery": "The hash of a code by which a volunteer comes back to the pages, if they asked for one.",
    "proof": "What a computer signed when it reported, so that answers can be checked again.",
    "replica": "Each copy of a unit: with which computer, until when, and what came of it.",
    "export": "your pseudonym, team and credit, and kind, cores and credit of your computers, in the daily files",
}
"""What the programs have no sentence for, because they never say it in a table."""
_SHAPES: Final = {"valid": "✓", "done": "✓", "failed": "✗", "invalid": "✗", "error": "✗"}


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def span(seconds: float) -> str:
    """Return a duration in the largest unit that leaves no more than one digit behind the point."""
    size, unit = next((size, unit) for size, unit in _SPANS if seconds >= size or size == 1)
    number = f"{seconds / size:.3g}" if seconds / size < 100 else f"{seconds / size:,.0f}"
    return f"{number} {unit.removesuffix('s') if number == '1' else unit}"


def first_line(thing: object) -> str:
    """Return the first line of what a docstring says."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def moves(kind: type[StrEnum]) -> str:
    """Return the states of a kind of thing: what each means, and what it may become."""
    rows = []
    for state, ways in states.MOVES[kind].items():
        after = " ".join(f"`{way}`" for way in kind if way in ways)
        name = f"{_SHAPES.get(state, '●' if ways else '■')}&nbsp;`{state}`"
        rows.append([name, states.MEANING.get(state, _WORDS.get(state, "")), after or "nothing: it is final"])
    return table(["state", "meaning", "may become"], rows)


def life_limits() -> str:
    """Return after what a unit is given up, or a volunteer not asked again."""
    return table(
        ["limit", "number"],
        [
            ["copies beyond the quorum before a unit is given up", deciding.EXTRA_REPLICAS],
            ["errors before a unit is given up", deciding.MAX_ERRORS],
            ["volunteers who must have seen them", deciding.MIN_ERROR_VOLUNTEERS],
            ["errors on one unit after which a volunteer is not asked again", issuing.ERRORS_PER_VOLUNTEER],
            ["copies handed back or never answered, the same", issuing.LOSSES_PER_VOLUNTEER],
        ],
    )  # fmt: skip


def trust_levels() -> str:
    """Return how far the word of a computer is taken."""
    meanings = _literals(unit)
    rows = [[f"`{level.name.lower()}`", meanings.get(level.name, "Nobody knows it yet.")] for level in unit.Trust]
    return table(["level", "meaning"], rows)


def reference_sets() -> str:
    """Return the published work that defines the reference core."""
    rows = [[f"`{each.name}`", first_line(each.work), each.reference_s, each.answer] for each in calibration.SETS]
    return table(["set", "work", "seconds", "answer"], rows)


def credit_figures() -> str:
    """Return the numbers of credit."""
    rows = ", ".join(f"`{kind}` ({sign:+d})" for kind, sign in credit.COUNTED.items())
    return table(
        ["figure", "value"],
        [
            ["one credit", "1 minute of one core of the reference computer"],
            ["kept to", "a thousandth"],
            ["the most that a unit may be worth", f"{stepping.MOST_CREDIT:,} credits"],
            ["the recent average forgets half in", span(credit.HALF_LIFE_S)],
            ["kinds of ledger rows that count", rows],
        ],
    )  # fmt: skip


def badge_levels() -> str:
    """Return the ten badges of an app, and how long one reference core works for each."""
    rows = [[number, f"{level:,}", span(60 * level)] for number, level in enumerate(badges.LEVELS, 1)]
    return table(["badge", "credits of the app", "one reference core takes"], rows)


def badge_events() -> str:
    """Return what other badges there are, and the weeks that streaks forgive."""
    rows = [[title, meaning] for title, meaning in badges.EVENTS.values()]
    rows.append(["Streak", f"weeks in a row with a right answer; {badges.FREE} weeks of a quarter may pass without"])
    rows.append(["Steady hands", f"how many of the last {badges.STEADY_WEEKS} whole weeks had a right answer"])
    return table(["badge", "for"], rows)


def consents() -> str:
    """Return what a volunteer may let others see, and how it stands before they say so."""
    rows = []
    for field in msgspec.structs.fields(Privacy):
        meaning = SHOWN.get(field.name) or _WORDS.get(field.name, f"what `dsage privacy --show {field.name}` says")
        rows.append([f"`{field.name}`", "on" if field.default else "off", meaning])
    return table(["switch", "at first", "others see"], rows)


def kept() -> str:
    """Return every table of the server that holds something of a volunteer, with its columns."""
    rooms = [room for room in vars(schema).values() if isinstance(room, ModuleType)]
    meanings = {name: text for room in rooms for name, text in _literals(room).items()}
    rows = []
    for each in schema.metadata.sorted_tables:
        names = [str(column.name) for column in each.columns]
        if OF_A_PERSON & set(names) or f"{each.name}_id" in OF_A_PERSON:
            rows.append(
                [
                    f"`{each.name}`",
                    " ".join(f"`{name}`" for name in names),
                    meanings.get(each.name) or _WORDS.get(each.name, ""),
                ]
            )
    return table(["table", "columns", "what they are"], rows)


def spans() -> str:
    """Return how long things are kept or good for."""
    return table(
        ["what", "for how long"],
        [
            ["a login's challenge", span(sessions.CHALLENGE_S)],
            ["a login's token, of which the server has a hash only", span(sessions.TOKEN_S)],
            ["a link for one more computer of yours (`dsage link`)", span(accounts.LINK_S)],
            ["a link to your own page (`dsage me`)", span(visits.LINK_S)],
            ["a browser's login, of which the server has a hash only, without a visit", span(visits.IDLE_S)],
            ["a browser's login in any case", span(visits.LONGEST_S)],
            ["who joined by a public link, as a keyed hash of the network", span(open_links.HOUR_S)],
            ["the number of who left the daily files, so that statistics sites forget them", span(exports.KEPT_S)],
            ["the signature of a unit that waits", span(signing.UNIT_VALID_S)],
            ["`root.json`, the signed list of keys", span(86400 * ceremony.ROOT_DAYS)],
            ["a researcher's certificate, unless the operator says otherwise", span(86400 * ceremony.CODE_KEY_DAYS)],
            ["the ledger and the sums of credit", "for good; after an erasure they lead to a number and to nobody"],
        ],
    )  # fmt: skip


def error_tree() -> str:
    """Return the classes of errors that the SDK raises, as they stem from one another."""
    return "\n".join(_branch(errors.DSageError, 0))


TABLES: Final[dict[str, Callable[[], str]]] = {
    "badge-events": badge_events,
    "badge-levels": badge_levels,
    "consents": consents,
    "credit-figures": credit_figures,
    "error-tree": error_tree,
    "kept": kept,
    "life-limits": life_limits,
    "reference-sets": reference_sets,
    "replica-states": lambda: moves(states.ReplicaState),
    "run-states": lambda: moves(states.RunState),
    "spans": spans,
    "trust-levels": trust_levels,
    "unit-states": lambda: moves(states.UnitState),
}


class FromCode(SphinxDirective):
    """`:::{from-code} NAME`: one of TABLES."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in TABLES:
            raise self.error(f"from-code knows no table {name!r}, but {', '.join(TABLES)}")
        self.env.note_dependency(__file__)
        return self.parse_text_to_nodes(TABLES[name]())


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of the directive."""
    app.add_directive("from-code", FromCode)
    app.connect("doctree-resolved", call_by_title)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def call_by_title(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Give links that read as the name of a file, as they do in a checkout, the title of that page."""
    here = PurePosixPath(name).parent
    for link in doctree.findall(nodes.reference):
        written = link.astext()
        target = posixpath.normpath(here / written.removesuffix(".md"))
        if link.get("internal") and written.endswith(".md") and target in app.env.titles:
            link.clear()
            link += [child.deepcopy() for child in app.env.titles[target].children]


def _literals(module: ModuleType) -> dict[str, str]:
    """Return what stands, as a text of its own, right below each name that a module or a class in it assigns."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Module | ast.ClassDef):
            for before, after in pairwise(node.body):
                match before, after:
                    case (
                        (ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name))),
                        ast.Expr(value=ast.Constant(value=str(text))),
                    ):
                        found[name] = " ".join(inspect.cleandoc(text).split())
    return found


def _branch(kind: type[errors.DSageError], depth: int) -> Iterable[str]:
    if kind.__module__ == errors.__name__:
        yield f"{'  ' * depth}* `{kind.__name__}` (`{kind.code}`): {first_line(kind)}"
        for below in sorted(kind.__subclasses__(), key=lambda each: each.__name__):
            yield from _branch(below, depth + 1)
