"""How runs and calls are to be treated, and what is read out of what people give."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

from dsage.calls import Call
from dsage.errors import UsageError
from dsage.function import DistributedFunction, Limits, Unit

FIXED: Final = ("result", "done", "wake_at", "units_taken")
"""Attributes that every function has: they are state, no parameters."""


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
    `retries` is after how many failures a unit is tried again."""

    timeout: float
    retries: int
    memory: int
    quorum: int
    credit: float
    deadline_s: float
    inputs: Mapping[str, str | Path]
    needs: Sequence[str]


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
