"""What docs/recovery.md promises, typed as its reader would: after each loss the same people go on."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab, kill, wait_for

pytestmark = pytest.mark.timeout(60)
APP = """
from dsage import DistributedFunction, Unit


class Sum(DistributedFunction):
    def units(self):
        yield from (Unit(i, quorum=1) for i in range(1, self.n + 1))

    @staticmethod
    def compute(i):
        return i

    def process_result(self, unit, value):
        self.result = (self.result or 0) + value
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Lab]:
    """A server with one connected client, after one run."""
    made = Lab(tmp_path)
    (tmp_path / "sums.py").write_text(APP)
    try:
        made.start_server()
        made.join(1)
        works(made)
        yield made
    finally:
        made.stop()


def works(lab: Lab, *options: str) -> None:
    """Submit a run and wait for its answer."""
    found = lab.dsage_json("submit", f"{lab.folder / 'sums.py'}:Sum", "-p", "n=4", *options)
    assert found["data"]["result"] == 10


def end(lab: Lab, name: str = "") -> None:
    """Stop the server, or a client."""
    process = lab.clients[name] if name else lab.server
    assert process is not None
    process.terminate()
    assert process.wait(30) in (0, 130, 143, -15)


def volunteers(lab: Lab) -> list[tuple[int, int]]:
    """Return each volunteer with the number of paid copies."""
    database = sqlite3.connect(lab.home / "server" / "dsage.sqlite", timeout=15)
    try:
        query = (
            "SELECT v.id, count(c.id) FROM volunteer v LEFT JOIN credit_entry c ON c.volunteer_id = v.id "
            "GROUP BY v.id ORDER BY v.id"
        )
        return database.execute(query).fetchall()
    finally:
        database.close()


def test_a_lost_server_comes_back_and_its_client_goes_on_by_itself(running: Lab) -> None:
    secret, saved = running.folder / "passphrase", running.folder / "backups"
    secret.write_text("one two three four five\n")
    saved.mkdir()
    running.dsage("keys", "export-root", str(running.folder))
    running.dsage("admin", "backup", str(saved), "--passphrase-file", str(secret))
    works(running)
    assert running.server is not None
    kill(running.server)
    shutil.rmtree(running.home / "server")
    (backup,) = saved.iterdir()
    running.dsage(
        "admin", "restore", str(backup), "--passphrase-file", str(secret),
        "--root-key", str(running.folder / "root.key"),
    )  # fmt: skip
    running.start_server()
    works(running)
    assert volunteers(running) == [(1, 8)]


def test_a_lost_root_key_costs_new_links_and_no_account(running: Lab) -> None:
    end(running)
    end(running, "client1")
    (running.home / "keys" / "root.key").unlink()
    running.dsage("keys", "replace-root", "--yes")
    running.start_server()
    (refused,) = (running.folder / "client1" / "client" / "servers").iterdir()
    (refused / "membership.json").rename(refused / "membership.old")
    running.start_client("client1", running.invite(1))
    works(running)
    assert volunteers(running) == [(1, 8)]


def test_a_lost_unit_key_and_a_lost_code_key_are_replaced(running: Lab) -> None:
    away = running.folder / "drawer"
    away.mkdir()
    running.dsage("keys", "export-root", str(away))
    root = ("--root-key", str(away / "root.key"))
    end(running)
    unit, code = running.home / "server" / "unit.key", running.home / "keys" / "code-lab.key"
    for path in (unit, code):
        path.rename(running.folder / path.name)
    running.dsage("keys", "new", "unit")
    running.dsage("keys", "certify", str(unit), "--unit", *root)
    running.dsage("keys", "revoke", "key", str(running.folder / unit.name), *root)
    running.start_server()
    running.dsage("keys", "new", "code", "--name", "marie")
    marie = running.home / "keys" / "code-marie.key"
    running.dsage("keys", "certify", str(marie), "--project", "lab", "--name", "marie", *root)
    running.dsage("keys", "revoke", "key", str(running.folder / code.name), *root)
    link = running.described["link"]
    wait_for(lambda: running.dsage("login", link, "--key", "marie", check=False).returncode == 0)
    works(running, "--key", "marie")
    assert volunteers(running) == [(1, 8)]


def test_a_lost_volunteers_key_comes_back_from_its_copy_or_is_another_account(running: Lab) -> None:
    end(running, "client1")
    (client,) = (running.folder / "client1" / "client" / "servers").glob("*/client.key")
    client.unlink()
    for name in ("membership.json", "root.json"):
        (client.parent / name).unlink()
    running.start_client("client1", running.invite(1))
    works(running)
    assert volunteers(running) == [(1, 4), (2, 4)]
