"""The documents are executed: what a reader would type is typed, in order, in one session a document; the gallery's
pages share one.

The language of a fenced block says what happens to it:

* `sh`: each command must end with status 0. `dsage serve` and `dsage join` are left running once they say that they
  are ready; a server gets free ports. In commands, LINK stands for a fresh invite and ID for the newest run.
* `console`: as `sh`, after each `$ `; what it prints on standard output must be what follows, where a line `...`
  stands for any lines.
* `python`: executed; a first line `# NAME.py` keeps it under that name for the commands after it. A first line
  `# dsage_projects/...` says that the block stands in that file of the gallery, a line `...` leaving something out.
  If lines end with `#> WHAT IS PRINTED`, then that is what it prints.
* `text`: never executed, and so holds no command of ours.

`make TARGET` is looked up in the Makefile (`make -n`), and its command is tried by tests of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

import pytest

from dsage.errors import SandboxRefused
from dsage.sandbox import strongest

ROOT: Final = Path(__file__).resolve().parents[2]
GALLERY: Final = sorted((ROOT / "docs" / "gallery").glob("*.md"))
TUTORIALS: Final = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
GUIDES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *TUTORIALS]
OTHERS: Final = [*(ROOT / "docs" / "doors").glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")]
DOCUMENTS: Final = [*GUIDES, *GALLERY, *sorted(OTHERS)]
DSAGE: Final = Path(sys.executable).with_name("dsage")
ASSUMED: Final = {
    "README.md": ("server", "volunteers"),
    "researchers.md": ("server", "volunteers"),
    "volunteers.md": ("server elsewhere",),
    "first-hour.md": ("server elsewhere",),
}
"""What a document's reader has before its first block."""
READY: Final = {"serve": "On this computer you are logged in", "join": "connected to the server"}
ENDS: Final = (0, 130, -signal.SIGINT)
"""How a program ends in good order; the last if it was at its end already, as a client whose last server was left."""
OURS: Final = re.compile(r"^(\$ )?(dsage|make)\b", re.MULTILINE)
QUOTED: Final = re.compile(r"# (dsage_projects/[\w/]+\.py)\n+")
LANGUAGES: Final = {"sh", "console", "python", "text"}
LONGEST_S: Final = 120


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is where it begins in its document."""

    language: str
    text: str
    line: int


def blocks(path: Path) -> list[Block]:
    """Return the fenced blocks of a document."""
    found: list[Block] = []
    lines: list[str] = []
    language: str | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.lstrip().startswith("```"):
            lines.append(line)
        elif language is None:
            language, lines = line.strip().removeprefix("```"), []
        else:
            found.append(Block(language, "\n".join(lines), number - len(lines) - 1))
            language = None
    assert language is None, f"{path.name}: a fence is not closed"
    return found


class Session:
    """One reader at work: a folder, a home, and the programs left running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.server_home = self.home
        self.run = ""
        self._running: list[subprocess.Popen[str]] = []
        self._drains: dict[subprocess.Popen[str], threading.Thread] = {}
        programs = folder / "bin"
        programs.mkdir()
        (programs / "dsage").symlink_to(DSAGE)
        self._path = f"{programs}:{os.environ['PATH']}"

    def environment(self, home: Path) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        return kept | {"PATH": self._path, "HOME": str(self.folder), "DSAGE_HOME": str(home), "TERM": "dumb"}

    def prepare(self, assumed: Iterable[str]) -> None:
        """Give the reader a server and volunteers."""
        if "server elsewhere" in assumed:
            self.server_home = self.folder / "elsewhere"
        if assumed:
            self.start("dsage serve", self.server_home)
        if "volunteers" in assumed:
            for number in range(2):
                self.do(f"dsage join 'LINK' --when always --home volunteer{number}")

    def execute(self, block: Block) -> None:
        """Do what a block says. Raises AssertionError if it is not true."""
        if block.language == "python" and (named := QUOTED.match(block.text)):
            assert stands_in(block.text[named.end() :], (ROOT / "projects" / named[1]).read_text()), (
                f"line {block.line}"
            )
        elif block.language == "python":
            self._python(block)
        elif block.language == "sh":
            for command in joined(block.text):
                self.do(command)
        elif block.language == "console":
            for command, printed in examples(block.text):
                assert matches(printed, self.do(command)), f"line {block.line}: {command}"

    def do(self, command: str) -> str:
        """Execute one command and return its standard output."""
        words = shlex.split(command, comments=True)
        if words[0] == "make":
            return dry_run(words[1:])
        if re.search(r"\bLINK\b", command):
            command = command.replace("LINK", self._call("dsage invite", self.server_home).strip())
        command = re.sub(r"\bID\b", self.run, command)
        if words[0] == "dsage" and words[1] in READY:
            self.start(command, self.home)
            return ""
        return self._call(command, self.home)

    def start(self, command: str, home: Path) -> None:
        """Start a program that goes on, and return when it says that it is ready."""
        words = shlex.split(command, comments=True)
        self._stop(*(p for p in self._running if words[1] == "join" and _home_of(p) == _home_of(words)))
        ports = ["--listen", "127.0.0.1:0", "--pages", "localhost:0"] if words[1] == "serve" else []
        process = subprocess.Popen(
            [str(DSAGE), *words[1:], *ports], cwd=self.folder, env=self.environment(home), text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self._running.append(process)
        assert process.stderr is not None
        heard = ""
        for line in process.stderr:
            heard += line
            if READY[words[1]] in line:
                break
        else:
            pytest.fail(f"{command!r} ended with {process.wait()}:\n{heard}")
        self._drains[process] = threading.Thread(target=_drain, args=(process.stderr,))
        self._drains[process].start()

    def close(self) -> None:
        """Stop what was left running, newest first; each must end by itself and in good order."""
        self._stop(*reversed(self._running))

    def _stop(self, *processes: subprocess.Popen[str]) -> None:
        for process in processes:
            self._running.remove(process)
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(30) in ENDS, process.args
            finally:
                process.kill()
                process.wait()
                if process in self._drains:
                    self._drains.pop(process).join()
                elif process.stderr is not None:
                    process.stderr.close()

    def _python(self, block: Block) -> None:
        named = re.match(r"# (\w+\.py)\n", block.text)
        script = self.folder / (named[1] if named else "example.py")
        script.write_text(block.text + "\n")
        printed = self._call(f"{shlex.quote(sys.executable)} {script.name}", self.home)
        shown = re.findall(r"#> (.*)$", block.text, re.MULTILINE)
        assert not shown or printed.splitlines() == shown, f"line {block.line}: {printed}"

    def _call(self, command: str, home: Path) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment(home), text=True, timeout=LONGEST_S,
            capture_output=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        begun = re.search(
            r"^run (\d+): |`dsage attach (\d+)` drives it|the server drives it.*/run/(\d+)", done.stderr, re.MULTILINE
        )
        if begun:
            self.run = begun[1] or begun[2] or begun[3]
        return done.stdout


def _drain(stream: IO[str]) -> None:
    with stream:
        stream.read()


def _home_of(command: subprocess.Popen[str] | list[str]) -> str:
    """Return the folder of a client, empty for anything else."""
    words = command if isinstance(command, list) else [str(word) for word in cast("list[str]", command.args)]
    if words[1] != "join":
        return ""
    return words[words.index("--home") + 1] if "--home" in words else "the home's own"


def joined(text: str) -> list[str]:
    """Return the commands of a block: continued lines joined, comments and empty lines left out."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def examples(text: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with what it prints."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not parts[0].strip(), "a console block begins with `$ `"
    return [(command, printed) for command, _, printed in (part.partition("\n") for part in parts[1:])]


def matches(expected: str, printed: str) -> bool:
    """Say whether a program printed what a document shows; a line `...` stands for any lines."""
    pattern = "".join(r"(?:.*\n)*" if line == "..." else re.escape(line) + "\n" for line in expected.splitlines())
    return re.fullmatch(pattern, printed) is not None


def stands_in(quoted: str, source: str) -> bool:
    """Say whether a source holds what a document quotes: whole lines, all in order; a line `...` stands for any."""
    source = f"\n{source}\n"
    at = 0
    for part in re.split(r"^ *\.\.\.\n", quoted.rstrip() + "\n", flags=re.MULTILINE):
        found = source.find("\n" + part.strip("\n") + "\n", at)
        if found < 0:
            return False
        at = found + len(part.strip("\n")) + 1
    return True


def dry_run(targets: list[str]) -> str:
    """Return what make would do for these targets of our Makefile."""
    done = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What volunteers in the documents need of this computer."""
    folder = tmp_path_factory.mktemp("sandbox")
    folder.chmod(0o711)
    try:
        asyncio.run(strongest(folder, strangers=True))
    except SandboxRefused as refusal:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(refusal.message)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path)
    try:
        yield session
    finally:
        session.close()


