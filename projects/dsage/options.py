"""How runs and calls are to be treated, and what is read out of what people give."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

from dsage.agreement import Close
from dsage.calls import Call
from dsage.errors import UsageError
from dsage.function import DistributedFunction, Limits, Unit
from dsage.inputs import named

FIXED: Final = ("result", "done", "wake_at", "units_taken")
"""Attributes that every function has: they are state, no parameters."""


_NUMBER: Final = (int, float)
_WANTED: Final[dict[str, tuple[Any, float | None, str]]] = {
    "project": (str, None, "the name of a project"),
    "priority": (int, -100, "a whole number from -100 to 100"),
    "key": (str, None, "a word"),
    "timeout": (_NUMBER, 1e-3, "seconds"),
    "retries": (int, None, "a whole number from 0 to 50"),
    "memory": (int, 1, "a number of bytes"),
    "quorum": (int, 1, "how many volunteers must agree: 1 or more"),
    "credit": (_NUMBER, 0, "minutes of the reference core: 0 or more"),
    "deadline_s": (_NUMBER, 1e-3, "seconds"),
    "agree": (Close, None, "a rule for numbers: close(rtol=1e-9)"),
}
"""What the options must be, their least value, and that in words."""


class Options(TypedDict, total=False):
    """How a run is to be treated; the names are those of `dsage submit`. The same `key` twice is one run."""

    project: str
    priority: int
    platforms: Sequence[str]
    tags: Sequence[str]
    key: str


class CallOptions(Options, total=False):
    """How calls are to be treated. `timeout` (s) and `memory` (bytes) are limits of one unit; `quorum` is how many
    volunteers must agree; `credit` (minutes of the reference core) is for one call; `inputs` are files by name;
    `retries` is after how many failures a unit is tried again; `agree` is the rule by which volunteers' answers are the
    same."""

    timeout: float
    retries: int
    memory: int
    quorum: int
    credit: float
    deadline_s: float
    inputs: Mapping[str, str | Path]
    needs: Sequence[str]
    agree: Close


def normal(each: Any) -> Call:
    """Return an input as (arguments, named arguments): a tuple, a dict, a tuple of both, or a single value."""
    if isinstance(each, tuple):
        if len(each) == 2 and isinstance(each[0], tuple) and isinstance(each[1], dict):
            return each
        return each, {}
    if isinstance(each, dict):
        return (), each
    return (each,), {}


def params_of(function: DistributedFunction) -> dict[str, Any]:
    """Return the constructor's parameters, as far as they can be seen: who drives on needs them."""
    kind = type(function)
    public = {name: value for name, value in vars(function).items() if not name.startswith("_") and name not in FIXED}
    if kind.__init__ is DistributedFunction.__init__:
        return public
    taken = inspect.signature(kind).parameters
    return {name: public[name] for name in taken if name in public}


def checked(options: Mapping[str, Any]) -> None:
    """Raise UsageError for an option that there is not, or whose value cannot be."""
    for name, value in options.items():
        if name not in CallOptions.__annotations__:
            near = difflib.get_close_matches(name, CallOptions.__annotations__, 1)
            known = ", ".join(sorted(CallOptions.__annotations__))
            hint = f"Did you mean {near[0]!r}?" if near else f"There are {known}."
            raise UsageError(f"there is no option {name!r}", hint=hint)
        wanted = _WANTED.get(name)
        if wanted is None or value is None:
            continue
        kinds, least, words = wanted
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        if not fits or not (least is None or least <= value < math.inf):
            raise UsageError(f"{name}={value!r} cannot be", hint=f"Give {words}.")
    for name in ("platforms", "tags", "needs"):
        each = options.get(name) or ()
        if isinstance(each, str) or not all(isinstance(word, str) for word in each):
            raise UsageError(f"{name}={each!r} cannot be", hint=f"Give a list of words: {name}=['...'].")
    named(options.get("inputs") or {})


def template(kind: type[DistributedFunction], options: CallOptions) -> tuple[Limits, Unit[Any]]:
    """Return the limits of the calls' units, and a unit like which they all are."""
    like, plain = kind.limits, Unit(None)
    timeout = options.get("timeout")
    if timeout is not None and timeout <= 0:
        raise UsageError(f"a timeout of {timeout} s leaves no time for anything")
    limits = Limits(
        cpu_s=timeout or like.cpu_s, wall_s=timeout or like.wall_s,
        memory_bytes=options.get("memory", like.memory_bytes), disk_bytes=like.disk_bytes,
        output_bytes=like.output_bytes,
    )  # fmt: skip
    return limits, Unit(
        None, credit=options.get("credit", plain.credit), quorum=options.get("quorum", plain.quorum),
        deadline_s=options.get("deadline_s", plain.deadline_s), limits=limits, inputs=options.get("inputs", {}),
        retries=options.get("retries"),
    )  # fmt: skip
