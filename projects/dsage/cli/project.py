"""`dsage project`: what a project is for, in plain words, and a second person's look at a newcomer's first run."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

import click

from dsage.cli.asking import sure
from dsage.cli.following import SCHEMA as RUN_SCHEMA
from dsage.cli.following import document
from dsage.cli.options import json_option, key_option, run_argument, server_option, yes_option
from dsage.cli.output import emit, hanging, say
from dsage.cli.values import shown
from dsage.errors import UsageError
from dsage.home import Home, is_plain
from dsage.researcher import Researcher
from dsage.trust.invite import Link
from dsage.wire import DescribeProject, ProjectView, RunView

SCHEMA: Final = "dsage.project/1"
LONG: Final = 5000


@click.group()
def project() -> None:
    """Say what a project is for, and approve newcomers' first runs."""


@project.command()
@click.argument("name")
@click.option("--title", required=True, help="One line.")
@click.option("--purpose", required=True, help="What it is to find out, for volunteers.")
@click.option("--ethics", default="", help="What speaks against it, and who has looked at that.")
@click.option("--link", default="", help="A page that says more.")
@server_option
@key_option
@json_option
def create(
    name: str, title: str, purpose: str, ethics: str, link: str, server: Link | None, key: str | None, as_json: bool
) -> None:
    """Say for the first time what a project is for.

    Your key must be certified for it: the operator does that by `dsage keys certify PUBLIC --project NAME`.
    """
    said = DescribeProject(title=title, purpose=purpose, ethics=ethics, link=link, new=True)
    _told(asyncio.run(_say(_plain(name), said, server, key)), as_json)
    say(f"next: `dsage submit TARGET --project {name}`")


@project.command()
@click.argument("name")
@click.option("--title", help="One line.")
@click.option("--purpose", help="What it is to find out, for volunteers.")
@click.option("--ethics", help="What speaks against it, and who has looked at that.")
@click.option("--link", help="A page that says more.")
@server_option
@key_option
@json_option
def describe(
    name: str, title: str | None, purpose: str | None, ethics: str | None, link: str | None, server: Link | None,
    key: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Show what is said of a project or, with options, change it."""
    given = {"title": title, "purpose": purpose, "ethics": ethics, "link": link}
    changes = {field: text for field, text in given.items() if text is not None}

    async def go() -> ProjectView:
        async with await Researcher.open(Home(), server, key) as api:
            known = await api.described(_plain(name))
            if not changes:
                return known
            before = {field: getattr(known, field) for field in given}
            return await api.describe(name, DescribeProject(**{**before, **changes}))

    _told(asyncio.run(go()), as_json)


@project.command()
@run_argument
@yes_option
@server_option
@key_option
@json_option
def approve(run: int, yes: bool, server: Link | None, key: str | None, as_json: bool) -> None:
    """Let a new researcher's first run go on.

    For another researcher of the same project. Look at the run first (`dsage show ID`); later runs of the same
    researcher are not asked about.
    """

    async def go() -> RunView:
        async with await Researcher.open(Home(), server, key) as api:
            view = await api.run(run)
            sure(f"run {run} ({shown(view.title, 40)}) and later ones of {shown(view.researcher, 40)} may run", yes)
            await api.approve(run)
            return await api.run(run)

    view = asyncio.run(go())
    emit(RUN_SCHEMA, document(view), as_json)
    say(f"run {run} is approved, and is {view.state}")


async def _say(name: str, said: DescribeProject, server: Link | None, key: str | None) -> ProjectView:
    async with await Researcher.open(Home(), server, key) as api:
        return await api.describe(name, said)


def _plain(name: str) -> str:
    if not is_plain(name):
        raise UsageError(f"{name!r} cannot be the name of a project", hint="Use letters, digits, . _ and -.")
    return name


def _told(view: ProjectView, as_json: bool) -> None:
    when = f"{datetime.fromtimestamp(view.changed).astimezone():%Y-%m-%d}"
    fields = {
        "project": f"{view.name}: {view.title}",
        "purpose": view.purpose,
        "ethics": view.ethics,
        "link": view.link,
        "said by": f"{view.by}, {when}",
    }
    text = "\n".join(hanging(f"{name:<9} ", shown(value, LONG)) for name, value in fields.items() if value)
    emit(SCHEMA, view, as_json, text)
