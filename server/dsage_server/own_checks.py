"""The server's own check: it computes some units itself, in the sandbox, and compares its answer with the others'.

It computes only what costs little, one unit at a time, and rests far longer than it computes. An answer that refutes
others, or decides between them, is heard only if the server gave it twice.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dsage import perturbing
from dsage.errors import BundleError, NotFound, SandboxRefused, UnitFailed
from dsage.trust.documents import Manifest
from dsage_server import timekeeping
from dsage_server.blobs import answers
from dsage_server.store import own
from dsage_server.store.meta import secret
from dsage_validator.boxes import Boxes, BoxJudge
from dsage_validator.camps import Standing
from dsage_validator.checks import Candidate, judge

if TYPE_CHECKING:
    from dsage_server.hub import Hub

log = logging.getLogger(__name__)

BUSY: Final = 0.02
"""Of the time, at most, one unit is computed here: after one that took a second nothing is computed for 49."""
LOOK_S: Final = 10.0
"""How often it is looked whether the operator set another share."""
OWN: Final = 1 << 62
"""The number of the server's own answer among those of copies: beyond them all."""


async def check_some(hub: Hub, boxes: Boxes, work_dir: Path) -> None:
    """Compute what is drawn or disputed, one unit at a time."""
    if boxes.level is None:
        await asyncio.Event().wait()
    hub.own.key = await hub.store.write(lambda c: secret(c, own.KEY))
    hub.own.restore(await hub.store.write(own.waited))
    while True:
        hub.own.share = await hub.store.read(own.share)
        try:
            async with asyncio.timeout(LOOK_S):
                number = await hub.own.get()
        except TimeoutError:
            continue
        if hub.own.share:
            began = hub.ticks()
            await check(hub, boxes, work_dir, number)
            await asyncio.sleep((hub.ticks() - began) * (1 / BUSY - 1))


async def check(hub: Hub, boxes: Boxes, work_dir: Path, number: int) -> None:
    """Compute one unit and let its answer be heard."""
    asked = await hub.store.read(lambda c: own.question(c, number))
    if asked is None:
        return
    info = await hub.run(asked.run)
    if not comparable(info.manifest) or not await hub.store.read(partial(own.fits, number=asked.run)):
        return
    asked = own.filled(asked, {n: await answers.read(hub.blobs, sha256) for n, sha256 in asked.blobs.items()})
    said: int | None = None
    try:
        app_dir = await timekeeping.unpacked(hub, info.manifest, work_dir)
        async with boxes.judging(info.app, app_dir, info.manifest.entry) as asker:
            said = await _own_word(asker, info.manifest, asked)
    except (UnitFailed, SandboxRefused, BundleError, NotFound, OSError) as error:
        log.warning("unit %s could not be computed here: %s", number, error)
    await _hear(hub, asked, said)


def comparable(manifest: Manifest) -> bool:
    """Whether an answer from this computer has to be the same as one from any other: not if it may depend on the kind
    of computer, or, where equal bytes decide, on the version of a package."""
    return manifest.homogeneous is not True and (manifest.judges or not manifest.needs)


async def _hear(hub: Hub, asked: own.Question, said: int | None) -> None:
    """Act on the server's answer: `said` is the copy that says the same, OWN if none does, None if there is none."""
    if said is None or (said == OWN and asked.canonical is None):
        await hub.store.write(lambda c: own.count(c, asked, own.SILENT))
    elif asked.canonical is None:
        rule = partial(own.rule, asked=asked, copy=said, now=hub.clock())
        await hub.store.write(rule, then=hub.learn)
    elif said == asked.canonical:
        await hub.store.write(lambda c: own.count(c, asked, own.AGREED))
    else:
        log.warning("unit %s: the accepted answer is not what this server computes; it is refused", asked.unit)
        await hub.store.write(lambda c: own.refute(c, asked, hub.clock()), then=hub.learn)
        hub.ledger.set()
        hub.liars.set()
        await hub.begin(asked.run)


async def _own_word(asker: BoxJudge, manifest: Manifest, asked: own.Question) -> int | None:
    """Return the copy whose answer the server's own is the same as, OWN if it is none's.

    None if the server has no answer, or one that does not prove itself where it should, or another one each time.
    """
    found = await _compared(asker, manifest, asked)
    if found is None or found == asked.canonical:
        return found
    return found if await _compared(asker, manifest, asked) == found else None


async def _compared(asker: BoxJudge, manifest: Manifest, asked: own.Question) -> int | None:
    function, args = perturbing.call(asked.args, perturbing.any_seed() if manifest.perturbs else None)
    outcome = await asker.box.call(function, args, asked.limits)
    if outcome.status != "done" or outcome.value is None:
        return None
    others = [Standing(replica=number, value=value, leads=True) for number, value in sorted(asked.values.items())]
    mine = Candidate(replica=OWN, value=outcome.value, partial=False)
    verdicts = await judge(asker if manifest.needs_box else None, manifest, asked.args, others, [mine])
    verdict = next(each for each in verdicts if each.replica == OWN)
    return None if verdict.proof is False or verdict.trouble else verdict.camp
