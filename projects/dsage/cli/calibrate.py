"""`dsage calibrate`: how a core of this computer compares with the one by which credit is counted."""

from __future__ import annotations

import click
import msgspec

from dsage import calibration
from dsage.calibration import SETS
from dsage.cli.options import json_option
from dsage.cli.output import emit, say
from dsage.home import Home

SCHEMA = "dsage.calibration/1"


@click.command(short_help="Compare a core of this computer with the reference core.")
@json_option
def calibrate(as_json: bool) -> None:
    """Compare a core of this computer with the reference core.

    Does three fixed sets of work, for a few seconds; the comparison is the geometric mean of the three. It is kept for
    `dsage estimate`, which then says what a unit takes on the reference core. No server learns it, and nobody is paid
    by it: credit is what the units say.
    """
    found = calibration.measure()
    calibration.keep(Home(), found)
    lines = [
        f"{each.name:<11} {found.seconds[each.name]:.3f} s here, {each.reference_s:.3f} s on the reference core"
        for each in SETS
    ]
    lines.append(f"A core of this computer is {found.speed:.2f} reference cores.")
    data = msgspec.to_builtins(found) | {"reference": {each.name: each.reference_s for each in SETS}}
    emit(SCHEMA, data, as_json, "\n".join(lines))
    say(f"Kept in {Home().folder / calibration.FILE}.")
