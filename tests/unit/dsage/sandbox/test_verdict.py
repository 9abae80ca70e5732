"""How a call ended, from what the host saw."""

import asyncio
import signal

import pytest

from dsage.function import Limits
from dsage.sandbox.printed import Printed
from dsage.sandbox.verdict import Report, Verdict, beyond, failed, judged

LIMITS = Limits(cpu_s=10, wall_s=20, memory_bytes=1000)


@pytest.mark.parametrize(
    ("wall_s", "cpu_s", "memory_bytes", "reason"),
    [(20, 10, 1000, None), (20.1, 11, 1001, "wall"), (1, 10.1, 0, "cpu"), (1, 1, 1001, "memory")],
)
def test_each_limit_has_its_reason(wall_s, cpu_s, memory_bytes, reason):
    verdict = beyond(LIMITS, wall_s=wall_s, cpu_s=cpu_s, memory_bytes=memory_bytes)
    assert (verdict and verdict.reason) == reason
    assert verdict is None or verdict.status == "limit"


@pytest.mark.parametrize(
    ("number", "status", "reason"),
    [
        (signal.SIGILL, "failed", "instruction"),
        (signal.SIGXCPU, "limit", "cpu"),
        (signal.SIGSEGV, "failed", "crash"),
        (64, "failed", "crash"),
    ],
)
async def test_a_signal_that_ended_a_call_is_a_reason(number, status, reason):
    talk = asyncio.create_task(asyncio.sleep(0, None))
    await talk
    verdict = judged(talk, Report(int(number), 1.0), Printed())
    assert (verdict.status, verdict.reason) == (status, reason)


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        ("memory", "limit", "memory"),
        ("codec", "failed", "codec"),
        ("instruction", "failed", "instruction"),
        ("anything", "failed", "exception"),
    ],
)
def test_what_a_call_says_of_itself_is_one_of_the_known_reasons(said, status, reason):
    assert failed(said, "why") == Verdict(status, reason, "why")
