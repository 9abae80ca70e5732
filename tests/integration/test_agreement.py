"""Rules of agreement on a real server: around which answer a quorum stands, who may compute, and what goes wrong."""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import msgspec
import numpy as np
import pytest

from dsage import codec
from dsage.bundle import manifest, pack
from dsage.errors import BundleError, SandboxRefused
from dsage.function import Limits
from dsage.trust.envelope import seal
from dsage.wire import AGREEMENT
from dsage_server.store import events, views
from dsage_server.store.meta import remember
from dsage_server.testing import HandDriver, Host, World, document, until
from dsage_validator import boxes

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = """
from dsage import DistributedFunction, close, detections, image


class Near(DistributedFunction):
    agree = close(rtol=0.0, atol=1.0, nan="never")

    @staticmethod
    def compute(i):
        return i

    def process_result(self, unit, value):
        pass


class Same(Near):
    homogeneous = True


class Picture(Near):
    agree = image(tolerance=1)


class Crashes(Near):
    @staticmethod
    def agree(args, a, b):
        return a.nothing


class Loops(Near):
    @staticmethod
    def agree(args, a, b):
        while True:
            pass


class Words(Near):
    @staticmethod
    def agree(args, a, b):
        return "yes"


class Proven(DistributedFunction):
    compute = staticmethod(Near.compute)
    process_result = Near.process_result

    @staticmethod
    def verify(args, value):
        import os

        if value == "crash":
            os.abort()
        while value == "loop":
            pass
        return value if isinstance(value, float) else True if value == args else False


class Bare(Near):
    @staticmethod
    def agree(a, b):
        return True
"""


async def submitted(world: World, kind: str, *, quorum: int = 2) -> HandDriver:
    source = world.folder / "rules.py"
    source.write_text(APP)
    plain = await world.run()
    driver = await HandDriver.submitted(plain.researcher, f"{source}:{kind}")
    world.runs.append(driver)
    await driver.make(1, quorum=quorum)
    return driver


async def host(world: World, *features: str, platform: str = "test") -> Host:
    made = await world.host()
    await made.introduce(features=features, platform=platform)
    return made


async def answer(world: World, *values: Any) -> None:
    for value in values:
        one = await host(world, AGREEMENT)
        got = await one.fetch(1, 5.0)
        assert len(got) == 1, "a copy goes out while answers do not agree"
        assert await one.report(got, [value]) == ["ok"]


async def told(world: World, driver: HandDriver, kind: str) -> list[str]:
    found = await world.running.hub.store.read(lambda c: events.since(c, 0, run=driver.run))
    return [event.text for event in found if event.kind == kind]


async def settled(world: World, driver: HandDriver, count: int) -> None:
    async def judged() -> bool:
        return len(await told(world, driver, "check-failed")) >= count

    await until(judged)


@pytest.mark.parametrize("values", [(0.0, 2.0, 1.0), (0.0, 1.0, 2.0), (1.0, 2.0, 0.0), (2.0, 0.0, 1.0)])
async def test_the_answer_in_the_middle_is_accepted_in_whatever_order_they_come(
    world: World, values: tuple[float, ...]
) -> None:
    driver = await submitted(world, "Near", quorum=3)
    await answer(world, *values)
    (found,) = (await driver.answers(5.0)).answers
    assert codec.decode(found.value or b"") == 1.0
    assert (await world.view(driver)).replicas == {"valid": 3}


async def test_an_answer_that_is_none_under_the_rule_is_refused_and_the_reason_is_told(world: World) -> None:
    driver = await submitted(world, "Near")
    await answer(world, math.nan, 1.0, "text", 1.5)
    (found,) = (await driver.answers(5.0)).answers
    assert codec.decode(found.value or b"") == 1.0
    assert (await world.view(driver)).replicas == {"valid": 2, "invalid": 2}
    (text,) = await told(world, driver, "check-failed")
    assert "the answer holds a NaN, which agrees with nothing here" in text


