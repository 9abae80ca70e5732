"""Researchers' pages: what only a run's researcher sees and does, and that it is only theirs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import html5lib
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from dsage.trust.chain import Chain
from dsage.trust.documents import CodeKey
from dsage.trust.keys import PrivateKey
from dsage.trust.testing import World as Trust
from dsage_server.blobs.library import Blobs
from dsage_server.blobs.objects import open_store
from dsage_server.hub import Hub
from dsage_server.store import api_tokens, deeds, printed, projects, visits
from dsage_server.store.schema import replica
from dsage_server.store.visits import Role
from dsage_server.web.pages import make_pages
from dsage_server.web.testing import SERVER_ID, World

Client = TestClient[web.Request, web.Application]
HOSTILE = "<img src=x onerror=alert(1)>"
PAGES = (
    "/runs", "/runs/{run}", "/runs/{run}/units", "/runs/{run}/units?state=failed", "/runs/{run}/units/{unit}",
    "/runs/{run}/cancel", "/runs/{run}/retry?unit={unit}", "/runs/{run}/pause", "/tokens", "/tokens/{token}/revoke",
)  # fmt: skip
TWINS = ("/runs", "/runs/{run}", "/runs/{run}/units", "/runs/{run}/units/{unit}", "/tokens")
FILES = ("json", "jsonl", "csv")
ACTS = ("pause", "resume", "cancel", "retry", "retire", "host")


@dataclass
class Lab:
    """A world with two researchers; what is in it is the first one's."""

    world: World
    hub: Hub
    client: Client
    other: bytes
    token: int = 0
    run: int = 0
    unit: int = 0
    cookies: dict[str, str] = field(default_factory=dict)

    def at(self, address: str) -> str:
        """Return an address of something that is the first researcher's."""
        return address.format(run=self.run, unit=self.unit, token=self.token)

    def logged_in(self, key: bytes) -> dict[str, str]:
        """Return the headers of a browser that is logged in."""
        token = self.world.store.write_now(
            lambda c: visits.begin(c, Role.RESEARCHER, key.hex(), "link", self.world.now)
        )
        return {"Cookie": f"__Host-researcher={token}", "Sec-Fetch-Site": "same-origin"}

    @property
    def mine(self) -> dict[str, str]:
        """The headers of the first researcher's browser."""
        return self.logged_in(self.world.researcher)

    @property
    def theirs(self) -> dict[str, str]:
        """The headers of the other one's."""
        return self.logged_in(self.other)

    async def read(self, address: str, headers: dict[str, str] | None = None) -> str:
        """Return a page that is there, parsed strictly."""
        response = await self.client.get(self.at(address), headers=self.mine if headers is None else headers)
        text = await response.text()
        assert response.status == 200, (address, text)
        html5lib.HTMLParser(strict=True).parse(text)
        return text

    async def twin(self, address: str, **headers: str) -> Any:
        """Return the data of a page's twin."""
        response = await self.client.get(f"{self.at(address)}.json", headers=headers or self.mine)
        assert response.status == 200
        return (await response.json())["data"]

    def chain(self, **changes: Any) -> Chain:
        """Return a chain that certifies both researchers."""
        keys = [(self.world.researcher, "anna"), (self.other, "bert")]
        until = self.world.now + 9e6
        known = [CodeKey(key=key, name=name, projects=["example"], expires=until) for key, name in keys]
        return Trust().chain(code_keys=known, **changes)


@pytest.fixture
async def lab(world: World, tmp_path: Path) -> AsyncIterator[Lab]:
    """A run with a unit that failed on two computers, and one that is done."""
    objects = open_store(str(tmp_path), SERVER_ID, min_free_bytes=0)
    blobs = Blobs(store=world.store, objects=objects, clock=lambda: world.now)
    hub = Hub(
        store=world.store, unit_key=PrivateKey.generate(), chain=Trust().chain(), blobs=blobs, clock=lambda: world.now
    )
    app = make_pages(world.store, server_id=SERVER_ID, name="Lab", clock=lambda: world.now, period_s=0.01, hub=hub)
    async with TestClient(TestServer(app)) as client:
        lab = Lab(world, hub, client, PrivateKey.generate().public)
        hub.chain = lab.chain()
        people = [world.join(name) for name in ("ada", "bob", "eve")]
        lab.run = world.submit(f"Curves {HOSTILE}", n=1)
        done, failing = world.step(lab.run, args=[{"from": 1}, {"from": 2}])
        world.compute(done, {"sum": 2**80}, *people[:2])
        for caller in (people[0], people[1], people[0], people[1]):
            world.lease(caller, failing)
            world.report(caller, failing, status="failed", detail=f"exception: Traceback\n{HOSTILE}")
        lab.unit = failing
        copy = world.store.read_now(lambda c: c.execute(replica.select().order_by(replica.c.id.desc())).first())
        assert copy is not None
        world.store.write_now(lambda c: printed.keep(c, [(copy.id, f"curve 1\n{HOSTILE}\n".encode())]))
        made, _ = world.store.write_now(
            lambda c: api_tokens.make(c, world.researcher, f"plots {HOSTILE}", "read", 60.0, world.now)
        )
        lab.token = made.id
        yield lab


