"""What somebody at a terminal is asked before their computer joins a server."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlsplit

import click

from dsage.cli.output import hanging, say
from dsage.trust.invite import Link
from dsage.wire import Privacy
from dsage_client import asking
from dsage_client.asking import Offer
from dsage_client.door.words import Newcomer
from dsage_client.guest.preferences import Preferences

SHOWN: Final = {
    "leaderboard": "your pseudonym with its credit, on the leaderboard",
    "discoveries": "your pseudonym beside what your computers find",
}
"""What others may see of a volunteer; each is off until it is switched on."""


def agreed(link: Link, shown: Privacy, preferences: Preferences) -> Newcomer:
    """Show the person at the terminal what they are about to join and under which name, and return how they do.

    They may have another name as often as they like. Raises click.Abort if they would rather not, and what
    `asking.offer` raises.
    """
    offer = asyncio.run(asking.offer(link))
    for line in told(offer, link, shown, preferences):
        say(line)
    redrawn = bool(offer.name) and not offer.linked
    answers = ["yes", "no", "another"] if redrawn else ["yes", "no"]
    question = f"Join? yes, no{', or another name' if redrawn else ''}"
    while (answer := click.prompt(question, type=click.Choice(answers), show_choices=False, err=True)) == "another":
        offer = asyncio.run(asking.offer(link))
        say(f"As whom    {plain(offer.name)}")
    if answer == "no":
        raise click.Abort
    return Newcomer(name="" if offer.linked else offer.name, shown=shown)


def told(offer: Offer, link: Link, shown: Privacy, preferences: Preferences) -> list[str]:
    """Return the lines that say what is agreed to. What the server says is text without control characters."""
    from dsage_client.manager.pages import times_said

    about = offer.about
    by = f", run by {plain(about.operator)}" if about.operator else ""
    projects = "; ".join(plain(each.title or each.name) for each in about.projects)
    seen = [words for name, words in SHOWN.items() if getattr(shown, name)]
    name = plain(offer.name) or "a pseudonym that the server draws"
    pairs = {
        "For whom": f"{plain(about.name)}{by} ({urlsplit(link.url).netloc})",
        "What runs": f"{projects or 'It names no project yet'}. Programs signed by their authors, in a sandbox: "
        "without network, without your files, at the lowest priority.",
        "When": times_said(preferences),
        "As whom": f"{name}, the account that this link belongs to" if offer.linked else name,
    }
    if not offer.linked:
        pairs["Others see"] = "; ".join(seen) or "nothing of you (`--show` switches it on, `dsage privacy` later)"
    return [hanging(f"{head:<11}", text) for head, text in pairs.items()]


def plain(text: str) -> str:
    """Return what a server said without what could move a terminal's cursor or colour it."""
    return "".join(c if c.isprintable() else " " for c in text)
