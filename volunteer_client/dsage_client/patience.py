"""When a client waits, for how long, and what it tells its owner about that."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final

from dsage.errors import Busy, DSageError, Expired, ServerAway, TrustError
from dsage_client import policy
from dsage_client.events import Event, Tell, at_clock
from dsage_client.guest.reasons import Reason
from dsage_client.settings import Settings

MAX_IDLE_S: Final = 3600.0
BREAKS: Final = 2
FORGET_HOLD_S: Final = 6 * 3600.0
"""A computer that was carried elsewhere finds out that calls may be held there."""
MAX_PROJECTS: Final = 20
MAX_NAME: Final = 64
MAX_WORDS: Final = 300
"""Of what a server says by project, as much is told."""


class Hold:
    """How long a call may be held on this network: many end what is silent for a while, and nobody says after how long.

    A call that broke while the server was there to answer the next one was ended on the way. Once may be the server
    that started again; what happens twice is the network. `now` is a clock in seconds from any start.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._longest_s = math.inf
        self._since = 0.0
        self._broke: list[float] = []

    @property
    def longest_s(self) -> float:
        """The longest that a call may be held; 0 if none may, infinite if nothing is known."""
        if self._now() - self._since > FORGET_HOLD_S:
            self._longest_s = math.inf
        return self._longest_s

    def broke(self, asked_s: float, took_s: float) -> bool:
        """A held call broke; say whether that taught something."""
        self._broke.append(policy.surviving_s(asked_s=asked_s, took_s=took_s))
        if len(self._broke) < BREAKS:
            return False
        self._longest_s, self._since = min(self._broke), self._now()
        self._broke.clear()
        return True

    def lived(self, took_s: float) -> None:
        """A held call came back after so long: what broke sooner had another reason."""
        self._broke = [survives_s for survives_s in self._broke if took_s < survives_s or not survives_s]
        if took_s >= policy.SHORTEST_HOLD_S:
            self._broke.clear()

    def away(self) -> None:
        """It was the server that had gone."""
        self._broke.clear()


