"""The researcher's commands as processes, against a real server and one real volunteer."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from dsage.home import Home
from dsage.researcher import Researcher

DSAGE = str(Path(sys.executable).with_name("dsage"))

APP = '''
import time
from dsage import DistributedFunction, Unit


class Sum(DistributedFunction):
    """Adds 1 to n; each term takes `cpu_ms` of processor time."""

    cpu = 0

    def units(self):
        for i in range(1, self.n + 1):
            yield Unit([i, getattr(self, "cpu_ms", 0)], quorum=1)

    @staticmethod
    def compute(args):
        ends = time.process_time() + args[1] / 1000
        while time.process_time() < ends:
            pass
        return args[0]

    def process_result(self, unit, value):
        self.result = (self.result or 0) + value


class Noisy(Sum):
    """Prints; the second of its units fails on every computer, and the run lives with it."""

    @staticmethod
    def compute(args):
        print("hello from", args[0])
        if args[0] == 2:
            raise ValueError("two is bad")
        return {"i": args[0], "big": 2**80}

    def process_result(self, unit, value):
        self.result = (self.result or 0) + value["i"]

    def unit_failed(self, unit, reason):
        pass


class Broken(Sum):
    def process_result(self, unit, value):
        raise ZeroDivisionError("no good")


class Knows(Sum):
    def next_job(self):
        self.done, self.result = True, {"answer": 2**80, "unfinished": self.n}
'''


@dataclass
class Lab:
    """A running server, one volunteer, and the home of the researcher who is logged in."""

    home: Path
    app: Path
    link: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *args: str, home: Path | None = None) -> subprocess.Popen[str]:
        environment = os.environ | {"DSAGE_HOME": str(home or self.home), "NO_COLOR": "1"}
        pipe = subprocess.PIPE
        begun = subprocess.Popen([DSAGE, *args], env=environment, stdout=pipe, stderr=pipe, text=True)
        self.started.append(begun)
        return begun

    def run(self, *args: str, home: Path | None = None) -> tuple[int, str, str]:
        process = self.command(*args, home=home)
        out, err = process.communicate(timeout=90)
        return process.returncode, out, err

    def start(self, *args: str) -> tuple[subprocess.Popen[str], int]:
        """Start a `submit` or `attach` and return it with the run's number once it says so."""
        process = self.command(*args)
        line = lines_until(process.stderr, "run ")
        return process, int(line.split()[1].removesuffix(":"))


@pytest.fixture(autouse=True)
def _nothing_stays(lab: Lab) -> Iterator[None]:
    """End what a failed test has left running."""
    yield
    for begun in lab.started:
        begun.kill()
        with begun:
            begun.wait(timeout=30)
    lab.started.clear()


def lines_until(stream: IO[str] | None, start: str) -> str:
    assert stream is not None
    for line in stream:
        if line.startswith(start):
            return line
    raise AssertionError(f"the stream ended before a line with {start!r}")


