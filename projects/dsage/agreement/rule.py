"""What every rule of agreement has in common."""

from __future__ import annotations

import math
import sys
from typing import Any, ClassVar

import msgspec

from dsage import codec
from dsage.errors import UsageError


class Unfit(ValueError):
    """A value that cannot be an answer under a rule; the message ends the sentence "the answer ...".

    Raised within this package and by those that ask its rules, never to people.
    """


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule"):
    """A rule that says whether two answers are the same: plain data, so that it is signed with the app.

    `boxed` rules may be dear or read what strangers encoded, so they are followed in a sandbox.
    """

    boxed: ClassVar[bool] = False

    def read(self, value: Any) -> Any:
        """Return what is compared of a decoded answer. Raises Unfit if it is no answer under this rule."""
        raise NotImplementedError

    def same(self, a: Any, b: Any) -> bool:
        """Say whether two answers, as `read` gives them, are the same; the order does not matter."""
        raise NotImplementedError

    def __call__(self, args: Any, a: Any, b: Any, /) -> bool:
        """Say whether two answers agree, as a class's own `agree` does. One that is no answer agrees with none."""
        try:
            return self.same(self.read(_plain(a)), self.read(_plain(b)))
        except Unfit:
            return False

    def unfit(self, value: Any) -> str:
        """Return what keeps a value from being an answer, as the end of "the answer ...", or an empty text."""
        try:
            self.read(_plain(value))
        except Unfit as error:
            return str(error)
        return ""

    def __str__(self) -> str:
        """Return the rule as one writes it in a class."""
        said = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__)
        return f"{type(self).__name__.lower()}({said})"


def amount(name: str, value: Any, *, below: float = math.inf) -> None:
    """Raise ValueError unless `value` is a number of at least 0 that is finite and less than `below`."""
    most = "a finite number, 0 or more" if below == math.inf else f"a number from 0 to less than {below:g}"
    if not is_number(value) or not 0 <= value < below:
        raise ValueError(f"{name}={value!r} cannot be: it is {most}")


def is_number(value: Any) -> bool:
    """Say whether this is a float, or an int that can be one."""
    return isinstance(value, float) or (type(value) is int and abs(value) <= sys.float_info.max)


def declared(kind: type[Any], **said: Any) -> Any:
    """Return a rule. Raises UsageError for numbers that make none."""
    try:
        return kind(**said)
    except ValueError as error:
        raise UsageError(f"{kind.__name__.lower()}: {error}", hint="See docs/agreement.md.") from None


def _plain(value: Any) -> Any:
    return codec.decode(codec.encode(value))
