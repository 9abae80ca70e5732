"""A part of each core's time only: units work and rest in turns."""

from __future__ import annotations

import asyncio
from typing import Final

from dsage_client.gate import Gate
from dsage_client.runner import Runner

PERIOD_S: Final = 0.1
"""One turn of working and resting."""


async def ration(gate: Gate, runner: Runner) -> None:
    """Give units the percentage that the gate's standing names, for ever; cores were counted off before."""
    resting = False
    while True:
        percent = gate.standing.percent if gate.open and gate.running else 100
        if percent == 100:
            if resting and gate.open:
                runner.resume()
            resting = False
            await asyncio.sleep(PERIOD_S if gate.running else 1.0)
            continue
        runner.resume()
        await asyncio.sleep(PERIOD_S * percent / 100)
        if gate.open:
            runner.pause()
        resting = True
        await asyncio.sleep(PERIOD_S * (100 - percent) / 100)