@contextmanager
def process(*args: str, home: Path, log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as err:
        running = subprocess.Popen(
            [DSAGE, *args],
            env=os.environ | {"DSAGE_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
    try:
        yield running
    finally:
        running.send_signal(signal.SIGINT)
        assert running.stdout is not None
        running.stdout.close()
        running.wait(timeout=30)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    home, app = folder / "home", folder / "sums.py"
    app.write_text(APP)
    listen = ("--listen", "127.0.0.1:0", "--pages", "127.0.0.1:0", "--own-work", "--json")
    with process("serve", *listen, home=home, log=folder / "serve.log") as server:
        assert server.stdout is not None
        text = ""
        for line in server.stdout:
            text += line
            if line.rstrip() == "}":
                break
        lab = Lab(home, app, json.loads(text)["data"]["link"])
        code, invite, _ = lab.run("invite")
        assert code == 0
        join = ("join", invite.strip(), "--when", "always", "--slots", "1", "--own-work", "--home", str(folder / "v"))
        with process(*join, home=folder / "elsewhere", log=folder / "join.log"):
            yield lab


def test_submit_prints_the_answer_alone_on_standard_output(lab: Lab) -> None:
    code, out, err = lab.run("submit", str(lab.app) + ":Sum", "-p", "n=5")
    assert (code, out) == (0, "15\n"), err
    assert err.startswith("run ")
    assert "http://127.0.0.1:" in err.splitlines()[0]
    assert "· done ·" in err.splitlines()[-1]


def test_submit_json_is_one_document(lab: Lab) -> None:
    code, out, err = lab.run("submit", f"{lab.app}:Sum", "-p", "n=3", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["schema"] == "dsage.run/1"
    data = told["data"]
    assert (data["state"], data["result"], data["params"], data["project"]) == ("done", 6, {"n": 3}, "lab")
    assert data["units"] == {"valid": 3}
    run = str(data["run"])
    assert lab.run("results", run) == (0, "6\n", "")
    assert json.loads(lab.run("results", run, "--json")[1])["data"]["result"] == 6
    assert lab.run("watch", run)[:2] == (0, "6\n")
    seen = json.loads(lab.run("watch", run, "--json")[1])
    del seen["data"]["volunteers"], told["data"]["volunteers"]  # who earned credit: added up a moment after the end
    assert seen == told
    assert lab.run("attach", run)[:2] == (0, "6\n")


def test_ctrl_c_detaches_and_attach_resumes_from_the_stored_source(lab: Lab) -> None:
    submit, run = lab.start("submit", f"{lab.app}:Sum", "-p", "n=12", "-p", "cpu_ms=100")
    submit.send_signal(signal.SIGINT)
    out, err = submit.communicate(timeout=30)
    assert submit.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == f"detached; `dsage attach {run}` resumes"
    code, _, err = lab.run("results", str(run))
    assert code == 3
    assert f"run {run} has no answer yet" in err
    assert lab.run("attach", str(run))[:2] == (0, "78\n")


def test_a_killed_driver_is_followed_by_another_while_somebody_watches(lab: Lab) -> None:
    submit, run = lab.start("submit", f"{lab.app}:Sum", "-p", "n=12", "-p", "cpu_ms=100")
    watch = lab.command("watch", str(run))
    submit.kill()
    submit.communicate(timeout=30)
    assert lab.run("attach", str(run), f"{lab.app}:Sum")[:2] == (0, "78\n")
    out, _ = watch.communicate(timeout=30)
    assert (watch.returncode, out) == (0, "78\n")


def test_an_attached_driver_shuts_out_the_older_one(lab: Lab) -> None:
    submit, run = lab.start("submit", f"{lab.app}:Sum", "-p", "n=12", "-p", "cpu_ms=100")
    assert lab.run("attach", str(run))[:2] == (0, "78\n")
    out, err = submit.communicate(timeout=60)
    assert submit.returncode in (0, 7), "a driver that meets only the end of the run shows that end"
    assert "has another driver now" in err or out == "78\n"


def test_what_a_run_asks_of_the_scheduler_is_kept_and_shown(lab: Lab) -> None:
    asked = ("--priority", "3", "--platform", "linux-x86_64", "--platform", "linux-aarch64", "--tag", "GPU")
    code, out, err = lab.run("submit", f"{lab.app}:Sum", "-p", "n=1", "--detach", "--json", *asked)
    assert code == 0, err
    told = json.loads(out)["data"]
    assert (told["priority"], told["platforms"], told["tags"]) == (3, ["linux-aarch64", "linux-x86_64"], ["gpu"])
    code, _, err = lab.run("submit", f"{lab.app}:Sum", "-p", "n=1", "--detach", "--tag", "two words")
    assert code == 2
    assert "'two words' is not a tag" in err


def test_other_source_may_not_drive_a_run(lab: Lab, tmp_path: Path) -> None:
    code, out, err = lab.run("submit", f"{lab.app}:Sum", "-p", "n=2", "--detach")
    assert code == 0, err
    other = tmp_path / "sums.py"
    other.write_text(APP + "\n# changed\n")
    code, _, err = lab.run("attach", out.strip(), f"{other}:Sum")
    assert code == 2
    assert "other source" in err
    assert lab.run("attach", out.strip())[:2] == (0, "3\n")


def test_another_key_must_name_the_source_it_trusts(lab: Lab, tmp_path: Path) -> None:
    code, out, err = lab.run("submit", f"{lab.app}:Sum", "-p", "n=1", "--detach")
    assert code == 0, err
    assert lab.run("keys", "new", "code", "--name", "eve", home=tmp_path)[0] == 0
    assert lab.run("login", lab.link, home=tmp_path)[0] == 0
    code, _, err = lab.run("attach", out.strip(), home=tmp_path)
    assert code == 4
    assert "not signed by the code key 'eve'" in err


def test_a_bug_fails_the_run_with_its_place(lab: Lab) -> None:
    code, out, err = lab.run("submit", f"{lab.app}:Broken", "-p", "n=2")
    assert (code, out) == (8, "")
    assert "raised ZeroDivisionError: no good (sums.py line " in err.splitlines()[-1]
    run = err.split()[1].removesuffix(":")
    assert lab.run("results", run)[0] == 8
    assert json.loads(lab.run("results", run, "--json")[1])["data"]["state"] == "failed"


def test_an_unfinished_answer_is_exit_8_and_needs_no_volunteer(lab: Lab, tmp_path: Path) -> None:
    code, out, _ = lab.run("submit", f"{lab.app}:Knows", "-p", "n=1", "--json")
    data = json.loads(out)["data"]
    assert (code, data["result"]) == (8, {"answer": str(2**80), "unfinished": 1})
    assert data["units"] == {}
    file = tmp_path / "answer"
    assert lab.run("results", str(data["run"]), "-o", str(file))[:2] == (8, "")
    assert file.read_text() == f"answer: {2**80}\nunfinished: 1\n"


def test_a_cancelled_run_ends_its_driver_with_9(lab: Lab) -> None:
    submit, run = lab.start("submit", f"{lab.app}:Sum", "-p", "n=1000", "-p", "cpu_ms=100")

    async def cancel() -> None:
        async with await Researcher.open(Home(lab.home)) as api:
            await api.cancel(run)

    asyncio.run(cancel())
    out, err = submit.communicate(timeout=30)
    assert (submit.returncode, out) == (9, ""), err
    assert f"run {run} is cancelled" in err


def test_status_lists_runs(lab: Lab) -> None:
    code, out, _ = lab.run("status")
    assert code == 0
    assert "computers here now: 1" in out
    told: dict[str, Any] = json.loads(lab.run("status", "--json")[1])
    assert told["schema"] == "dsage.status/1"
    assert told["data"]["volunteers"] == 1


def test_runs_that_are_not_there(lab: Lab) -> None:
    for command in ("watch", "results", "attach"):
        code, out, err = lab.run(command, "999999", "--json")
        assert (code, out) == (3, "")
        assert json.loads(err)["code"] == "not-found"


def test_login_stores_the_server_it_has_checked(lab: Lab, tmp_path: Path) -> None:
    code, out, err = lab.run("login", lab.link, "--json", home=tmp_path)
    assert code == 0
    assert json.loads(out)["data"]["signed_in_as"] == ""
    assert "You can look, but not submit yet" in err
    assert lab.run("status", home=tmp_path)[0] == 0
    assert lab.run("submit", f"{lab.app}:Sum", "-p", "n=1", home=tmp_path)[0] == 4

    (tmp_path / "keys").mkdir(mode=0o700)
    shutil.copy(lab.home / "keys" / "code-lab.key", tmp_path / "keys" / "code-anna.key")
    assert lab.run("submit", f"{lab.app}:Sum", "-p", "n=1", "--detach", home=tmp_path)[0] == 0, "the only key there is"
    shutil.copy(lab.home / "keys" / "code-lab.key", tmp_path / "keys" / "code-berta.key")
    code, _, err = lab.run("submit", f"{lab.app}:Sum", "-p", "n=1", home=tmp_path)
    assert code == 4
    assert "anna, berta: choose by --key" in err

    shutil.copytree(lab.home / "keys", tmp_path / "keys", dirs_exist_ok=True)
    assert json.loads(lab.run("login", lab.link, "--json", home=tmp_path)[1])["data"]["signed_in_as"] == "lab"


@pytest.mark.parametrize("part", ["ca", "root", "id"])
def test_login_refuses_a_server_that_is_not_the_one_of_the_link(lab: Lab, tmp_path: Path, part: str) -> None:
    before, mark, after = lab.link.partition(f"{part}=")
    wrong = before + mark + ("1" if after[0] == "0" else "0") + after[1:]
    code, _, err = lab.run("login", wrong, "--json", home=tmp_path)
    assert code == 4
    assert json.loads(err)["code"].startswith("trust")
    assert not (tmp_path / "login.json").exists()


def test_a_project_that_the_key_is_not_certified_for(lab: Lab) -> None:
    code, _, err = lab.run("submit", f"{lab.app}:Sum", "-p", "n=1", "--project", "moon")
    assert code == 4
    assert "'moon'" in err


# -- looking, and what an owner may do -------------------------------------------------------------------------------


def started(lab: Lab, *args: str) -> str:
    """Start a run that nobody drives and return its number."""
    code, out, err = lab.run("submit", *args, "--detach")
    assert code == 0, err
    return out.strip()


def test_the_same_word_is_the_same_run(lab: Lab) -> None:
    first = started(lab, f"{lab.app}:Sum", "-p", "n=1", "--once", "tuesday")
    assert started(lab, f"{lab.app}:Sum", "-p", "n=1", "--once", "tuesday") == first
    assert started(lab, f"{lab.app}:Sum", "-p", "n=1", "--once", "wednesday") != first


def test_a_dry_run_sends_nothing(lab: Lab) -> None:
    before = int(started(lab, f"{lab.app}:Sum", "-p", "n=1"))
    code, out, err = lab.run("submit", f"{lab.app}:Sum", "-p", "n=3", "--dry-run", "--json")
    assert code == 0, err
    told = json.loads(out)["data"]
    assert (told["project"], told["first_units"], told["all_units"]) == ("lab", 3, True)
    assert lab.run("show", str(before + 1))[0] == 3


def test_runs_are_listed_and_shown(lab: Lab) -> None:
    run = started(lab, f"{lab.app}:Sum", "-p", "n=2")
    out = ""
    while f"\n{run} " not in out:  # the server makes the list once a second for all who ask
        code, out, _ = lab.run("ls", "--mine", "--state", "running")
        assert code == 0
    assert out.splitlines()[1].split()[:3] == [run, "Sum", "running"]
    lines = [json.loads(line) for line in lab.run("ls", "--jsonl")[1].splitlines()]
    assert [each["run"] for each in lines] == sorted((each["run"] for each in lines), reverse=True)
    code, out, _ = lab.run("show", run)
    assert code == 0
    assert f"`dsage attach {run}` drives it" in out
    assert json.loads(lab.run("show", run, "--json")[1])["data"]["researcher"] == "lab"
    code, out, _ = lab.run("open", run)
    assert (code, out.strip().endswith(f"/run/{run}")) == (0, True)


def test_a_run_is_paused_resumed_cancelled_and_retired(lab: Lab) -> None:
    run = started(lab, f"{lab.app}:Sum", "-p", "n=2")
    assert json.loads(lab.run("pause", run, "--json")[1])["data"]["state"] == "paused"
    code, _, err = lab.run("results", run)
    assert code == 3
    assert f"`dsage resume {run}` lets it go on" in err
    assert lab.run("resume", run)[0] == 0
    code, _, err = lab.run("cancel", run)
    assert code == 2
    assert "--yes" in err
    code, _, err = lab.run("retire", run, "--yes")
    assert code == 7
    assert f"`dsage cancel {run}` ends it" in err
    assert lab.run("cancel", run, "--yes")[0] == 0
    assert lab.run("cancel", run, "--yes")[0] == 7
    assert lab.run("retire", run, "--yes")[0] == 0
    assert lab.run("watch", run)[0] == 9


def test_the_server_drives_a_run_and_its_owner_refuses_an_answer(lab: Lab) -> None:
    run = started(lab, f"{lab.app}:Sum", "-p", "n=2")
    code, _, err = lab.run("host", run)
    assert code == 0
    assert f"`dsage attach {run}` takes it back" in err
    code, out, _ = lab.run("watch", run)
    assert (code, out) == (0, "3\n")
    lines = lab.run("results", run, "--format", "jsonl")[1].splitlines()
    unit = str(json.loads(lines[0])["unit"])
    code, _, err = lab.run("reopen", run, "--unit", unit)
    assert code == 2
    assert "--yes" in err
    code, out, _ = lab.run("reopen", run, "--unit", unit, "--yes", "--json")
    assert code == 0
    assert json.loads(out)["data"]["state"] == "running"
    assert lab.run("reopen", run, "--unit", "999999", "--yes")[0] in (3, 7)
    assert lab.run("cancel", run, "--yes")[0] == 0


def test_what_units_answered_printed_and_why_one_failed(lab: Lab, tmp_path: Path) -> None:
    process, run = lab.start("submit", f"{lab.app}:Noisy", "-p", "n=3")
    number = str(run)
    assert lab.run("watch", number, "--until", "first")[0] == 0
    told = [json.loads(line) for line in lab.run("logs", number, "--copies", "--jsonl")[1].splitlines()]
    assert "hello from 1\n" in [each["output"] for each in told]
    answers: list[dict[str, Any]] = []
    while len(answers) < 2:
        code, out, err = lab.run("results", number, "--partial")
        assert code == 0, err
        answers = [json.loads(line) for line in out.splitlines()]
    assert {each["value"]["big"] for each in answers if each["state"] == "valid"} == {str(2**80)}
    code, out, _ = lab.run("results", number, "--partial", "--format", "csv")
    assert (code, out.splitlines()[0][:13]) == (0, "run,app,unit,")
    folder = tmp_path / "answers"
    assert lab.run("results", number, "--partial", "--format", "files", "-o", str(folder))[0] == 0
    assert json.loads((folder / "run.json").read_text())["run"] == run
    failed = [each for each in told if each["state"] == "error"]
    for each in failed:
        code, out, _ = lab.run("logs", number, "--unit", str(each["unit"]))
        assert code == 0
        assert "ValueError: two is bad" in out
    assert lab.run("logs", number, "--unit", "99999999")[0] == 3
    follow = lab.command("results", number, "--follow")
    assert lab.run("cancel", number, "--yes")[0] == 0
    out, err = follow.communicate(timeout=60)
    assert follow.returncode == 9, err
    assert len(out.splitlines()) >= 2
    process.communicate(timeout=60)


def test_another_researcher_sees_the_run_and_no_more(lab: Lab, tmp_path: Path) -> None:
    run = started(lab, f"{lab.app}:Sum", "-p", "n=1")
    assert lab.run("keys", "new", "code", "--name", "eve", home=tmp_path)[0] == 0
    assert lab.run("login", lab.link, home=tmp_path)[0] == 0
    assert lab.run("show", run, home=tmp_path)[0] == 0
    assert lab.run("logs", run, home=tmp_path)[0] == 0
    for command in (["logs", run, "--copies"], ["pause", run], ["cancel", run, "--yes"], ["results", run, "--partial"]):
        code, out, err = lab.run(*command, home=tmp_path)
        assert (code, out) == (4, ""), (command, err)
    code, out, err = lab.run("whoami", home=tmp_path)
    assert code == 4
    assert "you can look, but not submit" in err


def test_who_one_is_until_one_is_not(lab: Lab, tmp_path: Path) -> None:
    shutil.copytree(lab.home / "keys", tmp_path / "keys")
    assert lab.run("login", lab.link, home=tmp_path)[0] == 0
    told = json.loads(lab.run("whoami", "--json", home=tmp_path)[1])["data"]
    assert (told["researcher"], "lab" in told["projects"]) == ("lab", True)
    assert lab.run("logout", home=tmp_path)[0] == 0
    assert lab.run("whoami", home=tmp_path)[0] == 6
    assert lab.run("logout", home=tmp_path)[0] == 3


def test_a_project_says_what_it_is_for(lab: Lab) -> None:
    said = ("--title", "Sums", "--purpose", "To add things up.")
    code, out, err = lab.run("project", "create", "lab", *said)
    assert code == 0, err
    assert out.splitlines()[:2] == ["project   lab: Sums", "purpose   To add things up."]
    assert lab.run("project", "create", "lab", *said)[0] == 7
    assert lab.run("project", "describe", "lab", "--ethics", "Harmless.")[0] == 0
    told = json.loads(lab.run("project", "describe", "lab", "--json")[1])["data"]
    assert (told["title"], told["ethics"], told["by"]) == ("Sums", "Harmless.", "lab")
    words = ("--title", "More", "--purpose", "To add up more.", "--link", "https://a.example")
    told = json.loads(lab.run("project", "describe", "lab", *words, "--json")[1])["data"]
    assert (told["title"], told["purpose"], told["link"]) == ("More", "To add up more.", "https://a.example")
    assert lab.run("project", "create", "moon", *said, "--ethics", "None.", "--link", "https://a.example")[0] == 4
    run = started(lab, f"{lab.app}:Sum", "-p", "n=1")
    code, _, err = lab.run("project", "approve", run)
    assert code == 2
    assert "--yes" in err
    assert lab.run("project", "approve", run, "--yes")[0] == 4


def test_the_doctor_finds_nothing(lab: Lab) -> None:
    code, out, err = lab.run("doctor", "--json")
    assert code == 0, out + err
    told = {each["what"]: each["mark"] for each in json.loads(out)["data"]}
    assert (told["server"], told["clock"], told["you"]) == ("ok", "ok", "ok")
    gone = lab.link.replace(lab.link.partition("/join")[0], "https://127.0.0.1:9")
    code, out, err = lab.run("doctor", "--server", gone)
    assert code == 6
    assert "PROBLEM" in out


def test_an_estimate_knows_the_computers_of_the_server(lab: Lab) -> None:
    code, out, err = lab.run("estimate", f"{lab.app}:Sum", "-p", "n=4", "-p", "cpu_ms=50", "--json")
    assert code == 0, err
    told = json.loads(out)["data"]
    assert (told["units"], told["copies"], told["computers"]) == (4, 4, 1)
    assert told["unit_cpu_s"] >= 0.05
    assert told["eta_s"] >= 0.2


def test_a_server_that_does_not_answer_is_6(lab: Lab) -> None:
    gone = lab.link.replace(lab.link.partition("/join")[0], "https://127.0.0.1:9")
    code, out, err = lab.run("status", "--server", gone)
    assert (code, out) == (6, "")
    assert "no server answers at https://127.0.0.1:9" in err
