from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from dsage import codec
from dsage.errors import Conflict, UsageError
from dsage.sandbox import Level, Outcome
from dsage.trust.invite import Link
from dsage_client import events, joining, membership, runner
from dsage_client.cli import join
from dsage_client.membership import Membership
from dsage_client.runner import Altered, SandboxRunner, Work
from dsage_client.settings import Settings

HERE = Link("https://localhost:1", "server", "a" * 64, "b" * 64, "code")
DONE = Outcome("done", b"\x05", "", "", 0.1, 0.1)
BROKEN = Outcome("broken", None, "sandbox", "", 0.0, 0.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(folder=tmp_path)


def test_importing_the_client_loads_neither_server_nor_mathematics() -> None:
    modules = "import dsage_client.cli, dsage_client.joining, dsage_client.agent, dsage_client.runner, sys; "
    heavy = "{'sqlalchemy', 'numpy', 'flint', 'gmpy2', 'rich', 'dsage_server', 'dsage_validator', 'dsage_projects'}"
    code = modules + f"print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_help_says_what_when_means_and_is_quick_to_import() -> None:
    shown = CliRunner().invoke(join, ["--help"])
    assert shown.exit_code == 0
    assert shown.output.split("\n\n")[1].strip().startswith("Give this computer's time to a server.")
    assert "while nobody uses the computer" in " ".join(shown.output.split())
    code = "import dsage_client.cli, sys; print('aiohttp' in sys.modules, 'msgspec' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_what_is_lent_is_told_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 1 << 20
    monkeypatch.setattr(joining.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    lent = [
        joining.host_info(Settings(folder=tmp_path, tags=("gpu",), input_bytes=most), Level.BUBBLEWRAP)
        for most in (1 << 19, 1 << 30)
    ]
    assert [info.disk_bytes for info in lent] == [1 << 19, 1 << 20]
    assert lent[0].tags == ["gpu"]
    free = 0
    assert joining.host_info(Settings(folder=tmp_path), Level.BUBBLEWRAP).disk_bytes == 1  # 0 is "did not say"


def test_tags_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    done = CliRunner().invoke(join, [str(HERE), "--when", "always", "--home", str(tmp_path), "--tag", "two words"])
    assert isinstance(done.exception, UsageError)
    assert not list(tmp_path.iterdir())


def test_a_folder_serves_one_client_at_a_time(settings: Settings) -> None:
    with (
        membership.locked(settings.lock_file),
        pytest.raises(Conflict, match="another client is running"),
        membership.locked(settings.lock_file),
    ):
        pass
    with membership.locked(settings.lock_file):
        pass


def test_a_link_is_kept_without_its_code_and_another_server_is_refused(settings: Settings) -> None:
    with pytest.raises(UsageError, match="has not joined a server yet"):
        membership.known(settings, None)
    assert membership.known(settings, HERE) == HERE
    stored = Membership(link=membership.without_code(HERE), ca_pem="pem", pseudonym="tester")
    stored.save(settings.membership_file)
    assert "code" not in settings.membership_file.read_text()
    assert membership.known(settings, None) == stored
    assert membership.known(settings, HERE) == stored
    other = Link("https://localhost:1", "another", "a" * 64, "b" * 64)
    with pytest.raises(UsageError, match="the link is of another one"):
        membership.known(settings, other)


def test_a_server_that_moved_is_followed_and_a_new_authority_is_fetched(settings: Settings) -> None:
    Membership(link=membership.without_code(HERE), ca_pem="pem", pseudonym="tester").save(settings.membership_file)
    moved = membership.known(settings, Link("https://elsewhere:2", "server", "a" * 64, "b" * 64))
    assert isinstance(moved, Membership)
    assert (moved.server.url, moved.ca_pem) == ("https://elsewhere:2", "pem")
    renewed = membership.known(settings, Link("https://elsewhere:2", "server", "c" * 64, "b" * 64))
    assert isinstance(renewed, Membership)
    assert renewed.ca_pem == ""
    assert membership.known(settings, None) == renewed


@pytest.mark.parametrize("damage", ["", "{}", "not json"])
def test_a_damaged_membership_is_said(settings: Settings, damage: str) -> None:
    settings.membership_file.write_text(damage)
    with pytest.raises(UsageError, match="is damaged"):
        membership.known(settings, None)
    settings.root_file.write_text(damage)
    with pytest.raises(UsageError, match="missing or damaged"):
        membership.load_chain(settings, HERE)


def test_events_are_sentences_for_people_and_json_for_programs() -> None:
    event = events.Event(kind="working", text="working on unit 5", data={"unit": 5})
    people, programs = io.StringIO(), io.StringIO()
    events.plain(people)(event)
    events.json_lines(programs)(event)
    assert people.getvalue()[8:] == " working on unit 5\n"
    told: dict[str, Any] = json.loads(programs.getvalue())
    assert told["schema"] == "dsage.join/1"
    assert (told["kind"], told["text"], told["data"]) == ("working", "working on unit 5", {"unit": 5})


class BoxInMemory:
    """Stands where a Box does: its calls return the outcomes a test lines up."""

    opened: int
    closed: int
    outcomes: list[Outcome]

    @classmethod
    async def open(cls, *_: object, **__: object) -> BoxInMemory:
        cls.opened += 1
        return cls()

    async def call(self, *_: object, **__: object) -> Outcome:
        return self.outcomes.pop(0)

    async def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> type[BoxInMemory]:
    kind = type("Boxes", (BoxInMemory,), {"opened": 0, "closed": 0, "outcomes": []})
    monkeypatch.setattr(runner, "Box", kind)
    return kind


async def work(client: Any) -> Work:
    """Return a checked unit as an agent hands it to its runner."""
    async with client.running():
        client.runner.gate.clear()
        await client.server.give(1)
        await client.until(lambda: client.runner.running)
        begun: Work = client.runner.running[1]
        return begun


def boxed(tmp_path: Path, *, units_per_box: int = 100) -> SandboxRunner:
    from dsage.sandbox import Level

    return SandboxRunner(Level.BUBBLEWRAP, tmp_path, niceness=19, units_per_box=units_per_box)


async def test_a_box_is_kept_warm_and_replaced_in_time(client: Any, boxes: type[BoxInMemory], tmp_path: Path) -> None:
    unit, warm = await work(client), boxed(tmp_path, units_per_box=3)
    boxes.outcomes = [DONE] * 7
    for _ in range(7):
        assert await warm.run(unit) == DONE
    assert (boxes.opened, boxes.closed) == (3, 2)
    await warm.close()
    assert boxes.closed == 3


async def test_an_idle_box_is_closed_and_a_busy_one_is_not(
    client: Any, boxes: type[BoxInMemory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsage_client.runner.IDLE_BOX_S", 0.0)
    unit, warm = await work(client), boxed(tmp_path)
    boxes.outcomes = [DONE] * 2
    assert await warm.run(unit) == DONE
    await client.until(lambda: boxes.closed == 1)
    assert await warm.run(unit) == DONE
    assert boxes.opened == 2
    await warm.close()
    assert boxes.closed == 2


async def test_a_box_serves_every_run_of_its_app(client: Any, boxes: type[BoxInMemory], tmp_path: Path) -> None:
    unit, warm = await work(client), boxed(tmp_path)
    boxes.outcomes = [DONE] * 3
    assert await warm.run(unit) == DONE
    proven = unit.proven
    another = replace(proven, unit=msgspec.structs.replace(proven.unit, run="another run"))
    assert await warm.run(replace(unit, proven=another)) == DONE
    assert (boxes.opened, boxes.closed) == (1, 0)
    other = replace(proven, unit=msgspec.structs.replace(proven.unit, app="another app"))
    assert await warm.run(replace(unit, proven=other)) == DONE
    assert boxes.opened == 2
    await warm.close()
    assert boxes.closed == 2


async def test_a_unit_whose_box_broke_gets_one_new_box(client: Any, boxes: type[BoxInMemory], tmp_path: Path) -> None:
    unit, warm = await work(client), boxed(tmp_path)
    boxes.outcomes = [BROKEN, DONE]
    assert await warm.run(unit) == DONE
    assert (boxes.opened, boxes.closed) == (2, 1)
    boxes.outcomes = [BROKEN, BROKEN]
    assert await warm.run(unit) == BROKEN
    assert boxes.opened == boxes.closed == 3


async def test_limits_are_those_of_the_unit(client: Any) -> None:
    limits = (await work(client)).limits
    assert (limits.cpu_s, limits.memory_bytes, limits.output_bytes) == (60.0, 1 << 28, 1 << 16)


async def test_an_altered_runner_changes_finished_values_only(client: Any) -> None:
    lying = Altered(client.runner, lambda unit, value: codec.encode(codec.decode(value) + 1))
    unit = await work(client)
    client.runner.gate.set()
    assert codec.decode((await lying.run(unit)).value or b"") == 3
    client.runner.outcomes = iter([Outcome("failed", None, "exception", "", 0.0, 0.0)])
    assert (await lying.run(unit)).value is None