def arrays(*shape: int, dtype: str = "<f8") -> Any:
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("other", "mine"),
    [
        (1, 1.0), ("1.0", 1.0), (True, 1.0), (None, 1.0), ([1.0], 1.0), ({"x": 1.0}, 1.0), (1.0 + 0j, 1.0),
        (arrays(1), 1.0), (arrays(1), [1.0]), (arrays(1, 1), arrays(1)), (arrays(2), arrays(3)),
        (arrays(1, dtype="<f4"), arrays(1)), (arrays(1, dtype="<i8"), arrays(1)),
    ],
)  # fmt: skip
async def test_answers_of_another_type_or_shape_are_not_near(world: World, other: Any, mine: Any) -> None:
    driver = await submitted(world, "Near")
    await answer(world, other, mine, mine)
    assert (await driver.answers(5.0)).answers
    assert (await world.view(driver)).replicas == {"valid": 2, "invalid": 1}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xca\x3f\x80\x00\x00", "not in canonical form"), (codec.encode(1.0) + b"\x00", "no value"),
        (codec.encode(1.0)[:-1], "no value"), (b"\xff" * 40, "no value"), (b"", "no value"),
    ],
)  # fmt: skip
async def test_bytes_that_are_no_answer_are_refused_with_the_reason(world: World, data: bytes, text: str) -> None:
    driver = await submitted(world, "Near", quorum=1)
    one = await host(world, AGREEMENT)
    batch, reports = one.signed(await one.fetch(1, 5.0), [data])
    await one.exchange(reports=reports, proof=seal(batch, one.key))
    await settled(world, driver, 1)
    assert text in (await told(world, driver, "check-failed"))[0]
    await answer(world, 1.0)
    assert (await driver.answers(5.0)).answers
    assert (await world.view(driver)).replicas == {"valid": 1, "invalid": 1}


async def test_a_host_that_knows_no_rules_gets_no_unit_of_an_app_that_has_one(world: World) -> None:
    driver = await submitted(world, "Near", quorum=1)
    assert await (await host(world)).fetch(1, 0.0) == []
    await answer(world, 1.0)
    assert (await driver.answers(5.0)).answers


async def test_a_server_without_a_sandbox_takes_rules_that_are_cheap_and_no_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = world.running.hub.store
    monkeypatch.setattr(world.running.hub, "can_check", False)
    await store.write(lambda c: remember(c, "checks", "off"))
    try:
        driver = await submitted(world, "Near")
        await answer(world, 1.0, 1.5)
        assert (await driver.answers(5.0)).answers
        for kind in ("Picture", "Words"):
            with pytest.raises(SandboxRefused, match="no sandbox"):
                await submitted(world, kind)
    finally:
        await store.write(lambda c: remember(c, "checks", "on"))


@pytest.mark.parametrize(
    ("kind", "text"),
    [("Crashes", "agree failed (exception): AttributeError"), ("Words", "agree gave 'yes', where True or False")],
)
async def test_an_agree_that_fails_is_told_and_breaks_nothing(world: World, kind: str, text: str) -> None:
    if not world.running.hub.can_check:
        pytest.skip("no sandbox for checks on this computer")
    driver = await submitted(world, kind)
    await answer(world, 1.0, 2.0)
    await settled(world, driver, 1)
    assert text in (await told(world, driver, "check-failed"))[0]
    await answer(world, 2.0)
    (found,) = (await driver.answers(10.0)).answers
    assert codec.decode(found.value or b"") == 2.0, "equal answers need no question"


