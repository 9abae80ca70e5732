"""Why a page refuses, and what to do next: the sentences of errors and of their hints that visitors can meet.

Errors stand where they are raised; a test holds this table to them. What is not in it is said by its code, in the
visitor's language, with the English words beneath.
"""

from __future__ import annotations

from typing import Final

from dsage_server.sentences.sentence import Sentence

CODES: Final = {
    "error": Sentence("Something went wrong on this server."),
    "usage": Sentence("That cannot be done as it stands."),
    "codec": Sentence("What was sent cannot be read."),
    "trust": Sentence("A signature, a key or a date does not hold."),
    "request": Sentence("The server does not understand what was asked."),
    "not-found": Sentence("There is no such thing here."),
    "method": Sentence("This address does not answer that."),
    "range": Sentence("That part of the file is not there."),
    "not-allowed": Sentence("You may not do that."),
    "logged-out": Sentence("You are not logged in any more."),
    "conflict": Sentence("That does not fit how things stand now."),
    "too-large": Sentence("That is larger than what is taken here."),
    "invite": Sentence("This invite is not good here."),
    "quota": Sentence("That is more than you may have."),
    "busy": Sentence("The server has too much to do just now."),
    "too-many": Sentence("That was tried too often."),
    "storage-full": Sentence("The server's disk is full."),
}
"""What an error means, by its code."""

