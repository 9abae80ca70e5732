"""Why things are as they are: why a run waits, a unit was given up, credit was taken back, a discovery does not hold.

Those that no writer calls here are made by the validator and the scheduler, which know of no server; a test holds both
to the same words.
"""

from __future__ import annotations

from typing import Final

from dsage.states import RunState
from dsage_server.sentences.sentence import Sentence

STATES: Final = tuple(Sentence(state.value) for state in RunState)
DECISIONS: Final = Sentence("approved"), Sentence("refused")

UNAPPROVED: Final = Sentence("waits for approval by a second person")
PAUSED: Final = Sentence("its researcher paused it: `dsage resume %(run)d` lets it go on")
PAUSED_FOR_ALL: Final = Sentence("its researcher paused it")
AWAY_FOR_ALL: Final = Sentence("its driver is away: it goes on when its researcher is back")
NO_SANDBOX: Final = Sentence("its answers wait to be checked: this server has no sandbox for that (its log says why)")
DRIVER_AWAY: Final = Sentence("its driver is away: `dsage attach %(run)d` goes on from step %(step)d")
NOBODY: Final = Sentence("no volunteer's computer is connected")
LACKING: Final = Sentence("no computer that is connected offers %(names)s")
NEEDS: Final = Sentence("needs a volunteer besides those whose computers are here now")
NEEDS_STRANGER: Final = Sentence(
    "needs a volunteer who shares neither network, day of joining nor team link with those who have unit %(unit)d"
)
NEEDS_KIND: Final = Sentence("needs another computer of the kind %(kind)s, like the first that got unit %(unit)d")
NEEDS_HONEST: Final = Sentence(
    "needs another volunteer: %(n)d answer was found wrong, of every computer that is here (unit %(unit)d)",
    "needs another volunteer: %(n)d answers were found wrong, of every computer that is here (unit %(unit)d)",
)
NEEDS_MORE: Final = Sentence("needs one more volunteer: %(quorum)d must agree on unit %(unit)d")
NEEDS_WORKING: Final = Sentence("needs another volunteer: unit %(unit)d failed on every computer here (%(code)s)")
ARCHIVED: Final = Sentence("archived on %(day)s, file %(file)s")
APP_REVOKED: Final = Sentence("its app version was revoked")
KEY_REVOKED: Final = Sentence("its researcher's key was revoked")
DRIVEN: Final = Sentence("its researcher drives it now")
ASKED_AGAIN: Final = Sentence(
    "its answer was known: it went out once more, under this number, to see what a computer says"
)

FELL: Final = Sentence("the answer that it rests on did not hold; the unit is computed again")
WENT_BACK: Final = Sentence("the run went back to before it, because another answer did not hold")
CHANGED: Final = Sentence("its facts were corrected; they wait to be confirmed and published again")
CONTRADICTED: Final = Sentence("another volunteer's answer contradicts it")
HOPELESS: Final = Sentence("the computers of those who were asked to confirm it failed")
GONE: Final = Sentence("its run was archived before anybody confirmed it")

LIAR: Final = Sentence("your answer was accepted on the word of a computer that was found to answer wrongly since")
CLEARED: Final = Sentence(
    "nothing is held against your computer any more, and this answer of it is the one that is accepted"
)
REFUTED: Final = Sentence("the server computed this unit itself, and the answer is another one")

TOO_LARGE: Final = Sentence("%(bytes)s bytes are too many for a page: %(command)s fetches them")
UNREADABLE: Final = Sentence("it cannot be read (%(why)s)")
ELSEWHERE: Final = Sentence("it is large: %(command)s fetches it")

