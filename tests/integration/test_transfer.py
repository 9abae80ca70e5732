"""A server's SQLite database moves to PostgreSQL: nothing is lost, and a run that is half done goes on there."""

from __future__ import annotations

import stat
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Boolean, Float, LargeBinary, delete, insert, select, text
from sqlalchemy.exc import OperationalError

from dsage import codec
from dsage.errors import Conflict, NotFound, UsageError
from dsage.home import Home
from dsage.researcher import Researcher
from dsage.trust.keys import PrivateKey
from dsage_server.admin import admin
from dsage_server.locking import only_one
from dsage_server.store import transfer
from dsage_server.store.engine import Store
from dsage_server.store.place import DATABASE, MEMORY, MOVED, place_of
from dsage_server.store.schema import metadata, volunteer
from dsage_server.store.testing import SQLITE, VARIABLE, fresh, shared_cluster
from dsage_server.store.transfer import migrate_store
from dsage_server.testing import HandDriver, World, running_server


@pytest.fixture(autouse=True)
def _sqlite_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SQLITE)


def fill(store: Store, count: int = 3) -> None:
    """Put rows into every table, with texts, bytes and numbers of every kind that a column may hold."""
    for table in metadata.sorted_tables:
        rows = [{c.name: value(c, n) for c in table.columns} for n in range(1, count + 1)]
        store.write_now(lambda c, t=table: c.execute(delete(t)))  # type: ignore[misc]
        store.write_now(lambda c, t=table, r=rows: c.execute(insert(t), r))  # type: ignore[misc]


def value(column: Any, n: int) -> Any:
    if column.foreign_keys:
        return value(next(iter(column.foreign_keys)).column, n)
    if isinstance(column.type, Boolean):
        return n % 2 == 0
    if isinstance(column.type, Float):
        return None if column.nullable and n == 2 else 1_800_000_000.1 / n
    if isinstance(column.type, LargeBinary):
        return bytes([0, 255, n]) * n
    if column.type.python_type is int:
        return n if column.primary_key or not column.nullable else None if n == 2 else n
    return f"{column.name} {n} \\t\n\"'é" if n < 3 else "a nul \0 here 3" + str(n)


def rows_of(where: Path | str) -> dict[str, list[tuple[Any, ...]]]:
    store = Store(where)
    try:
        with store.reading() as c:
            return {t.name: sorted(map(tuple, c.execute(select(t))), key=repr) for t in metadata.sorted_tables}
    finally:
        store.close()


def filled(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    store = Store(fresh(folder, SQLITE))
    fill(store)
    store.close()
    return rows_of(folder / DATABASE)


def test_every_table_goes_over_and_numbers_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "ROWS", 2)
    before, url, said = filled(tmp_path), shared_cluster().database(), []
    assert all(len(rows) == 3 for rows in before.values())
    assert migrate_store(tmp_path, url, said.append) == dict.fromkeys(before, 3)
    assert f"{volunteer.name}: 3 rows" in said
    after = rows_of(url)
    clean = {name: [tuple(_without_nul(v) for v in row) for row in rows] for name, rows in before.items()}
    assert {name: sorted(rows, key=repr) for name, rows in clean.items()} == after
    assert "\ufffd" in repr(after["run"])
    assert place_of(tmp_path) == url
    assert stat.S_IMODE((tmp_path / MEMORY).stat().st_mode) == 0o600
    assert (tmp_path / MOVED).exists()
    assert not (tmp_path / DATABASE).exists()
    store = Store(url)
    new = insert(volunteer).values(pseudonym="later", public=True, created=1.0).returning(volunteer.c.id)
    assert store.write_now(lambda c: c.execute(new).scalar_one()) == 4
    store.close()


def _without_nul(value: Any) -> Any:
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def test_what_broke_off_is_begun_again_and_what_was_done_is_found_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, url = filled(tmp_path), shared_cluster().database()

    def breaks(*_: object) -> None:
        raise OperationalError("COMMIT", {}, Exception("the line is dead"))

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "set_sequences", breaks)
        with pytest.raises(Exception, match="the line is dead"):
            migrate_store(tmp_path, url, lambda _: None)
    assert rows_of(tmp_path / DATABASE) == before
    assert not any(rows_of(url).values())
    assert place_of(tmp_path) == tmp_path / DATABASE
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "remember", breaks)
        with pytest.raises(OperationalError):
            migrate_store(tmp_path, url, lambda _: None)
    said: list[str] = []
    assert migrate_store(tmp_path, url, said.append)["unit"] == 3
    assert "compared" in said[0]
    assert place_of(tmp_path) == url


def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    before, url = filled(tmp_path), shared_cluster().migrated()
    with only_one(tmp_path), pytest.raises(Conflict, match="a server runs on"):
        migrate_store(tmp_path, url, lambda _: None)
    store = Store(url)
    store.write_now(lambda c: c.execute(text("INSERT INTO meta VALUES ('another', 'server')")))
    store.close()
    with pytest.raises(Conflict, match="is not empty"):
        migrate_store(tmp_path, url, lambda _: None)
    with pytest.raises(UsageError, match="PostgreSQL"):
        migrate_store(tmp_path, "mysql://root@localhost/x", lambda _: None)
    assert rows_of(tmp_path / DATABASE) == before
    assert place_of(tmp_path) == tmp_path / DATABASE
    (tmp_path / "other").mkdir()
    with pytest.raises(NotFound, match="no SQLite database"):
        migrate_store(tmp_path / "other", url, lambda _: None)


async def test_a_run_that_is_half_done_goes_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        world = World(running, tmp_path, stack)
        host, other, run = await world.host(), await world.host(), await world.run()
        await run.make(1, 2, 3, quorum=2)
        out = await host.fetch(3)
        assert await host.report(out[:2], [1, 2]) == ["ok", "ok"]
        keys: list[PrivateKey] = [host.key, other.key]
        number = run.run
    url = shared_cluster().database()
    monkeypatch.setenv("DSAGE_HOME", str(tmp_path))
    secret = url.replace("postgres@", "postgres:hidden@")
    done = CliRunner().invoke(admin, ["migrate-store", secret], catch_exceptions=False)
    assert done.exit_code == 0
    assert "hidden" not in done.output
    assert "and equal" in done.output
    async with running_server(tmp_path) as running, AsyncExitStack() as stack:
        assert running.hub.store.shared
        world = World(running, tmp_path, stack)
        host, other = [await world.host(key) for key in keys]
        assert (await host.introduce(out[2])).abort == []
        assert await host.report(out[2:], [3]) == ["ok"]
        got = await other.fetch(3)
        assert await other.report(got, [1, 2, 3]) == ["ok"] * 3
        researcher = await stack.enter_async_context(await Researcher.open(Home(tmp_path)))
        run = HandDriver(researcher, number, (await researcher.drive(number)).fence, step=1)
        answers = (await run.answers()).answers
        assert sorted(codec.decode(a.value or b"") for a in answers) == [1, 2, 3]
        await run.commit(folded=[a.unit for a in answers], finished=True, result=codec.encode("all"))
        view = await world.view(run)
        assert (view.state, view.units, view.replicas) == ("done", {"valid": 3}, {"valid": 6})
