"""The daily files for statistics sites: who is in them, in which forms, whole or not at all."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import msgspec
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import Connection, insert

from dsage import wire
from dsage.trust.documents import Manifest
from dsage.trust.envelope import seal
from dsage.trust.keys import PrivateKey
from dsage_server import exporting
from dsage_server.exporting import COBBLESTONES, DAY_S, Edition, make_edition, newest
from dsage_server.store import accounts, credit, daybook, earned, exports, hosts
from dsage_server.store.engine import Store
from dsage_server.store.migrate import upgrade
from dsage_server.store.schema import credit_entry, document
from dsage_server.store.teams import act, look
from dsage_server.store.testing import SQLITE, kinds, shared_cluster
from dsage_server.testing import running_server, until
from dsage_server.web.pages import make_pages

NOW: Final = 1_790_000_000.0
FILES: Final = {
    "users.jsonl.gz", "users.csv.gz", "user.gz", "hosts.jsonl.gz", "hosts.csv.gz", "host.gz", "teams.jsonl.gz",
    "teams.csv.gz", "team.gz", "deleted.jsonl.gz", "deleted.csv.gz", "user_deleted.gz", "tables.xml", "totals.json",
}  # fmt: skip


@pytest.fixture(params=kinds())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty database, of either kind."""
    place = tmp_path / "db.sqlite" if request.param == SQLITE else shared_cluster().database()
    upgrade(place)
    store = Store(place)
    yield store
    store.close()


def join(store: Store, key: bytes, *, export: bool, name: str = "attic & cellar") -> hosts.Known:
    """Enrol somebody, with a computer, who has earned 2.5 credits."""

    def change(c: Connection) -> hosts.Known:
        known = hosts.enrol(c, key, hosts.make_invite(c, 1, 9.0, NOW), wire.Privacy(), NOW)
        said = wire.HostInfo(client="c", platform="linux-x86_64", cores=4, memory_bytes=1, sandbox="", name=name)
        hosts.describe(c, known.host, said, NOW)
        accounts.set_privacy(c, known.volunteer, wire.Privacy(export=export), NOW)
        row = {
            "volunteer_id": known.volunteer, "host_id": known.host, "replica_id": known.host, "project": "p",
            "kind": "grant", "amount_milli": 2500, "granted": NOW, "app": "a",
            "team_id": look(c, known.volunteer, NOW).team or None,
        }  # fmt: skip
        c.execute(insert(credit_entry).values(row))
        credit.fold(c)
        return known

    return store.write_now(change)


def made(store: Store, folder: Path, now: float = NOW) -> Path:
    return store.read_now(lambda c: make_edition(c, folder, "server", now))


def opened(edition: Path, name: str) -> bytes:
    return gzip.decompress((edition / name).read_bytes())


def lines(edition: Path, name: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in opened(edition, f"{name}.jsonl.gz").splitlines()]


