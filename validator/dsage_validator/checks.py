"""The validator's service: judges answers by the app's own `verify`, `agree` and `partial`, in a sandbox.

An app's checks are its author's code meeting a stranger's data, so they run in the same box as the work itself,
one warm box per app version. What a check says never depends on who answered. A check that crashes or runs out of
time on an answer counts as "this answer is wrong": the app gets a good look at the next one, and a unit whose
every answer breaks the check ends as failed with that reason.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from dsage import codec
from dsage.errors import CodecError, UnitFailed
from dsage.function import Limits
from dsage.sandbox import Box, Level
from dsage.trust.documents import Manifest

CHECK_LIMITS: Final = Limits(cpu_s=120.0, wall_s=240.0, memory_bytes=1 << 30, disk_bytes=64 << 20, output_bytes=4096)
"""A partial check repeats a single piece of the unit; nothing else here takes longer than milliseconds."""
MAX_BOXES: Final = 4


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
class Centre:
    """An answer that names a camp."""

    camp: int
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the app says of one answer."""

    replica: int
    camp: int
    proof: bool | None
    share: float


class Judge(Protocol):
    """Calls one of the app's static functions on canonical bytes."""

    async def ask(self, function: str, *args: bytes) -> Any:
        """Return [the decoded answer], or None if the call failed."""
        ...


async def judge(
    judge: Judge, manifest: Manifest, args: bytes, centres: Sequence[Centre], candidates: Sequence[Candidate]
) -> list[Verdict]:
    """Return a verdict for each candidate, against the centres first and then among themselves, in order."""
    known = list(centres)
    verdicts: list[Verdict] = []
    for candidate in candidates:
        if not is_value(candidate.value):
            verdicts.append(Verdict(replica=candidate.replica, camp=candidate.replica, proof=False, share=0.0))
            continue
        proof = None if candidate.partial else await _proof(judge, manifest, args, candidate.value)
        if candidate.partial or (candidate.alone and proof is None):
            verdicts.append(await _judge_share(judge, manifest, args, candidate))
            continue
        camp = candidate.replica
        if proof is not False:
            camp = await _camp(judge, manifest, args, known, candidate)
            if camp == candidate.replica:
                known.append(Centre(camp=camp, value=candidate.value))
        verdicts.append(Verdict(replica=candidate.replica, camp=camp, proof=proof, share=1.0))
    return verdicts


async def _proof(judge: Judge, manifest: Manifest, args: bytes, value: bytes) -> bool | None:
    if not manifest.has_verify:
        return None
    said = await judge.ask("verify", args, value)
    return said[0] if isinstance(said, list) and isinstance(said[0], bool | None) else False


async def _camp(judge: Judge, manifest: Manifest, args: bytes, known: Sequence[Centre], candidate: Candidate) -> int:
    for centre in known:
        if centre.value == candidate.value:
            return centre.camp
        if manifest.has_agree:
            said = await judge.ask("agree", args, centre.value, candidate.value)
            if isinstance(said, list) and said[0] is True:
                return centre.camp
    return candidate.replica


async def _judge_share(judge: Judge, manifest: Manifest, args: bytes, candidate: Candidate) -> Verdict:
    share = 0.0
    if manifest.has_partial:
        said = await judge.ask("partial", args, candidate.value, codec.encode(secrets.randbits(48)))
        if isinstance(said, list) and isinstance(said[0], int | float) and 0 <= said[0] <= 1:
            share = float(said[0])
    return Verdict(replica=candidate.replica, camp=candidate.replica, proof=None, share=share)


def is_value(data: bytes) -> bool:
    """Whether bytes are the canonical encoding of a value: nothing else can be an answer."""
    try:
        return codec.encode(codec.decode(data)) == data
    except CodecError:
        return False


class BoxJudge:
    """Asks the app inside a sandbox."""

    def __init__(self, box: Box) -> None:
        self.box = box

    async def ask(self, function: str, *args: bytes) -> Any:
        """Return [answer], or None if the app's function failed, ran out of limits or answered no data.

        Raises UnitFailed if the box itself is gone, which is nobody's answer's fault.
        """
        outcome = await self.box.call(function, args, CHECK_LIMITS)
        if outcome.status in ("broken", "stopped"):
            raise UnitFailed(f"the validator's sandbox ended: {outcome.reason}")
        if outcome.status != "done" or outcome.value is None:
            return None
        try:
            return [codec.decode(outcome.value)]
        except CodecError:
            return None


@dataclass(slots=True)
class _Warm:
    box: Box
    users: int = 0
    worn: bool = False


class Boxes:
    """Warm boxes by app version. Those that nobody uses are closed, the least recently used first.

    An app's box may take a minute to open and its checks minutes to answer: neither holds up another app's, and no
    box is closed under a check that runs in it.
    """

    def __init__(self, level: Level, work_dir: Path) -> None:
        self.level = level
        self.work_dir = work_dir
        self._warm: dict[str, _Warm] = {}
        self._opening: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def judging(self, app: str, app_dir: Path, entry: str) -> AsyncIterator[BoxJudge]:
        """Give a judge for an app version, opening its box if need be. A box that ends meanwhile is not used again.

        Raises SandboxRefused or UnitFailed if it cannot be opened.
        """
        warm = await self._taken(app, app_dir, entry)
        try:
            yield BoxJudge(warm.box)
        except UnitFailed:
            warm.worn = True
            raise
        finally:
            warm.users -= 1
            await self._tidy(app, warm)

    async def close(self) -> None:
        """Close every box."""
        for app in list(self._warm):
            await self._warm.pop(app).box.close()

    async def _taken(self, app: str, app_dir: Path, entry: str) -> _Warm:
        async with self._opening.setdefault(app, asyncio.Lock()):
            if app not in self._warm:
                self._warm[app] = _Warm(await Box.open(self.level, app_dir, entry, self.work_dir))
            warm = self._warm[app] = self._warm.pop(app)
            warm.users += 1
            return warm

    async def _tidy(self, app: str, warm: _Warm) -> None:
        if warm.worn and self._warm.get(app) is warm:
            del self._warm[app]
        if warm.worn and not warm.users:
            await warm.box.close()
        idle = [name for name, other in self._warm.items() if not other.users]
        for name in idle[: max(0, len(self._warm) - MAX_BOXES)]:
            await self._warm.pop(name).box.close()
