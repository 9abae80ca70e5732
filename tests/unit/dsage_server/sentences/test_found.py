"""The table of sentences: each is found again in what it says, and what the code raises and writes is in it."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from types import ModuleType

import pytest

import dsage.errors
import dsage_server
from dsage.trust import proving
from dsage_server.scheduling import faults
from dsage_server.sentences import refusals
from dsage_server.sentences.found import ALL, find
from dsage_server.sentences.sentence import LONGEST, PLACE, Sentence
from dsage_validator import outliers

HOME = Path(dsage_server.__file__).parent
SEEN = (
    *sorted((HOME / "web").rglob("*.py")),
    *(HOME / "store" / f"{name}.py" for name in (
        "announcements", "api_tokens", "control", "passkeys", "projects", "requests", "teams", "views",
    )),
    Path(proving.__file__), HOME / "control.py", HOME / "certified.py", HOME / "api" / "problems.py",
)  # fmt: skip
"""Where errors are raised that pages show."""
ELSEWHERE = {
    "HTTPStatus(error.status).phrase": "what aiohttp itself refuses, by its HTTP phrase",
    "_ARTICLE": "three sentences, for three roles",
    "has {ended}": "two sentences",
}
"""Errors that are told by their code."""
ERRORS = {name for name, kind in vars(dsage.errors).items() if isinstance(kind, type)}


def samples(sentence: Sentence) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield English texts of a sentence, with the values in them."""
    kinds = {name: kind for form in (sentence.one, sentence.many) for name, kind in PLACE.findall(form)}
    for n in ("1", "17"):
        values = {name: "23" if kind == "d" else f"<{name}>" for name, kind in kinds.items()}
        values |= {"n": n} if "n" in kinds else {}
        whole = {name: int(value) if kinds[name] == "d" else value for name, value in values.items()}
        yield sentence(**whole), values


@pytest.mark.parametrize("sentence", ALL, ids=lambda each: each.one[:40])
def test_a_sentence_is_found_in_what_it_says(sentence: Sentence) -> None:
    for text, values in samples(sentence):
        known = find(text)
        assert known is not None
        assert known.sentence == sentence
        assert known.sentence(**{k: int(v) if v.isdigit() else v for k, v in known.values.items()}) == text
        assert {name: values[name] for name in known.values} == known.values


def test_what_people_write_is_no_sentence_and_very_long_texts_are_given_up_soon() -> None:
    assert find("I went out") is None
    began = process_time()
    assert find("unit 5: " + "the answer of x was found wrong; " * 2000) is None
    find(("unit 5 was given up: " * 100)[:LONGEST])
    assert process_time() - began < 1.0


def test_each_code_of_an_error_that_pages_can_have_is_said_in_words() -> None:
    codes = {kind.code for name, kind in vars(dsage.errors).items() if name in ERRORS and hasattr(kind, "code")}
    assert refusals.CODES.keys() <= codes


def module_of(path: Path) -> ModuleType:
    """Return the server's module in a file."""
    return importlib.import_module(".".join(["dsage_server", *path.relative_to(HOME).with_suffix("").parts]))


def raised() -> Iterator[tuple[str, str, str]]:
    """Yield where an error is made, whether that is its sentence or its hint, and the text with 7 for each value."""
    for path in SEEN:
        names = vars(proving if path == Path(proving.__file__) else module_of(path))
        for call in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ERRORS):
                continue
            for what, node in [("sentence", each) for each in call.args[:1]] + [
                ("hint", each.value) for each in call.keywords if each.arg == "hint"
            ]:
                if not any(known in ast.unparse(node) for known in ELSEWHERE):
                    yield f"{path.name}:{call.lineno}", what, said(node, names)


def said(node: ast.AST, names: dict[str, object]) -> str:
    """Return a text of the code, with 7 for what differs."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(said(part, names) for part in node.values)
    named = node.value if isinstance(node, ast.FormattedValue) else node
    known = names.get(named.id) if isinstance(named, ast.Name) else None
    return known if isinstance(known, str) else "7"


def test_what_pages_refuse_with_is_in_the_table() -> None:
    texts = list(raised())
    assert len(texts) > 100
    assert [(where, text) for where, _, text in texts if text != "7" and find(text) is None] == []


def test_rooms_of_the_table_have_no_sentence_twice() -> None:
    forms = [form for each in ALL for form in (each.one, each.many) if form]
    assert len(forms) == len(set(forms))


def test_what_the_validator_and_the_scheduler_say_is_in_the_table() -> None:
    """Their f-strings, as they stand."""
    missing = []
    for module in (outliers, faults):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        for node in ast.walk(tree):
            values = [
                *([node.value] if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "sentence" else []),
                *([node.value] if isinstance(node, ast.keyword) and node.arg == "sentence" else []),
            ]
            missing += [text for text in (said(each, {}) for each in values) if text != "7" and find(text) is None]
    assert missing == []


def told(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[int, ast.expr]]:
    """Yield the texts of the events that a function notes, and where; a variable's, by what is put into it."""
    put = {ast.unparse(each.targets[0]): each.value for each in ast.walk(function) if isinstance(each, ast.Assign)}
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("note", "events.note") and len(call.args) > 3:
            text = call.args[3]
            yield call.lineno, put.get(text.id, text) if isinstance(text, ast.Name) else text


def test_every_event_is_told_by_a_sentence_of_the_table() -> None:
    allowed = re.compile(r"(news\.[A-Z_]+(\[state\])?|sentence|views\.archived)\(")
    count, others = 0, []
    for path in sorted(HOME.rglob("*.py")):
        tree = ast.parse(path.read_text())
        if path.is_relative_to(HOME / "seeding") or path.name == "events.py":
            continue
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for line, text in told(function):
                    count += 1
                    if not allowed.match(ast.unparse(text)):
                        others.append(f"{path.name}:{line} {ast.unparse(text)}")
    assert others == []
    assert count > 25


def test_every_deed_of_a_researcher_is_told_by_a_sentence_of_the_table() -> None:
    tree = ast.parse((HOME / "control.py").read_text())
    did = [
        call.args[2].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "self.note"
        and isinstance(call.args[2], ast.Constant)
    ]
    assert len(did) > 4
    assert [word for word in [*did, "cancelled"] if find(f"{word} run 7") is None] == []
