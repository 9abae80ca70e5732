"""Arithmetic typed by people: safe, exact, and remembered as it was written.

`11^150+1` is more than a number: it says that the number is a sum of two 150th powers, which is worth more than any
amount of computing. So the parser returns the value and the binomials a^k ± b^k that it met on the way.

    sum     := product (("+" | "-") product)*
    product := signed (("*" | "/") signed)*
    signed  := ("+" | "-") signed | power
    power   := atom (("^" | "**") signed)?        binds to the right: 2^3^2 is 2^9
    atom    := digits | "(" sum ")"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from gmpy2 import mpz

from dsage.errors import UsageError
from dsage_projects.factor.algebra import Binomial, binomial

MAX_DIGITS: Final = 10_000
"""No value on the way to the answer may be longer; a longer one is refused before it is computed."""
MAX_CHARACTERS: Final = 20_000
MAX_DEPTH: Final = 100
"""Nested parentheses, signs and exponents: more than anybody types, and far from the stack's end."""

_LIMIT: Final = int(mpz(10) ** MAX_DIGITS)
_TOKEN: Final = re.compile(r"\s*(?:([0-9]+)|(\*\*|[-+*/^()]))")
_HINT: Final = "Write integers with + - * / ^ and parentheses, for example 11^150+1."


@dataclass(frozen=True, slots=True)
class Expression:
    """An integer and the sums and differences of powers that it was written with."""

    value: int
    binomials: tuple[Binomial, ...]


@dataclass(frozen=True, slots=True)
class _Node:
    """A value and how it was written: |value| = base^exponent."""

    value: int
    base: int
    exponent: int = 1


def evaluate(text: str) -> int:
    """Return the integer that `text` stands for. Raises UsageError."""
    return parse(text).value


def parse(text: str) -> Expression:
    """Return the integer that `text` stands for, with its structure.

    Raises UsageError for anything but integers, + - * / ^ ** and parentheses, for a division with a remainder, and
    for values of more than MAX_DIGITS digits, which are not computed.
    """
    if len(text) > MAX_CHARACTERS:
        _refuse(f"the expression has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    return _Parser(text).whole()


def _refuse(sentence: str) -> NoReturn:
    raise UsageError(sentence, hint=_HINT)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0
        self._binomials: list[Binomial] = []

    def whole(self) -> Expression:
        node = self._sum()
        if self._peek():
            _refuse(f"the expression should end before {self._peek()[:20]!r}")
        return Expression(node.value, tuple(dict.fromkeys(self._binomials)))

    def _sum(self) -> _Node:
        left = self._product()
        while self._peek() in ("+", "-"):
            sign = 1 if self._take() == "+" else -1
            right = self._product()
            self._remember(left, right, sign)
            left = _plain(left.value + sign * right.value)
        return left

    def _product(self) -> _Node:
        left = self._signed()
        while self._peek() in ("*", "/"):
            combine = _times if self._take() == "*" else _over
            left = combine(left, self._signed())
        return left

    def _signed(self) -> _Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            _refuse(f"the expression is nested more than {MAX_DEPTH} deep")
        if self._peek() in ("+", "-"):
            minus = self._take() == "-"
            node = self._signed()
            node = _Node(-node.value, node.base, node.exponent) if minus else node
        else:
            node = self._power()
        self._depth -= 1
        return node

    def _power(self) -> _Node:
        base = self._atom()
        if self._peek() not in ("^", "**"):
            return base
        self._take()
        return _power(base, self._signed().value)

    def _atom(self) -> _Node:
        token = self._take()
        if token == "(":
            node = self._sum()
            if self._take() != ")":
                _refuse("a closing parenthesis is missing")
            return node
        if not token.isdigit():
            _refuse(f"a number is missing before {token!r}" if token else "a number is missing at the end")
        return _plain(int(mpz(token)))

    def _remember(self, left: _Node, right: _Node, sign: int) -> None:
        if left.value < 0:
            sign = -sign
        if right.value < 0:
            sign = -sign
        found = binomial((left.base, left.exponent), (right.base, right.exponent), sign)
        if found is not None:
            self._binomials.append(found)

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._next += 1
        return token


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    text = text.strip()
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            _refuse(f"{text[at : at + 20].strip()!r} is not arithmetic")
        tokens.append(match[1] or match[2])
        at = match.end()
    if not tokens:
        _refuse("the expression is empty")
    return tokens


def _plain(value: int) -> _Node:
    if not -_LIMIT < value < _LIMIT:
        _too_long()
    return _Node(value, abs(value))


def _times(left: _Node, right: _Node) -> _Node:
    if left.value.bit_length() + right.value.bit_length() > _LIMIT.bit_length() + 2:
        _too_long()
    return _plain(left.value * right.value)


def _over(left: _Node, right: _Node) -> _Node:
    if right.value == 0:
        _refuse("the expression divides by zero")
    quotient, rest = divmod(left.value, right.value)
    if rest:
        _refuse("a division in the expression leaves a remainder")
    return _plain(quotient)


def _power(base: _Node, exponent: int) -> _Node:
    if exponent < 0:
        _refuse("the expression has a negative exponent")
    size = base.base.bit_length() - 1
    if size * base.exponent * exponent > _LIMIT.bit_length():
        _too_long()
    if base.base < 2:
        return _plain(base.value ** (exponent % 2 + 2 * (exponent > 1)))
    return _Node(_plain(base.value**exponent).value, base.base, base.exponent * exponent)


def _too_long() -> NoReturn:
    _refuse(f"the expression comes to more than {MAX_DIGITS:,} digits")
