"""What the audit log says of operators and researchers: who, and what they did to what."""

from __future__ import annotations

from typing import Final

from dsage_server.sentences.sentence import Sentence

ACTORS: Final = Sentence("operator"), Sentence("a researcher"), Sentence("validator")
DEEDS: Final = (
    Sentence("paused run %(run)d"), Sentence("resumed run %(run)d"), Sentence("retried run %(run)d"),
    Sentence("refused answers of run %(run)d"), Sentence("retired run %(run)d"), Sentence("approved run %(run)d"),
    Sentence("cancelled run %(run)d"),
    Sentence("announced maintenance"), Sentence("announced to all"),
    Sentence("ended maintenance"), Sentence("ended an announcement"),
    Sentence("took back the credit of %(n)d copy", "took back the credit of %(n)d copies"),
    Sentence("gave %(credits)s credits by hand"), Sentence("took %(credits)s credits by hand"),
    Sentence("made public link %(number)d"), Sentence("withdrew public link %(number)d"),
    Sentence("vouched for %(n)d volunteer", "vouched for %(n)d volunteers"),
    Sentence("withdrew trust in %(n)d volunteer", "withdrew trust in %(n)d volunteers"),
    Sentence("changed what %(name)s may have"),
    Sentence("noted %(n)d account as belonging to %(name)s", "noted %(n)d accounts as belonging to %(name)s"),
    Sentence("noted %(n)d account as not belonging to %(name)s", "noted %(n)d accounts as not belonging to %(name)s"),
    Sentence("renamed team %(number)d"), Sentence("closed team %(number)d"),
    Sentence("set how much the server checks itself to %(share)s"),
    Sentence("published %(n)d package of the client", "published %(n)d packages of the client"),
    Sentence("archived run %(run)d"),
    Sentence("approved the key %(key)s for %(projects)s"), Sentence("refused the key %(key)s for %(projects)s"),
)  # fmt: skip
USUAL: Final = Sentence("the server's settings hold")
"""What is said of a researcher whose own limits were taken away."""
MAINTENANCE: Final = Sentence("The server is being worked on.")
"""What is announced if the operator does not say why."""