def picture(level: int, compression: int, *, more: int = 0) -> bytes:
    """A grey PNG file of 64 x 64 pixels, of which one has this level; with `more` bytes of pixels than it says."""
    lines = bytearray(64 * 65 + more)
    lines[100] = level
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(lines, compression)))
    parts = [
        struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in (*chunks, (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


async def test_pictures_are_compared_in_the_sandbox_and_a_bomb_is_no_picture(world: World) -> None:
    if not world.running.hub.can_check:
        pytest.skip("no sandbox for checks on this computer")
    driver = await submitted(world, "Picture")
    bomb = picture(7, 9, more=1 << 26)
    good = picture(7, 9)
    assert len(bomb) < 1 << 20
    await answer(world, bomb, good, picture(9, 1), picture(8, 0))
    (found,) = (await driver.answers(20.0)).answers
    assert codec.decode(found.value or b"") == picture(8, 0), "the neighbour of both"
    assert (await world.view(driver)).replicas == {"valid": 3, "invalid": 1}


async def test_an_agree_that_never_ends_is_stopped_and_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    if not world.running.hub.can_check:
        pytest.skip("no sandbox for checks on this computer")
    monkeypatch.setattr(boxes, "CHECK_LIMITS", Limits(cpu_s=1.0, wall_s=2.0, output_bytes=4096))
    driver = await submitted(world, "Loops")
    await answer(world, 1.0, 2.0)
    await settled(world, driver, 1)
    assert "agree failed (" in (await told(world, driver, "check-failed"))[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("crash", "verify failed (crash"), ("loop", "verify failed ("),
        (math.nan, "verify gave nan, where True, False or None belongs"),
        (1.0, "verify gave 1.0, where True, False or None belongs"),
    ],
)  # fmt: skip
async def test_a_verify_that_crashes_loops_or_says_nonsense_of_an_answer_costs_that_answer_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, value: Any, text: str
) -> None:
    if not world.running.hub.can_check:
        pytest.skip("no sandbox for checks on this computer")
    monkeypatch.setattr(boxes, "CHECK_LIMITS", Limits(cpu_s=1.0, wall_s=2.0, output_bytes=4096))
    meters = world.running.hub.meters.registry
    before = meters.get_sample_value("dsage_failed_checks_total") or 0.0
    driver = await submitted(world, "Proven", quorum=1)
    await driver.make(2)
    bad, good = await host(world, AGREEMENT), await host(world, AGREEMENT)
    got = await bad.fetch(2, 5.0)
    assert await bad.report(got, [value, codec.decode(document(got[1]).args)]) == ["ok", "ok"]
    await settled(world, driver, 1)
    (said,) = await told(world, driver, "check-failed")
    assert text in said
    assert meters.get_sample_value("dsage_failed_checks_total") == before + 1
    (again,) = await good.fetch(1, 5.0)
    assert await good.report([again], [codec.decode(document(again).args)]) == ["ok"]

    async def both() -> bool:
        return (await world.view(driver)).replicas == {"valid": 2, "invalid": 1}

    await until(both)
    assert sorted(codec.decode(a.value or b"") for a in (await driver.answers()).answers) == [1, 2]


async def test_a_function_that_nobody_could_call_is_refused_when_it_is_submitted(world: World) -> None:
    with pytest.raises(BundleError, match="is to be a static function of args, a, b"):
        await submitted(world, "Bare")


@pytest.mark.parametrize("kind", ["Same", "Near"])
async def test_copies_of_one_unit_go_to_computers_of_one_kind_where_the_app_asks_for_it(
    world: World, kind: str
) -> None:
    driver = await submitted(world, kind, quorum=3)
    one = await host(world, AGREEMENT, platform="linux-x86_64")
    other = await host(world, AGREEMENT, platform="darwin-arm64")
    (first,) = await one.fetch(5, 5.0)
    reply = await other.exchange(want=1)
    assert len(reply.units) == (kind == "Near")
    if kind == "Near":
        return
    assert "a computer of the kind linux-x86_64, and this one is darwin-arm64" in reply.reason
    hub = world.running.hub
    view = await hub.store.read(lambda c: views.run_view(c, driver.run, hub.clock()))
    assert "another computer of the kind linux-x86_64, like the first that got unit" in view.reason
    alike = await host(world, AGREEMENT, platform="linux-x86_64")
    (second,) = await alike.fetch(5, 5.0)
    assert await one.report([first], [b""], status="returned") == ["ok"]
    assert await alike.report([second], [b""], status="returned") == ["ok"]
    assert len(await other.fetch(5, 5.0)) == 1, "nobody has a copy any more: any kind will do"


async def test_the_signed_manifest_says_the_rule(world: World) -> None:
    source = world.folder / "rules.py"
    source.write_text(APP)
    packed = pack(f"{source}:Near")
    said = manifest(packed, "lab")
    assert (said.rule, said.has_agree, said.judges, said.needs_box) == (packed.function.agree, False, True, False)
    assert manifest(pack(f"{source}:Same"), "lab").homogeneous is True
    assert b"homogeneous" not in msgspec.json.encode(said), "older clients can read it"
    own = manifest(pack(f"{source}:Words"), "lab")
    assert (own.rule, own.has_agree, own.needs_box) == (None, True, True)