async def test_every_page_is_whole_and_only_text(lab: Lab) -> None:
    for address in PAGES:
        text = await lab.read(address)
        assert HOSTILE not in text, address
        assert "style=" not in text
        assert "&lt;img" in text, address
    response = await lab.client.get("/runs", headers=lab.mine)
    assert response.headers["Cache-Control"] == "no-store"


async def test_what_a_run_was_asked_is_told_with_its_values_on_one_line(lab: Lab) -> None:
    for address in ("/runs", "/runs/{run}", "/runs/{run}/cancel"):
        assert "n\u00a0=\u00a01<" in await lab.read(address), address


async def test_whoever_is_not_logged_in_is_told_how(lab: Lab) -> None:
    for address in PAGES:
        response = await lab.client.get(lab.at(address))
        assert response.status == 401
        assert "dsage web" in await response.text()
    for role, subject in ((Role.VOLUNTEER, "1"), (Role.OPERATOR, "")):
        token = lab.world.store.write_now(lambda c, r=role, s=subject: visits.begin(c, r, s, "link", lab.world.now))  # type: ignore[misc]
        for name in (role, Role.RESEARCHER):
            assert (await lab.client.get("/runs", headers={"Cookie": f"__Host-{name}={token}"})).status == 401


@pytest.mark.parametrize("number", ["theirs", "missing"])
async def test_nothing_of_another_researcher_is_told_from_what_is_not_there(lab: Lab, number: str) -> None:
    """Every route, reading and changing: whoever asks for another's run gets what they get for none."""
    run = lab.run if number == "theirs" else 10**6
    token = lab.token if number == "theirs" else 10**6
    for address in (
        *PAGES[1:],
        *(f"{twin}.json" for twin in TWINS[1:-1]),
        *(f"/runs/{{run}}/results.{k}" for k in FILES),
    ):
        if address != "/tokens":
            path = address.format(run=run, unit=lab.unit, token=token)
            response = await lab.client.get(path, headers=lab.theirs)
            told = (await response.text()).replace(str(run), "N").replace(str(token), "N")
            assert response.status == 404, path
            assert "you have no" in told.lower()
            assert "Curves" not in told
    for act in (*ACTS, "approve"):
        response = await lab.client.post(f"/runs/{run}/{act}", headers=lab.theirs)
        assert response.status == 404, act
        assert "you have no run" in (await response.text()).lower()
    assert (await lab.client.post(f"/tokens/{token}/revoke", headers=lab.theirs)).status == 404
    assert (await lab.twin("/runs", **lab.theirs))["runs"] == []
    assert (await lab.twin("/tokens", **lab.theirs))["tokens"] == []
    assert (await lab.twin("/runs/{run}"))["run"]["state"] == "running"
    assert (await lab.twin("/tokens"))["tokens"][0]["state"] == "works"
    assert lab.world.store.read_now(deeds.count) == 0


async def test_another_site_changes_nothing(lab: Lab) -> None:
    for address in (*(f"/runs/{lab.run}/{act}" for act in ACTS), "/tokens", f"/tokens/{lab.token}/revoke"):
        response = await lab.client.post(address, headers={**lab.mine, "Sec-Fetch-Site": "cross-site"})
        assert response.status == 403
    assert (await lab.twin("/runs/{run}"))["run"]["state"] == "running"


async def test_a_key_that_is_certified_no_more_opens_nothing(lab: Lab) -> None:
    mine, token = lab.mine, lab.world.store.write_now(
        lambda c: api_tokens.make(c, lab.world.researcher, "x", "write", 60.0, lab.world.now)
    )[1]  # fmt: skip
    lab.hub.chain = lab.chain(revoked_keys=[lab.world.researcher])
    for headers in (mine, {"Authorization": f"Bearer {token}"}):
        assert (await lab.client.get("/runs.json", headers=headers)).status == 403
    assert (await lab.client.post(f"/runs/{lab.run}/cancel", headers=mine)).status == 403