@pytest.fixture(scope="module")
def gallery(sandbox: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """One reader for all pages of the gallery, who has what readers of researchers.md have."""
    session = Session(tmp_path_factory.mktemp("gallery"))
    try:
        session.prepare(ASSUMED["researchers.md"])
        yield session
    finally:
        session.close()


@pytest.mark.timeout(150)
@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_what_a_document_shows_happens(path: Path, session: Session) -> None:
    found = [block for block in blocks(path) if block.language != "text"]
    session.prepare(ASSUMED.get(path.name, ()) if found else ())
    for block in found:
        session.execute(block)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.name)
def test_what_the_gallery_shows_happens(path: Path, gallery: Session) -> None:
    for block in blocks(path):
        gallery.execute(block)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_each_block_is_executed_or_holds_no_command_of_ours(path: Path) -> None:
    for block in blocks(path):
        assert block.language in LANGUAGES, f"{path.name} line {block.line}"
        if block.language == "text":
            assert not OURS.search(block.text), f"{path.name} line {block.line}"


def test_the_readme_says_the_two_commands_and_make_knows_them() -> None:
    commands = [c for block in blocks(ROOT / "README.md") if block.language == "sh" for c in joined(block.text)]
    assert [c.split("#")[0].strip() for c in commands if c.startswith("make ")] == ["make demo", "make test"]
    assert "dsage demo" in dry_run(["demo"])
    assert "pytest" in dry_run(["test"])


