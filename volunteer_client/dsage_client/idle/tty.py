"""Computers without a desktop: terminals, of the computer itself and of ssh logins."""

from __future__ import annotations

from dsage_client.idle.here import graphical
from dsage_client.idle.polling import Polled
from dsage_client.idle.terminals import terminals_idle_s


class Tty(Polled):
    """The time of the last key in any terminal, which Linux keeps to 8 seconds: so work stops within 10 seconds.

    Keys at a desktop pass no terminal: beside one, its user is unknown.
    """

    name = "tty"
    away_every_s = 2.0

    def idle_s(self) -> float:
        if graphical():
            raise OSError("somebody may sit at this computer's desktop, and terminals do not tell")
        return terminals_idle_s()