async def test_the_researcher_sees_how_each_copy_stands_however_few_go_on(lab: Lab) -> None:
    lab.world.step(lab.run, args=[{"from": 3}])
    told = (await lab.twin("/runs/{run}"))["run"]
    assert told["units"]["ready"] == 1
    assert told["replicas"] == {"valid": 2, "error": 4}
    public = json.loads(await (await lab.client.get(f"/run/{lab.run}.json")).text())["data"]["run"]
    assert "ready" not in public["units"]
    assert public["replicas"] == {}


async def test_failures_are_told_by_computer_and_platform(lab: Lab) -> None:
    told = (await lab.twin("/runs/{run}"))["failures"]
    assert (told["bad"], told["verdict"], told["shared"]) == (4, "units", 1)
    assert [(row["error"], row["units"]) for row in told["computers"]] == [(2, 1), (2, 1)]
    assert [each["counts"] for each in told["reasons"]] == [[4]]
    names = {row["name"] for row in told["computers"]}
    assert all(len(name) == 6 for name in names)
    assert "1 unit failed on more than one computer" in await lab.read("/runs/{run}")
    second = lab.world.submit("Other")
    assert second
    assert {row["name"] for row in (await lab.twin("/runs/{run}"))["failures"]["computers"]} == names


async def test_units_come_with_arguments_answers_and_what_their_copies_printed(lab: Lab) -> None:
    units = (await lab.twin("/runs/{run}/units"))["units"]
    assert [unit["args"]["value"] for unit in units] == [{"from": 1}, {"from": 2}]
    assert units[0]["value"]["value"] == {"sum": str(2**80)}
    told = await lab.twin("/runs/{run}/units/{unit}")
    assert told["can_retry"]
    assert {copy["state"] for copy in told["copies"]} == {"error"}
    assert any(copy["output"].startswith("curve 1") for copy in told["copies"])
    assert (await lab.client.get(f"/runs/{lab.run}/units?state=odd", headers=lab.mine)).status == 400
    assert (await lab.client.get(f"/runs/{lab.run}/units/999999", headers=lab.mine)).status == 404