def everything(folder: Path) -> bytes:
    """Return all that a folder holds, in plain text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return b"".join(gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in files)


def test_people_are_in_it_by_their_consent_and_everybody_is_in_the_sums(store: Store, tmp_path: Path) -> None:
    public, private = join(store, b"1", export=True), join(store, b"2", export=False)
    store.write_now(lambda c: daybook.close(c, NOW))
    day = store.read_now(daybook.unhashed)
    assert day is not None
    store.write_now(lambda c: daybook.keep(c, day))
    edition = made(store, tmp_path / "export")
    (user,) = lines(edition, "users")
    assert (user["id"], user["name"], user["credit"], user["valid"]) == (public.volunteer, public.pseudonym, 2.5, 1)
    assert [host["user"] for host in lines(edition, "hosts")] == [public.volunteer]
    text = everything(edition)
    assert private.pseudonym.encode() not in text
    assert b"attic" not in text, "the computer's name"
    told = msgspec.json.decode((edition / "index.json").read_bytes(), type=Edition)
    assert (told.totals.users, told.totals.users_here, told.totals.hosts, told.totals.credit) == (2, 1, 2, 5.0)
    assert (told.totals.ledger_number, told.totals.ledger_hash) == (day.number, day.hash)
    assert {entry.name for entry in told.files} == FILES
    for entry in told.files:
        data = (edition / entry.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry.bytes, entry.sha256)


def test_the_three_forms_say_the_same(store: Store, tmp_path: Path) -> None:
    known = join(store, b"1", export=True)
    team = store.write_now(
        lambda c: act(c, known.volunteer, wire.TeamWish(do="create", name="O'Neil & Sons, 東京"), NOW)
    )
    edition = made(store, tmp_path / "export")
    (user,) = lines(edition, "users")
    assert user["team"] == team.team
    (row,) = csv.DictReader(io.StringIO(opened(edition, "users.csv.gz").decode()))
    assert row == {name: str(value) for name, value in user.items()}
    (element,) = ElementTree.fromstring(opened(edition, "user.gz"))
    said = {each.tag: each.text for each in element}
    assert (element.tag, said["id"], said["name"], said["teamid"]) == ("user", str(user["id"]), user["name"], "1")
    assert float(said["total_credit"] or 0) == 2.5 * COBBLESTONES
    assert float(said["expavg_credit"] or 0) == pytest.approx(user["recent"] * COBBLESTONES, abs=1e-6)
    (host,) = ElementTree.fromstring(opened(edition, "host.gz"))
    assert [host.findtext(tag) for tag in ("userid", "os_name", "p_model", "ncpus")] == ["1", "linux", "x86_64", "4"]
    (group,) = ElementTree.fromstring(opened(edition, "team.gz"))
    assert (group.findtext("name"), group.findtext("founder_name")) == ("O'Neil & Sons, 東京", known.pseudonym)
    assert ElementTree.parse(edition / "tables.xml").findtext("nusers_total") == "1"


def test_a_team_names_nobody_who_did_not_agree(store: Store, tmp_path: Path) -> None:
    founder, member = join(store, b"1", export=False), join(store, b"2", export=False)

    def found(c: Connection) -> None:
        act(c, founder.volunteer, wire.TeamWish(do="create", name="Otters"), NOW)
        code = act(c, founder.volunteer, wire.TeamWish(do="invite"), NOW).code
        act(c, member.volunteer, wire.TeamWish(do="join", code=code), NOW)

    store.write_now(found)
    assert lines(made(store, tmp_path / "a"), "teams") == []
    store.write_now(lambda c: accounts.set_privacy(c, member.volunteer, wire.Privacy(export=True), NOW))
    edition = made(store, tmp_path / "b")
    (team,) = lines(edition, "teams")
    assert (team["name"], team["members"], team["founder"], team["founder_name"]) == ("Otters", 2, None, "")
    assert founder.pseudonym.encode() not in everything(edition)


@pytest.mark.parametrize("erase", [True, False])
def test_who_withdraws_is_gone_the_day_after_and_told_for_sixty_days(store: Store, tmp_path: Path, erase: bool) -> None:
    stays, goes = join(store, b"1", export=True), join(store, b"2", export=True)
    join(store, b"3", export=False)
    folder = tmp_path / "export"
    made(store, folder)
    if erase:
        store.write_now(lambda c: accounts.leave(c, goes, erase=True, now=NOW + 60))
    else:
        store.write_now(lambda c: accounts.set_privacy(c, goes.volunteer, wire.Privacy(), NOW + 60))
    edition = made(store, folder, NOW + DAY_S)
    assert list(folder.iterdir()) == [edition]
    assert goes.pseudonym.encode() not in everything(folder)
    assert [user["id"] for user in lines(edition, "users")] == [stays.volunteer]
    (gone,) = lines(edition, "deleted")
    assert (gone["id"], gone["withdrawn"]) == (goes.volunteer, NOW + 60)
    (element,) = ElementTree.fromstring(opened(edition, "user_deleted.gz"))
    assert element.findtext("cpid") == gone["cpid"] == exports.cpid("server", goes.volunteer)
    assert lines(made(store, folder, NOW + 60 * DAY_S), "deleted") == [gone]
    assert lines(made(store, folder, NOW + 62 * DAY_S), "deleted") == []


def test_an_edition_is_whole_or_not_there(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    join(store, b"1", export=True)
    folder = tmp_path / "export"
    first = made(store, folder)
    with monkeypatch.context() as patch:
        patch.setattr(exporting, "_team", full)
        patch.setattr(exporting, "_tables", full)
        with pytest.raises(OSError, match="No space"):
            made(store, folder, NOW + DAY_S)
    assert list(folder.iterdir()) == [first]
    assert newest(folder, NOW) == newest(folder, NOW + DAY_S) == first
    assert newest(folder, NOW + 2 * DAY_S) is None, "it may name who withdrew since"
    second = made(store, folder, NOW + DAY_S)
    assert made(store, folder, NOW + DAY_S) == second, "another process may make the same"
    assert list(folder.iterdir()) == [second]


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


async def test_files_are_served_with_etags_and_nothing_else_is(store: Store, tmp_path: Path) -> None:
    join(store, b"1", export=True)
    folder = tmp_path / "export"
    app = make_pages(store, server_id="s", name="n", clock=lambda: NOW, exports=folder)
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        assert (await client.get("/export.json")).status == 404
        edition = made(store, folder)
        reply = await client.get("/export.json")
        assert (reply.status, reply.content_type) == (200, "application/json")
        for entry in msgspec.json.decode(await reply.read(), type=Edition).files:
            got = await client.get(f"/export/{entry.name}")
            assert hashlib.sha256(await got.read()).hexdigest() == entry.sha256
            assert "Content-Encoding" not in got.headers
            again = await client.get(f"/export/{entry.name}", headers={"If-None-Match": got.headers["ETag"]})
            assert (again.status, await again.read()) == (304, b"")
        (edition / "secret.txt").write_text("x")
        for name in ("secret.txt", "..%2f..%2fdb.sqlite", ".gz", "no.gz", ""):
            assert (await client.get(f"/export/{name}")).status == 404
        shutil.rmtree(edition)
        assert (await client.get("/export/user.gz")).status == 404


async def test_the_steady_are_listed_while_they_are_on_the_leaderboard(store: Store) -> None:
    known, hidden = join(store, b"1", export=False), join(store, b"2", export=False)
    later = NOW + 8 * DAY_S
    for each in (known, hidden):
        store.write_now(lambda c, n=each.volunteer: accounts.set_privacy(c, n, wire.Privacy(leaderboard=True), NOW))  # type: ignore[misc]
    found = store.read_now(lambda c: earned.steadiest(c, later))
    assert found == [(known.volunteer, 1), (hidden.volunteer, 1)]
    assert store.read_now(lambda c: earned.steadiest(c, NOW)) == [], "this week is not over"
    store.write_now(lambda c: earned.keep_steadiest(c, found))
    store.write_now(lambda c: accounts.set_privacy(c, hidden.volunteer, wire.Privacy(), NOW))
    async with TestClient(TestServer(make_pages(store, server_id="s", name="n"))) as client:
        data = (await (await client.get("/steady.json")).json())["data"]
    assert data == {"of_weeks": 26, "hands": [{"pseudonym": known.pseudonym, "weeks": 1}]}


def test_ones_own_badges_come_from_the_sums(store: Store) -> None:
    known = join(store, b"1", export=False)
    view = store.read_now(lambda c: earned.badges_of(c, known.volunteer, NOW + DAY_S))
    assert [(badge.kind, badge.name) for badge in view.badges] == [("event", "first-result")]
    assert (view.streak, view.longest, view.free, view.steady_of) == (1, 1, 2, 26)
    key = PrivateKey.generate()
    for number, title in enumerate(("Old", "New")):
        manifest = Manifest(project="p", title=title, entry="a:A", bundle="0" * 64, bundle_bytes=1)
        row = {"kind": "manifest", "envelope": msgspec.msgpack.encode(seal(manifest, key)), "created": NOW + number}
        app = "a" if number == 0 else "b"
        store.write_now(lambda c, row={**row, "hash": app}: c.execute(insert(document).values(row)))  # type: ignore[misc]
    entry = {"volunteer_id": known.volunteer, "project": "p", "kind": "manual", "amount_milli": 8000, "app": "b"}
    store.write_now(lambda c: c.execute(insert(credit_entry).values(entry | {"granted": NOW + DAY_S})))
    store.write_now(credit.fold)
    view = store.read_now(lambda c: earned.badges_of(c, known.volunteer, NOW + DAY_S))
    earned_at = [(badge.name, badge.title, badge.level, badge.at // DAY_S) for badge in view.badges if badge.level]
    day = NOW // DAY_S
    assert earned_at == [("p/a:A", "New", 1, day), ("p/a:A", "New", 2, day + 1)], "versions of an app are one app"


async def test_a_server_makes_todays_files_and_serves_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "AFTER_S", 0.0)
    async with running_server(tmp_path / "home") as server, ClientSession() as session:

        async def there() -> bool:
            async with session.get(f"{server.pages_url}/export.json") as reply:
                return reply.status == 200

        await until(there)
        async with session.get(f"{server.pages_url}/export.json") as reply:
            told = msgspec.json.decode(await reply.read(), type=Edition)
        assert told.server_id == server.hub.server_id