MISSING: Final = tuple(
    Sentence(text)
    for text in (
        "there is nothing at %(path)s", "there is no number %(given)s", "there is no %(given)s here",
        "that is longer than any name here", "there is no file %(name)s",
        "no files for statistics sites are here yet", "there is no such app version",
        "there is no run %(run)d", "there is no unit %(unit)d", "there is no result %(number)d",
        "there is no team %(number)d", "there is no project %(name)s",
        "there is no project or app %(name)s with a leaderboard", "there is no country %(given)s",
        "there is no published discovery %(number)d", "there is no discovery %(number)d", "there is no such badge",
        "there is no such document", "there is no announcement %(number)d", "there is no request %(number)d",
        "nobody of that name is listed here", "run %(run)d has no picture to show", "run %(run)d has no unit %(unit)d",
        "run %(run)d has no page %(page)d of such units", "the leaderboard has no page %(page)d",
        "the board of teams has no page %(page)d", "the audit log has no page %(page)d",
        "there is no page %(page)d of the discoveries", "your credit has no page %(page)d",
        "there are no so many runs of yours", "you have no run %(run)d", "you have no token %(number)d",
        "you have no such computer", "you have no such passkey", "no such browser is logged in as you",
        "nothing is said of a project %(name)s", "this link was used already, or has run out",
    )
)  # fmt: skip
"""What is not there."""
REFUSED: Final = tuple(
    Sentence(text)
    for text in (
        "these pages are not served under this name", "this came from another site",
        "this cannot be read as a form", "that is larger than any form here",
        "that is longer than any invite link", "this is the link of another server",
        "too many live pages are open already", "there is no such language or theme",
        "what was sent broke off or makes no sense",
        "something went wrong on this server while it made the page",
        "the body is larger than anything that is taken here", "%(path)s does not answer %(method)s",
        "this is not JSON", "an array of %(n)s numbers is too large for a page",
        "hours are 0 to 8784", "%(given)s is not a number of hours",
        "an announcement is a text of 1 to %(most)d characters", "an announcement must end after it begins",
        "announcement %(number)d is over already",
        "this needs a login that is at most five minutes old", "there is no such country",
        "that cannot be done about a team", "the passkey could not be checked: %(words)s",
        "this passkey was used elsewhere at this very moment", "this passkey is not known here",
        "this passkey is known here already", "you have %(most)d passkeys, and more are not kept",
        "this was asked too long ago, or answered before", "this is no passkey",
        "you are not logged in here as a volunteer", "you are not logged in here as a researcher",
        "you are not logged in here as the operator",
        "there are no passkeys for these pages", "that was tried too often from here",
        "that cannot be a team's name: %(why)s", "it does not begin with a letter or a digit",
        "it is too short", "it is too long",
        "there is, or was, a team called %(name)s",
        "whoever leads %(name)s was here within the last %(days)d days",
        "only its leader invites others into %(name)s", "this code leads into no team",
        "the team that this code was for is gone", "this team's code has run out of time",
        "this team's code has been used up", "you are in no team", "you are in the team %(name)s",
        "a token lasts one of the times that the form offers", "a token lasts at most %(days)d days",
        "a token needs a name of at most %(most)d letters", "tokens are for %(scopes)s, not for %(scope)s",
        "you have %(most)d tokens", "no API token opens this", "this token is for reading only: %(name)s",
        "this needs a %(role)s's token, not a researcher's",
        "a name has letters, digits, . _ and -", "name 1 to %(most)d projects, with letters, digits, . _ and -",
        "say in 1 to %(most)d characters what you want to compute", "the operator has refused this key",
        "too many requests wait for the operator already", "request %(number)d was %(state)s already",
        "run %(run)d is %(state)s", "unit %(unit)d is %(state)s",
        "the units of run %(run)d lie in an archive", "unit %(unit)d is no failed unit of run %(run)d",
        "this proof was used before", "this proof is of another key than the one that signed it",
        "this proof was made for another server", "this proof has run out, or a clock is wrong",
        "this is no proof of a key",
        "the project %(name)s is there already", "run %(run)d waits for approval by a second person",
        "run %(run)d is your own", "run %(run)d does not wait for approval",
        "run %(run)d belongs to another researcher", "run %(run)d has another driver now",
        "the app version of run %(run)d was revoked", "this key is not certified here", "this key was revoked",
        "your key is not certified for the project %(name)s",
    )
)  # fmt: skip
"""What may not be done, or not so."""
HINTS: Final = tuple(
    Sentence(text)
    for text in (
        "The front page leads to everything there is.", "Numbers are whole and positive.",
        "Search for at most %(most)d characters.", "Choose one of: %(words)s.", "They are made once a day.",
        "/export.json names those that there are.", "Countries have codes of two letters, such as NZ.",
        "It has %(pages)d.", "There are %(pages)d.", "The leaderboard has those who want to be seen.",
        "`dsage status` lists what there is.", "`/runs` lists those that you have.",
        "`/tokens` lists those that you have.", "`/runs` begins with the newest.",
        "`dsage token ls` lists yours.", "`dsage admin announce` lists them.", "`dsage admin requests` lists them.",
        "`dsage admin team ls` lists them.", "`dsage project create %(name)s` says what it is for.",
        "`dsage project describe %(name)s` changes it.",
        "Open the page here and press the button there.", "Open the page here and use the form there.",
        "Close some of them, or reload to see news.", "A proxy must pass on the name given by --pages-url.",
        "Try again; the operator's log says more.", "Try again later.", "Try once more.",
        "Try once more, or another way in.", "Use the button of the page.", "Use the buttons of the page.",
        "Choose one from the list.", "Choose one there.", "Choose another name.", "Remove one first.",
        "Log in again.", "It logs you in.", "It was removed, or made for another account.",
        "Log in again, by a passkey or by “Open my page” on one of your computers, and then do it.",
        "Browsers make them for https addresses with a name, and for localhost.",
        "Names have %(least)d to %(most)d letters, digits, spaces and points, in any language.",
        "A team can be taken over when its founder has been silent for longer.",
        "Its leader makes a new one: dsage team invite.", "dsage team create NAME, or dsage team join LINK.",
        "One team at a time: dsage team leave.", "Say what for: nightly plots, for instance.",
        "Make a new one then.", "Revoke those that nothing uses: `dsage token revoke ID`.",
        "It takes the code key itself: `dsage` commands log in with it.",
        "`dsage token new NAME --write` makes another.", "Its page says what can be done to it now.",
        "Submit it again: only what failed can be tried again.", "Submit it again.",
        "`dsage cancel %(run)d` ends it.", "`dsage show %(run)d` says more.",
        "`dsage show %(run)d` says how it stands.", "`dsage watch %(run)d` shows it.",
        "`dsage retry %(run)d` first, if it failed.", "Only an accepted answer can be refused.",
        "Name failed units, or none for all.", "`dsage keys new code --name NAME` prints the key.",
        "Make a new line with `dsage keys prove`, as the page says it.",
        "Ask the operator why.", "The operator runs `dsage keys certify`.",
        "Another researcher of its project looks at it: `dsage project approve %(run)d`.",
        "Approving takes a second person with a key of their own.",
        "On a computer that works here, choose “Open my page” in DSage's menu, or type `dsage me`.",
        "Type `dsage web` where you submit runs from: it prints a link.",
        "Type `dsage admin web` on the server: it prints a link.",
        "Links work once, within a minute: make a new one.",
        "Make the units or their results smaller.", "Add --help to the command to see what it takes.",
        "Look at its state again (`dsage watch`), then decide.",
        "Update this program; if it is current, report the message.",
        "Log in with a key that the operator has certified (`dsage keys status`).",
        "Ask the operator for a fresh link (`dsage invite`).",
        "Ask less often: the headers RateLimit and RateLimit-Policy say how much is left.",
        "The header Allow names the methods that there are; /api/v1/openapi.json describes each.",
        "Nothing to do: the work was withdrawn by the people who signed it.",
        "Use None, booleans, numbers, text, bytes, dates, lists, sets, dicts, dataclasses or numpy arrays.",
    )
)  # fmt: skip
"""What to do next."""
