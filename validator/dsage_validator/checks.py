"""The validator's service: judges answers by the rule that an app declares, or by its own functions.

A rule is data, followed by our code. An app's own `verify`, `agree` and `partial` are its author's code meeting a
stranger's data, so they run in the same box as the work itself, one warm box per app version; so does a rule that is
dear. What a check says never depends on who answered. A check that crashes, runs out of time or says what it cannot say
of an answer counts as "this answer is wrong", and the run's researcher is told: the app gets a good look at the next
one, and a unit whose every answer breaks the check ends as failed with that reason.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from dsage import codec
from dsage.agreement import Rule, Unfit
from dsage.errors import CodecError, UnitFailed
from dsage.trust.documents import Manifest
from dsage_validator.camps import Standing, camps

T = TypeVar("T")

LARGE: Final = 1 << 14
"""Answers of more bytes are read beside the loop."""
SHOWN: Final = 200
"""Characters of what an app's code gave, where that is told."""


class NoOpinion(Exception):
    """A check failed on an answer, or said what it cannot say; the message is for the researcher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An answer to judge: `value` is its canonical bytes.

    `partial` if it is what was done before a stop; `alone` if its unit was cancelled, so that no other answer will
    ever confirm it: it is worth what it proves, or the share of the work that it shows.
    """

    replica: int
    value: bytes
    partial: bool
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said of one answer. `trouble` is what went wrong in judging it, in a sentence."""

    replica: int
    camp: int
    proof: bool | None
    share: float
    trouble: str = ""


class Judge(Protocol):
    """Calls one of the app's static functions on canonical bytes."""

    async def ask(self, function: str, *args: bytes) -> Any:
        """Return the decoded answer. Raises NoOpinion if the call failed."""
        ...


async def judge(
    judge: Judge | None,
    manifest: Manifest,
    args: bytes,
    standing: Sequence[Standing],
    candidates: Sequence[Candidate],
) -> list[Verdict]:
    """Return a verdict for each candidate, and for each standing answer that its camp may have changed.

    Without a `judge` there is no box: for apps whose manifest needs none.
    """
    bench = _Bench(judge, manifest, args)
    verdicts: list[Verdict] = []
    pool, proofs = list(standing), dict[int, bool | None]()
    for candidate in candidates:
        proof = await bench.proof(candidate)
        if proof is False:
            verdicts.append(bench.verdict(candidate.replica, proof=False, share=0.0))
        elif candidate.partial or (candidate.alone and proof is None):
            verdicts.append(bench.verdict(candidate.replica, share=await bench.share(candidate)))
        else:
            proofs[candidate.replica] = proof
            pool.append(Standing(replica=candidate.replica, value=candidate.value, leads=proof is True))
    found = await camps(pool, bench.near)
    return verdicts + [bench.verdict(number, camp=camp, proof=proofs.get(number)) for number, camp in found.items()]


class _Bench:
    """Asks what is to be asked about the answers of one unit, and notes what went wrong with which of them."""

    def __init__(self, judge: Judge | None, manifest: Manifest, args: bytes) -> None:
        self._judge = judge
        self._manifest = manifest
        self._args = args
        self._troubles: dict[int, str] = {}
        self._read: dict[int, Any] = {}

    async def proof(self, candidate: Candidate) -> bool | None:
        """Say whether an answer proves itself: False also for what is no value, and for none under the rule."""
        self._troubles[candidate.replica] = ""
        try:
            await _beside(_check_value, candidate.value)
            rule = self._manifest.rule
            if candidate.partial:
                return None
            if rule is not None and not rule.boxed:
                await _beside(self._reading, candidate.value, rule, candidate.replica)
            return await self._ask("verify", bool | None, candidate.value) if self._manifest.has_verify else None
        except Unfit as error:
            self._troubles[candidate.replica] = f"by the rule {self._manifest.rule}, the answer {error}"
        except NoOpinion as error:
            self._troubles[candidate.replica] = str(error)
        return False

    async def near(self, first: Standing, second: Standing) -> bool:
        """Say whether two answers are the same; not if nobody can say so."""
        rule = self._manifest.rule
        try:
            if rule is not None and not rule.boxed:
                return await _beside(self._same, max(first.value, second.value, key=len), rule, first, second)
            if rule is not None or self._manifest.has_agree:
                return bool(await self._ask("agree", bool, first.value, second.value))
        except NoOpinion as error:
            fresh = second if second.replica in self._troubles else first
            self._troubles[fresh.replica] = str(error)
        except Unfit:
            pass
        return False

    async def share(self, candidate: Candidate) -> float:
        """Return what share of its unit an answer shows to be done, by the app's word."""
        if not self._manifest.has_partial:
            return 0.0
        try:
            said = await self._ask("partial", int | float, candidate.value, codec.encode(secrets.randbits(48)))
            if 0 <= said <= 1:
                return float(said)
            raise NoOpinion(f"partial gave {said!r}, where a number from 0 to 1 belongs")
        except NoOpinion as error:
            self._troubles[candidate.replica] = str(error)
        return 0.0

    def verdict(
        self, replica: int, *, camp: int | None = None, proof: bool | None = None, share: float = 1.0
    ) -> Verdict:
        """Return the verdict on an answer, by default in a camp of its own."""
        where, trouble = replica if camp is None else camp, self._troubles.get(replica, "")
        return Verdict(replica=replica, camp=where, proof=proof, share=share, trouble=trouble)

    async def _ask(self, function: str, wanted: Any, *values: bytes) -> Any:
        if self._judge is None:
            raise UnitFailed(f"{function} can be asked in a sandbox only, and there is none here")
        said = await self._judge.ask(function, self._args, *values)
        if not isinstance(said, wanted):
            raise NoOpinion(f"{function} gave {repr(said)[:SHOWN]}, where {_WORDS[function]} belongs")
        return said

    def _reading(self, value: bytes, rule: Rule, replica: int) -> Any:
        if replica not in self._read:
            self._read[replica] = rule.read(codec.decode(value))
        return self._read[replica]

    def _same(self, _: bytes, rule: Rule, first: Standing, second: Standing) -> bool:
        one, other = (self._reading(each.value, rule, each.replica) for each in (first, second))
        return rule.same(one, other)


_WORDS: Final = {
    "verify": "True, False or None",
    "agree": "True or False",
    "partial": "a number from 0 to 1",
}


async def _beside(function: Callable[..., T], value: bytes, *args: Any) -> T:
    """Call a function on an answer; beside the loop if it may take a while."""
    if len(value) <= LARGE:
        return function(value, *args)
    return await asyncio.to_thread(function, value, *args)


def is_value(data: bytes) -> bool:
    """Whether bytes are the canonical encoding of a value: nothing else can be an answer."""
    return not _what_is_wrong(data)


def _check_value(data: bytes) -> None:
    if reason := _what_is_wrong(data):
        raise NoOpinion(f"what came is no value: {reason}")


def _what_is_wrong(data: bytes) -> str:
    try:
        return "" if codec.encode(codec.decode(data)) == data else "it is not in canonical form"
    except CodecError as error:
        return error.message