async def test_units_are_listed_page_by_page(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsage_server.web.researchers.units.PAGE_UNITS", 1)
    text = await lab.read("/runs/{run}/units")
    first = (await lab.twin("/runs/{run}/units"))["units"][0]["unit"]
    assert f"units?after={first}" in text
    rest = json.loads(
        await (await lab.client.get(f"/runs/{lab.run}/units.json?after={first}", headers=lab.mine)).text()
    )
    assert [unit["unit"] for unit in rest["data"]["units"]] == [lab.unit]


async def test_files_are_those_of_the_command(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsage_server.web.researchers.units.FILE_UNITS", 1)
    texts = {}
    for kind in FILES:
        response = await lab.client.get(f"/runs/{lab.run}/results.{kind}", headers=lab.mine)
        assert response.headers["Content-Disposition"] == f'attachment; filename="run-{lab.run}.{kind}"'
        texts[kind] = await response.text()
    whole = json.loads(texts["json"])
    assert (whole["schema"], whole["data"]["run"]) == ("dsage.units/1", lab.run)
    assert whole["data"]["units"] == [json.loads(line) for line in texts["jsonl"].splitlines()]
    assert [unit["value"] for unit in whole["data"]["units"]] == [{"sum": str(2**80)}, None]
    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert [row["state"] for row in rows] == ["valid", "failed"]


async def test_a_run_without_units_has_files_too(lab: Lab) -> None:
    empty = lab.world.submit("Empty")
    text = await (await lab.client.get(f"/runs/{empty}/results.json", headers=lab.mine)).text()
    assert json.loads(text)["data"]["units"] == []


async def post(lab: Lab, address: str, **form: str) -> int:
    """Press a button; return the status."""
    response = await lab.client.post(lab.at(address), headers=lab.mine, data=form, allow_redirects=False)
    return response.status


async def test_a_run_is_paused_resumed_cancelled_and_it_is_written_down(lab: Lab) -> None:
    for act, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert "<button" in await lab.read(f"/runs/{{run}}/{act}")
        assert (await lab.twin("/runs/{run}"))["run"]["state"] != state
        assert await post(lab, f"/runs/{{run}}/{act}") == 303
        assert (await lab.twin("/runs/{run}"))["run"]["state"] == state
    done = lab.world.store.read_now(lambda c: deeds.newest(c, 9))
    assert [(each.actor, each.action, each.about) for each in reversed(done)] == [
        ("anna", did, f"run {lab.run}") for did in ("paused", "resumed", "cancelled")
    ]
    assert (await lab.client.get(f"/runs/{lab.run}/pause", headers=lab.mine)).status == 409
    assert await post(lab, "/runs/{run}/pause") == 409


async def test_one_failed_unit_is_tried_again(lab: Lab) -> None:
    assert await post(lab, "/runs/{run}/retry", unit="nonsense") == 404
    assert await post(lab, "/runs/{run}/retry", unit=str(lab.unit)) == 303
    assert (await lab.twin("/runs/{run}/units/{unit}"))["line"]["state"] == "ready"


async def test_a_newcomers_run_is_approved_by_a_second_person(lab: Lab) -> None:
    lab.world.store.write_now(lambda c: projects.ask(c, lab.run, lab.world.researcher, lab.world.now))
    assert (await lab.twin("/runs"))["waiting"] == []
    (waits,) = (await lab.twin("/runs", **lab.theirs))["waiting"]
    assert (waits["run"], waits["researcher"]) == (lab.run, "anna")
    assert (await lab.twin("/runs/{run}"))["actions"] == ["cancel"]
    assert await post(lab, "/runs/{run}/resume") == 403
    assert await post(lab, "/runs/{run}/approve") == 404
    text = await lab.read("/runs/{run}/approve", lab.theirs)
    assert "first run of anna" in text
    response = await lab.client.post(lab.at("/runs/{run}/approve"), headers=lab.theirs, allow_redirects=False)
    assert response.status == 303
    assert (await lab.twin("/runs/{run}"))["run"]["state"] == "running"
    assert lab.world.store.read_now(lambda c: deeds.newest(c, 1))[0].action == "approved"
    assert (await lab.client.get(lab.at("/runs/{run}/approve"), headers=lab.theirs)).status == 404


async def test_tokens_are_made_shown_once_and_revoked(lab: Lab) -> None:
    response = await lab.client.post("/tokens", headers=lab.mine, data={"name": "csv", "scope": "read", "days": "7"})
    text = await response.text()
    secret = "dsage_" + text.partition("<code>dsage_")[2].partition("<")[0]
    assert len(secret) > 40
    assert secret not in await lab.read("/tokens")
    auth = {"Authorization": f"Bearer {secret}"}
    assert [run["line"]["run"] for run in (await lab.twin("/runs", **auth))["runs"]] == [lab.run]
    assert (await lab.client.get(f"/runs/{lab.run}/results.csv", headers=auth)).status == 200
    number = (await lab.twin("/tokens"))["tokens"][0]["id"]
    assert await post(lab, f"/tokens/{number}/revoke") == 303
    assert (await lab.client.get("/runs.json", headers=auth)).status == 401
    for wrong in ({"days": "9"}, {"scope": "all"}, {"name": ""}):
        assert await post(lab, "/tokens", **{"name": "x", "scope": "read", "days": "7", **wrong}) == 400


async def test_no_token_changes_anything_on_pages(lab: Lab) -> None:
    made = lab.world.store.write_now(
        lambda c: api_tokens.make(c, lab.world.researcher, "x", "write", 60.0, lab.world.now)
    )
    auth = {"Authorization": f"Bearer {made[1]}"}
    for address in (*(f"/runs/{lab.run}/{act}" for act in ACTS), "/tokens", f"/tokens/{lab.token}/revoke"):
        assert (await lab.client.post(address, headers=auth)).status == 401


async def test_who_has_nothing_is_told_how_to_begin(lab: Lab) -> None:
    assert "dsage submit TARGET" in await lab.read("/runs", lab.theirs)
    assert (await lab.client.get("/runs?page=2", headers=lab.mine)).status == 404


async def test_quotas_and_versions_are_told(lab: Lab) -> None:
    told = await lab.twin("/runs")
    assert {each["what"]: each["used"] for each in told["held"]} == {"runs": 1, "open_units": 0, "blob_bytes": 0}
    (version,) = told["versions"]
    assert (version["valid"], version["error"], version["units"]) == (2, 4, 1)
