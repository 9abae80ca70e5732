"""Packed source in this process: each bundle by itself."""

from __future__ import annotations

import dataclasses
import sys
import traceback
import typing
from typing import Any

import pytest

from dsage import codec
from dsage.errors import BundleError
from dsage.shipping import load
from dsage.shipping.worlds import PREFIX

MAIN = """from __future__ import annotations
import json
import helper
from helper import VALUE
from pack.inner import Thing
import pack.inner as inner
from dsage import DistributedFunction


class Main(DistributedFunction):
    @staticmethod
    def compute(args):
        import late
        from pack import later
        assert VALUE == helper.VALUE == inner.VALUE == later.VALUE
        return [VALUE, late.VALUE, Thing(1).x, json.dumps(args)]

    @staticmethod
    def verify(thing: Thing, value):
        raise ValueError("here")
"""


def bundle(number: int, **more: str) -> bytes:
    files = {
        "main.py": MAIN,
        "helper.py": f"VALUE = {number}\n",
        "late.py": f"import helper\nVALUE = helper.VALUE + {number}\n",
        "pack/__init__.py": "",
        "pack/inner.py": "from dataclasses import dataclass\nfrom helper import VALUE\n\n"
        "@dataclass\nclass Thing:\n    x: int\n",
        "pack/later.py": "from .inner import VALUE\n",
        **more,
    }
    return codec.encode({"files": {name: text.encode() for name, text in files.items()}})


def test_two_bundles_with_modules_of_the_same_names() -> None:
    before = {name: module for name, module in sys.modules.items() if not name.startswith(PREFIX)}
    one, two = load(bundle(1), "main:Main"), load(bundle(2), "main:Main")
    for _ in range(2):
        assert one.compute(5) == [1, 2, 1, "5"]
        assert two.compute(5) == [2, 4, 1, "5"]
    after = {name: module for name, module in sys.modules.items() if not name.startswith(PREFIX)}
    assert after.keys() - before.keys() <= {"json"}
    assert not {"helper", "main", "late", "pack"} & after.keys()
    assert load(bundle(1), "main:Main") is one


def test_types_of_a_world_can_be_looked_up() -> None:
    kind = load(bundle(3), "main:Main")
    thing: Any = typing.get_type_hints(kind.verify)["thing"]
    assert dataclasses.is_dataclass(thing)
    assert thing.__module__.startswith(PREFIX)


def test_a_traceback_shows_the_line() -> None:
    kind = load(bundle(4), "main:Main", folder="/somewhere")
    with pytest.raises(ValueError, match="here") as caught:
        kind.verify(1, 2)
    text = "".join(traceback.format_exception(caught.value))
    assert '"/somewhere/main.py", line 20' in text
    assert 'raise ValueError("here")' in text


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("main:Missing", "no main:Missing of its own"),
        ("main:DistributedFunction", "no main:Dist"),
        ("main:Main.compute", "no main:Main.compute"),
        ("missing:Main", "ModuleNotFoundError"),
        ("json:JSONDecoder", "ModuleNotFoundError"),
        ("broken:Main", "SyntaxError"),
        ("fails:Main", "ZeroDivisionError"),
    ],
)
def test_what_is_not_there(entry: str, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        load(bundle(5, **{"broken.py": "def", "fails.py": "1 / 0"}), entry)
