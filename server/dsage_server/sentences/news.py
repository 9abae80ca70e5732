"""What happened: the sentences of events, by the kind of event that tells them."""

from __future__ import annotations

from typing import Final

from dsage.states import RunState
from dsage_server.sentences.sentence import Sentence

JOINED: Final = Sentence("%(name)s joined")
SOMEBODY_JOINED: Final = Sentence("a volunteer joined")
LEFT: Final = Sentence("a volunteer left")

SUBMITTED: Final = Sentence("run %(run)d (%(title)s) was submitted")
UNAPPROVED: Final = Sentence("run %(run)d waits for approval by a second person")
APPROVED: Final = Sentence("run %(run)d was approved by %(name)s")
PAUSED: Final = Sentence("run %(run)d is paused: what volunteers have goes on")
RESUMED: Final = Sentence("run %(run)d goes on")
RETRIED: Final = Sentence(
    "run %(run)d %(n)d failed unit is tried again", "run %(run)d %(n)d failed units are tried again"
)
TAKEN_UP: Final = Sentence(
    "run %(run)d goes on; %(n)d failed unit is tried again", "run %(run)d goes on; %(n)d failed units are tried again"
)
RETIRED: Final = Sentence("run %(run)d was retired by its researcher")
HOSTED: Final = Sentence("run %(run)d is hosted by the server now")
UNHOSTED: Final = Sentence("run %(run)d is hosted no more: %(why)s")
ENDED: Final = {
    RunState.DONE: Sentence("run %(run)d is done"),
    RunState.FAILED: Sentence("run %(run)d is failed"),
    RunState.CANCELLED: Sentence("run %(run)d is cancelled"),
}
ENDED_BECAUSE: Final = {
    RunState.DONE: Sentence("run %(run)d is done: %(why)s"),
    RunState.FAILED: Sentence("run %(run)d is failed: %(why)s"),
    RunState.CANCELLED: Sentence("run %(run)d is cancelled: %(why)s"),
}
CORRECTED: Final = Sentence("run %(run)d ended again: its result was corrected")
CONFIRMED: Final = Sentence("run %(run)d ended again: its result stays as it was")
CORRECTING: Final = Sentence("run %(run)d goes on: a folded answer did not hold; the result is being corrected")
REPLAYED: Final = Sentence("run %(run)d goes back from step %(step)d to step %(to)d")
ODD: Final = Sentence("run %(run)d: %(why)s")

DISAGREE: Final = Sentence("unit %(unit)d: %(n)d answers disagree, so one more volunteer is asked")
CONTRADICTED: Final = Sentence(
    "unit %(unit)d: a later answer contradicts the accepted one, so one more volunteer is asked"
)
REFUSED: Final = Sentence("unit %(unit)d: the answer of %(name)s was found wrong; it is refused")
UNPAID: Final = Sentence("unit %(unit)d: the answer of %(name)s was found wrong; it is refused and unpaid")
SOMEBODY_REFUSED: Final = (
    Sentence("unit %(unit)d: the answer of a volunteer was found wrong; it is refused"),
    Sentence("unit %(unit)d: the answer of a volunteer was found wrong; it is refused and unpaid"),
)
"""The same two of who does not want to be named."""
GIVEN_UP: Final = Sentence("unit %(unit)d was given up: %(why)s")
REOPENED: Final = Sentence("unit %(unit)d: the accepted answer does not hold; others are asked again")
TROUBLE: Final = Sentence("unit %(unit)d: %(why)s")
NOT_AGAIN: Final = Sentence("unit %(unit)d is not computed again: %(why)s")
OWN_CHECK: Final = Sentence(
    "unit %(unit)d: this server computed it itself, and the accepted answer is not the same; it is refused"
)

FOUND: Final = Sentence("a discovery was published: %(title)s")
PUBLISHED: Final = Sentence("discovery %(number)d was published: %(title)s")
TAKEN_BACK: Final = Sentence("discovery %(number)d is taken back: %(why)s")

LIED: Final = Sentence(
    "computer %(host)d was found lying: %(n)d answer that rested on its word alone is computed again",
    "computer %(host)d was found lying: %(n)d answers that rested on its word alone are computed again",
)
FAULTY: Final = Sentence(
    "computer %(host)d seems to have faulty memory: %(n)d answer that rested on its word alone is computed again",
    "computer %(host)d seems to have faulty memory: %(n)d answers that rested on its word alone are computed again",
)
CLEARED: Final = Sentence(
    "computer %(host)d was cleared: the credit of %(n)d answer that was taken from it is given back",
    "computer %(host)d was cleared: the credit of %(n)d answers that was taken from it is given back",
)
LEDGER_WRONG: Final = Sentence(
    "%(n)d sum of credit differs from the ledger; `dsage admin credit check` shows it",
    "%(n)d sums of credit differ from the ledger; `dsage admin credit check` shows them",
)
RESTORED: Final = Sentence("this server was put back from its backup of %(date)s; what happened after that is lost")