OF_DRIVERS: Final = (
    Sentence("unit %(key)s failed: %(why)s (%(where)s)"),
    Sentence("unit %(key)s failed: %(why)s"),
    Sentence("%(what)s raised %(error)s: %(words)s (%(file)s line %(line)d)"),
    Sentence("%(code)s: the hosted driver ended in step %(step)d: %(words)s"),
    Sentence("%(code)s: the hosted driver went beyond its limit in step %(step)d: %(words)s"),
    Sentence("sandbox: the box of the hosted driver failed %(times)d times: %(words)s"),
    Sentence("%(words)s (the app, loaded where its run is hosted)"),
    Sentence("codec: step %(step)d of the hosted driver makes no sense: %(words)s"),
    Sentence("codec: the hosted driver made step %(step)d in place of step %(other)d"),
    Sentence("codec: step %(step)d of the hosted driver folds what it has not heard of"),
    Sentence("codec: the hosted driver's state has %(size)d bytes; %(most)d are kept"),
    Sentence("output: step %(step)d of the hosted driver has more than %(most)d bytes"),
    Sentence("codec: step %(step)d of the hosted driver ends the run without an answer"),
    Sentence("codec: step %(step)d of the hosted driver has an answer before its end"),
)
"""Why a driver ends its run, if its author says nothing else; the last ones say why the server ends a hosted one."""
OF_UNITS: Final = (
    Sentence("given up"),
    Sentence("it passed its time limit (%(code)s)"),
    Sentence("it failed once on one volunteer's computer, last with: %(why)s"),
    Sentence("it failed %(times)d times on one volunteer's computer, last with: %(why)s"),
    Sentence("it failed %(times)d times on %(people)d volunteers' computers, last with: %(why)s"),
    Sentence("an error"),
    Sentence("%(n)d answer was found wrong", "%(n)d answers were found wrong"),
    Sentence(
        "answers in %(n)d camp, which is not %(quorum)d strong",
        "answers in %(n)d camps, none of them %(quorum)d strong",
    ),
)
"""Why the validator gives a unit up."""
FAILURES: Final = {
    "exception": Sentence("the program ended with an error"),
    "crash": Sentence("the program crashed"),
    "codec": Sentence("its answer is no value"),
    "cpu": Sentence("it used more processor time than it may"),
    "wall": Sentence("it took longer than it may"),
    "memory": Sentence("it used more memory than it may"),
    "disk": Sentence("it used more disk than it may"),
    "output": Sentence("its answer is larger than it may be"),
    "processes": Sentence("it started more processes than it may"),
    "": Sentence("no answer was agreed on"),
}
"""Why a unit or a copy failed, by the code of the reason."""
UNKNOWN: Final = Sentence("it failed")
OF_COPIES: Final = Sentence("wrong answer"), Sentence("no answer in time"), Sentence("error"), Sentence("others")
"""Why a copy counted for nothing, where no code says it, and all reasons that are rare."""
OF_CHECKS: Final = (
    Sentence("%(function)s failed (%(words)s)"),
    Sentence("%(function)s failed (%(words)s): %(last)s"),
    Sentence("%(function)s gave what is no value: %(words)s"),
    Sentence("%(function)s gave %(words)s, where %(other)s belongs"),
    Sentence("what came is no value: %(words)s"),
)
"""Why a check of an app's author gave no verdict."""
OF_KEYS: Final = (
    Sentence("the %(role)s key in %(file)s is not certified by root.json: run `dsage keys certify`"),
    Sentence("%(what)s has expired; %(command)s renews it"),
    Sentence("%(what)s expires in %(days)d days; %(command)s renews it"),
    Sentence("URGENT: %(what)s expires in %(days)d days; %(command)s renews it"),
)
"""What is to be done about a server's keys."""
OF_HOSTS: Final = (
    Sentence("%(k)d of %(n)d answers came at least %(times)d times as fast as the same work takes other computers"),
    Sentence("%(k)d of %(n)d answers took exactly as long as the one before, which those of others hardly ever do"),
    Sentence("%(k)d of %(n)d answers to different units are the same, where those of others vary"),
    Sentence("%(k)d of the %(n)d times that others confirmed it, %(why)s did, far more often than chance has it"),
    Sentence("the same partner"),
    Sentence("the same %(ring)d partners"),
    Sentence(
        "%(wrong)s of %(judged)d differed from what everybody else found, each in its own way, and "
        "%(crashes)s crashed that other computers answered: its memory may be faulty"
    ),
    Sentence("answers of honest computers differ (%(why)s): set agree = close(...), or homogeneous = True"),
    Sentence("%(people)d otherwise good volunteers were contradicted, the middle one in %(share)s of the answers"),
    Sentence("no two answers to %(units)s were the same"),
    Sentence("it fails on the computers of %(people)d volunteers, on the middle one in %(share)s of its units"),
    Sentence("%(k)d of %(n)d units of %(apps)s failed here, and other computers answered them"),
)
"""What is odd about a computer or an app version."""
