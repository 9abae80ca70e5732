"""From an invite link to the first credit: the real commands, a server where no research waits, and a new computer."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from lab import Lab, wait_for

from dsage.connection import Connection, fetch_chain
from dsage.trust.envelope import Envelope
from dsage.trust.invite import Link
from dsage.trust.release import Release, believed


@pytest.fixture
def lab() -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="dsage-joining-") as folder:
        made = Lab(Path(folder))
        yield made
        made.stop()


def paid(lab: Lab) -> bool:
    """Whether somebody has credit on the public leaderboard."""
    with urlopen(lab.described["pages_url"] + "/leaderboard.json", timeout=10) as reply:
        return any(leader["credit"] > 0 for leader in json.load(reply)["data"]["leaders"])


def told(lab: Lab, name: str) -> list[dict[str, Any]]:
    """Return what a client has said."""
    lines = (lab.folder / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


async def released(link: Link) -> Release:
    """Return what the server says of newer clients, as a client believes it."""
    async with await Connection.open(link) as conn:
        chain, _ = await fetch_chain(conn, link, time.time())
        return believed(await conn.call("GET", "/v1/release", None, Envelope), chain, time.time())


def test_a_computer_that_joins_by_a_public_link_is_paid_where_no_research_waits(lab: Lab) -> None:
    lab.start_server()
    run = lab.dsage_json("admin", "welcome")["data"]["run"]
    made = lab.dsage_json("invite", "--public", "--per-hour", "2", "--per-network", "2")["data"]
    lab.start_client("first", made["link"])
    wait_for(lambda: paid(lab), lab.clients["first"])
    assert [each["data"]["title"] for each in told(lab, "first") if each["kind"] == "working"] == ["Welcome"]
    lab.start_client("second", made["link"])
    wait_for(lambda: lab.dsage_json("status", "--server", lab.described["link"])["data"]["volunteers"] == 2)
    lab.start_client("third", made["link"])
    assert lab.clients["third"].wait(30) != 0
    assert "2 computers joined from your network within the last hour" in (lab.folder / "third.log").read_text()
    (counted,) = lab.dsage_json("invite", "--list")["data"]
    assert (counted["number"], counted["used"], counted["lately"]) == (1, 2, 2)
    assert lab.dsage_json("admin", "welcome", "--off")["data"] == {"run": None, "ended": [run]}


def test_a_link_that_was_withdrawn_takes_nobody_in(lab: Lab) -> None:
    lab.start_server()
    link = lab.dsage_json("invite", "--public")["data"]["link"]
    assert lab.dsage_json("invite", "--revoke", "1")["data"][0]["revoked"]
    lab.start_client("late", link)
    assert lab.clients["late"].wait(30) != 0
    assert "this link was withdrawn" in (lab.folder / "late.log").read_text()
    done = lab.dsage("invite", "--revoke", "7", check=False)
    assert done.returncode != 0
    assert "there is no public link 7" in done.stderr


def test_links_say_which_work_is_for_those_who_join_by_them(lab: Lab) -> None:
    lab.start_server()
    for words, only in (
        ([], False), (["--verifiable-only"], True), (["--public"], True), (["--public", "--any-work"], False),
    ):  # fmt: skip
        assert lab.dsage_json("invite", *words)["data"]["verifiable_only"] is only
    made = json.loads((done := lab.dsage("invite", "--uses", "3", "--days", "2", "--qr", "--json")).stdout)["data"]
    assert (made["uses"], made["days"], "\u2588" in done.stderr) == (3, 2.0, True)
    assert [link["verifiable_only"] for link in lab.dsage_json("invite", "--list")["data"]] == [False, True]
    lab.start_client("stranger", lab.dsage_json("invite", "--verifiable-only")["data"]["link"])
    wait_for(lambda: [each for each in told(lab, "stranger") if each["kind"] == "joined"], lab.clients["stranger"])
    name = next(each["data"]["pseudonym"] for each in told(lab, "stranger") if each["kind"] == "joined")
    assert lab.dsage_json("admin", "trust", name)["data"] == {name: {"verifiable_only": False}}
    done = lab.dsage("admin", "trust", name, "nobody-at-all", "--withdraw", check=False)
    assert done.returncode != 0
    assert "there is no volunteer 'nobody-at-all'" in done.stderr


def test_a_link_leads_people_to_the_pages_if_those_have_a_certificate(lab: Lab) -> None:
    lab.start_server("--pages-url", "https://science.example.org", "--operator", "the people of a test")
    text = lab.dsage_json("invite")["data"]["link"]
    link = Link.parse(text)
    assert text.startswith("https://science.example.org/join#v=2&at=127.0.0.1:")
    assert (link.url, link.page) == (lab.described["url"], "https://science.example.org")
    lab.start_client("one", text)
    wait_for(lambda: [each for each in told(lab, "one") if each["kind"] == "connected"], lab.clients["one"])


def test_packages_are_published_by_command(lab: Lab) -> None:
    lab.start_server()
    package = lab.folder / "dsage_9.9.9_amd64.deb"
    package.write_bytes(b"a package")
    (shown,) = lab.dsage_json("admin", "publish-client", str(package))["data"]
    assert (shown["name"], shown["version"], shown["system"], shown["bytes"]) == (package.name, "9.9.9", "deb", 9)
    release = asyncio.run(released(Link.parse(lab.described["link"])))
    assert (release.version, [file.sha256 for file in release.files]) == ("9.9.9", [shown["sha256"]])
    key = lab.folder / "away.key"
    (lab.home / "keys" / "root.key").rename(key)
    assert "the root key, which signs that, is not here" in lab.dsage("admin", "publish-client", str(package)).stderr
    lab.dsage("admin", "publish-client", str(package), "--news", "quicker", "--root-key", str(key))
    assert asyncio.run(released(Link.parse(lab.described["link"]))).news == "quicker"
    done = lab.dsage("admin", "publish-client", str(lab.folder / "none.deb"), check=False)
    assert done.returncode != 0
    assert "none.deb cannot be published: No such file" in done.stderr