@pytest.mark.timeout(150)
@pytest.mark.usefixtures("sandbox")
def test_the_ten_lines_of_the_readme_give_15_on_volunteers_computers_and_here(session: Session) -> None:
    ten = next(block.text for block in blocks(ROOT / "README.md") if block.language == "python")
    session.prepare(("server", "volunteers"))
    for place in ("connect", "local"):
        (session.folder / "ten.py").write_text(ten.replace("connect", place))
        assert session.do(f"{shlex.quote(sys.executable)} ten.py") == "15\n"


def test_make_passes_options_on() -> None:
    assert "dsage demo --number 2^67-1" in dry_run(["demo", "ARGS=--number 2^67-1"])


def test_the_demo_of_the_readme_works(session: Session) -> None:
    done = json.loads(session.do("dsage demo --number '2^67-1' --json"))
    assert done["schema"] == "dsage.demo/1"
    assert done["data"]["factors"] == {"193707721": 1, "761838257287": 1}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text())
    assert not [target for target in targets if not (path.parent / target).exists()]


def test_a_wrong_example_is_found(session: Session) -> None:
    with pytest.raises(AssertionError):
        session.execute(Block("console", "$ echo 15\n16", 1))
    with pytest.raises(AssertionError):
        session.execute(Block("sh", "false", 1))
    with pytest.raises(AssertionError):
        session.execute(Block("python", "# dsage_projects/sum.py\nclass Nobody:\n    pass", 1))
    with pytest.raises(AssertionError):
        session.execute(Block("python", "print(7 + 8)  #> 16", 1))
    session.execute(Block("python", "print(7 + 8)  #> 15", 1))
    session.execute(Block("console", "$ printf '{\\n1\\n2\\n}\\n'\n{\n...\n}", 1))