class Patience:
    """Three waits: `away_s` before speaking to the server at all, `quiet_s` before a call that brings it no results,
    `idle_s` before asking it for work again.

    `now` is the clock of the waits, in seconds from any start. What recurs is told once, and what lasts again when it
    has lasted twice as long. `away_since` is when the server was first found to be away, in Unix seconds, None if it
    answered the last call.
    """

    def __init__(self, settings: Settings, tell: Tell, now: Callable[[], float], draw: Callable[[], float]) -> None:
        self._settings = settings
        self._tell = tell
        self.hold = Hold(now)
        self._now = now
        self._draw = draw
        self._attempt = 0
        self._failures = 0
        self._failing: dict[str, int] = {}
        self._resting: dict[str, float] = {}
        self._connected = False
        self._spread_s = 0.0
        self._away_until = float("-inf")
        self._quiet_until = float("-inf")
        self._idle_until = float("-inf")
        self._said = ""
        self._since = self._again = float("-inf")
        self.away_since: float | None = None
        self.why: tuple[Reason, str] = (Reason.CONNECTING, "")

    @property
    def connected(self) -> bool:
        """Whether the server answered the last call."""
        return self._connected

    @property
    def away_s(self) -> float:
        """How long to stay away from the server; 0 if it may be called."""
        return max(0.0, self._away_until - self._now())

    @property
    def quiet_s(self) -> float:
        """How long to make no call that brings no results; 0 if any call may be made."""
        return max(0.0, self._quiet_until - self._now())

    @property
    def idle_s(self) -> float:
        """How long to take no new work; 0 if it may be asked for."""
        return max(0.0, self._idle_until - self._now())

    def answered(self, spread_s: float = 0.0) -> None:
        """The server answered; `spread_s` is over what time its clients shall return once it has been away."""
        self._spread_s = min(spread_s, MAX_IDLE_S)
        self.away_since = None
        if not self._connected:
            self._connected, self._said = True, ""
            self.why = (Reason.NO_WORK, "")
            self._tell(Event(kind="connected", text="connected to the server"))

    def refused(self, error: DSageError, *, busy: bool) -> None:
        """A call failed: stay away, for longer after each failure; `busy` if work goes on here."""
        if isinstance(error, ServerAway):
            delay_s = self._return()
        else:
            delay_s = self._backoff(policy.DISTRUST if isinstance(error, TrustError) else 1.0)
        self._away_until = self._now() + delay_s
        self._left_alone(error, delay_s, busy)

    def sent_away(self, error: Busy, *, results: bool, busy: bool) -> None:
        """A busy server took nothing of a call and said when to come back: if the call brought no `results`, one
        that does may still be taken before."""
        delay_s = max(error.retry_s, self._settings.backoff_low_s)
        if results:
            self._away_until = self._now() + delay_s
        self._quiet_until = self._now() + delay_s
        self._left_alone(error, delay_s, busy)

    def broke(self, asked_s: float, took_s: float) -> None:
        """A call that was to be held for `asked_s` broke after `took_s`."""
        if self.hold.broke(asked_s, took_s):
            longest_s = self.hold.longest_s
            how = f"calls wait {longest_s:.0f} s" if longest_s else f"the server is asked every {policy.POLL_S:.0f} s"
            if policy.spacing_s(longest_s, [], busy=False):
                how += f", and without work every {policy.IDLE_POLL_S / 60:.0f} minutes"
            text = f"this network ends calls that wait for {min(asked_s, took_s):.0f} s; from now on {how}"
            self._tell(Event(kind="network", text=text, data={"hold_s": longest_s}))

    def satisfied(self) -> None:
        """A call was worth making: the next failure starts from a short wait."""
        self._attempt = 0

    def spun(self) -> float:
        """A held call came back empty too early; return how long to wait, more each time."""
        return self._backoff()

    def idle(self, delay_s: float) -> None:
        """Ask for no work for so long, an hour at most."""
        self._idle_until = self._now() + min(delay_s, MAX_IDLE_S)

    @property
    def resting(self) -> frozenset[str]:
        """The projects of which nothing is taken for now, because this computer cannot do their units."""
        now = self._now()
        self._resting = {project: until for project, until in self._resting.items() if until > now}
        return frozenset(self._resting)

    def worked(self, project: str = "") -> None:
        """A unit was finished."""
        self._failures = 0
        self._failing.pop(project, None)

    def failed(self, reason: str, project: str = "") -> None:
        """A unit failed here, for a reason; several in a row make this client take no work for a while, and five of a
        project that this computer is to blame for make that project rest."""
        self._failures += 1
        if project and reason not in policy.APPS_DOING:
            self._failing[project] = self._failing.get(project, 0) + 1
            if rest_s := policy.project_rest_s(self._failing[project]):
                self._resting[project] = self._now() + rest_s
                text = f"{self._failing[project]} units of project {project} in a row failed here ({reason})"
                until = f"nothing more of it is taken until {at_clock(time.time(), rest_s)}"
                self._tell(Event(kind="resting", text=f"{text}; {until}", data={"project": project, "retry_s": rest_s}))
        low_s, high_s = self._settings.backoff_low_s, self._settings.backoff_high_s
        pause_s = policy.failing_pause_s(self._failures, reason, low_s=low_s, high_s=high_s)
        if pause_s > self.idle_s:
            self.idle(pause_s)
            self.why = (Reason.FAILING, "")
            self._waiting("waiting", f"{self._failures} units in a row failed on this computer", pause_s)

    def no_work(self, reason: str, delay_s: float, reasons: Mapping[str, str] | None = None) -> None:
        """The server has nothing for us, and says why: in a sentence, and by project if it likes."""
        self.why = (Reason.NO_WORK, reason)
        told = {name[:MAX_NAME]: words[:MAX_WORDS] for name, words in islice((reasons or {}).items(), MAX_PROJECTS)}
        detail = "; ".join(f"{name}: {words}" for name, words in told.items())
        self._waiting("waiting", f"{reason} ({detail})" if len(told) > 1 else reason, delay_s, reasons=told)

    def judged(self, stale: Expired | None) -> None:
        """The server was heard, and its newest root.json is in force, or `stale`."""
        if stale is not None:
            self.why = (Reason.TROUBLE, stale.message)
            self.say(
                "untrusted",
                f"{stale.message}; no work is taken until the server has a newer one, or the clock is right",
            )
        elif self.why[0] is Reason.TROUBLE:
            self.why = (Reason.NO_WORK, "")

    def got_work(self) -> None:
        """There is work again; the next reason for having none is news."""
        self._said = ""
        self.why = (Reason.WORKING, "")

    def say(self, kind: str, sentence: str) -> None:
        """Tell something that may recur, once."""
        if sentence != self._said:
            self._said = sentence
            self._tell(Event(kind=kind, text=sentence))

    def _backoff(self, times: float = 1.0) -> float:
        low_s, high_s = self._settings.backoff_low_s, self._settings.backoff_high_s * times
        delay_s = policy.backoff_s(self._attempt, self._draw(), low_s=low_s, high_s=high_s)
        self._attempt += 1
        return delay_s

    def _return(self) -> float:
        low_s, high_s = self._settings.backoff_low_s, self._settings.backoff_high_s
        delay_s = policy.return_s(self._attempt, self._draw(), low_s=low_s, high_s=high_s, spread_s=self._spread_s)
        self._attempt += 1
        return delay_s

    def _left_alone(self, error: DSageError, delay_s: float, busy: bool) -> None:
        self._connected = False
        self.away_since = time.time() if self.away_since is None else self.away_since
        reason = Reason.TROUBLE if isinstance(error, TrustError) else Reason.SERVER_AWAY
        self.why = (reason, error.message)
        going_on = ", computing goes on" if busy else ""
        self._waiting("away", error.message, delay_s, going_on, code=error.code)

    def _waiting(
        self,
        kind: str,
        reason: str,
        delay_s: float,
        going_on: str = "",
        *,
        code: str = "",
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        now = self._now()
        if reason == self._said and now < self._again:
            return
        self._since = self._since if reason == self._said else now
        self._again = now + max(self._settings.backoff_high_s / 2, now - self._since)
        self._said = reason
        until = f"; next try at {at_clock(time.time(), delay_s)}" if delay_s else ""
        data = {"reason": reason, "retry_s": delay_s, "code": code, "reasons": reasons or {}}
        self._tell(Event(kind=kind, text=f"waiting: {reason}{going_on}{until}", data=data))
