"""Before any stranger's code runs: does the sandbox hold here? One box, in which everything is tried."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from dsage import codec
from dsage.errors import CodecError, SandboxRefused, UnitFailed
from dsage.function import Limits
from dsage.sandbox import attacks, bubblewrap, landlock, reach, seccomp
from dsage.sandbox.box import Box
from dsage.sandbox.launch import dropped_user
from dsage.sandbox.level import Level, Outcome, Report
from dsage.sandbox.outline import unsupported
from dsage.sockets import reachable

ENTRY: Final = "dsage.sandbox.attacks:Attacks"
BRIEF: Final = Limits(cpu_s=20.0, wall_s=20.0)
HANG: Final = Limits(wall_s=0.1)
PRIVATE: Final = {
    "ssh": ".ssh/id_ed25519",
    "browser": ".mozilla/firefox/default/cookies.sqlite",
    "key": ".local/share/dsage/client.key",
    "slot": "slot-other/answer",
    "doomed": "Documents/thesis",
}
"""Bait for those who look for what people keep."""
SENTENCES: Final = {
    Level.BUBBLEWRAP: "Strangers' work is safe to run here: bubblewrap keeps it from the network, your files and your "
    "programs, and ends it when it uses more than it may ({count} attacks were tried, and refused).",
    Level.LANDLOCK: "Only reviewed work runs here, in the weaker of two sandboxes: Landlock keeps it from your files "
    "and the network ({count} attacks were tried, and refused), but it is not hidden from your other programs.",
}


async def self_test(level: Level, work_dir: Path) -> Report:
    """Try the attack list in a box of this level; `work_dir` is made if missing. Takes under a second."""
    try:
        failures = await _failures(level, work_dir)
    except SandboxRefused as error:
        return Report(level, False, ("it does not start",), f"{_sentence(error.message)} {_sentence(error.hint)}")
    except UnitFailed as error:
        failures = (f"the self-test could not be loaded: {error.message}",)
    if failures:
        shown = "; ".join(failures[:3])
        sentence = f"The {level} sandbox does not hold on this computer, so it is not used: {shown}."
        return Report(level, False, failures, sentence)
    return Report(level, True, (), SENTENCES[level].format(count=len(attacks.ATTEMPTS) + len(seccomp.DENIED)))


async def strongest(work_dir: Path, *, strangers: bool) -> Report:
    """Return the report on the strongest sandbox that holds here.

    With `strangers` only bubblewrap will do. Raises SandboxRefused, saying why and what to do, if none will.
    """
    if sys.platform != "linux":
        raise unsupported(sys.platform)
    first = await self_test(Level.BUBBLEWRAP, work_dir)
    if first.passed:
        return first
    if strangers:
        raise SandboxRefused(first.sentence, hint="Until then this computer takes no work from strangers.")
    second = await self_test(Level.LANDLOCK, work_dir)
    if second.passed:
        return Report(second.level, True, (), f"{second.sentence} The stronger one is missing: {first.sentence}")
    raise SandboxRefused(f"{first.sentence} {second.sentence}", hint="Without a sandbox nothing is run here.")


async def _failures(level: Level, work_dir: Path) -> tuple[str, ...]:
    with bait(work_dir) as targets:
        folder = Path(targets["secret"]).parent
        before = state(folder)
        box = await Box.open(level, Path(__file__).parent, ENTRY, work_dir)
        try:
            text = secrets.token_hex(8)
            worked = await box.call("works", (codec.encode(text),), BRIEF)
            attacked = await box.call("compute", (codec.encode(targets),), BRIEF)
            hung = await box.call("hang", (codec.encode(None),), HANG)
        finally:
            await box.close()
        failures = [] if _value(worked) == text else [f"honest work fails ({_why(worked)})"]
        through = _value(attacked)
        if isinstance(through, list):
            failures += [f"boxed code could {name}" for name in through if name not in tolerated(level)]
        else:
            failures.append(f"the attacks ended early ({_why(attacked)})")
        if (hung.status, hung.reason) != ("limit", "wall"):
            failures.append(f"a hanging call was not stopped ({_why(hung)})")
        if state(folder) != before:
            failures.append("files of the host were changed")
    return tuple(failures)


def tolerated(level: Level) -> frozenset[str]:
    """Return the attempts that a level cannot refuse on this kernel and is not refused for."""
    if level is Level.LANDLOCK and landlock.version() < 6 and dropped_user() is None:
        return frozenset({"signal the host's processes"})
    return frozenset()


@contextmanager
def bait(work_dir: Path) -> Iterator[dict[str, Any]]:
    """Lay out what the attacks go for (attacks.Targets): files anybody may change, and open doors to knock at.

    It lies below `work_dir`, or where the user that a box takes can get: what is closed to all would prove nothing.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    open_to_all = dropped_user() is None or reach.reachable(str(work_dir.resolve()))
    folder = Path(tempfile.mkdtemp(prefix="bait-", dir=work_dir if open_to_all else None))
    with ExitStack() as held:
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o777)
        secret = folder / "secret"
        secret.write_text("a host's secret")
        secret.chmod(0o666)
        private = {name: folder / path for name, path in PRIVATE.items()}
        for path in private.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o777)
            path.write_text("private")
            path.chmod(0o666)
        abstract = f"dsage-{secrets.token_hex(8)}"
        yield {
            "secret": str(secret),
            "private": {name: str(path) for name, path in private.items()},
            "tcp": _listen(held, socket.AF_INET, ("127.0.0.1", 0)).getsockname()[1],
            "unix": _listen_below(held, folder, "door"),
            "doors": [_listen_below(held, folder, name) for name in ("bus", "docker.sock", "wayland-0", "X0")],
            "abstract": abstract if _listen(held, socket.AF_UNIX, "\0" + abstract) else "",
            "pid": os.getpid(),
            "names": [*bubblewrap.ENVIRONMENT, "PWD"],
        }


def _listen(held: ExitStack, family: int, address: Any) -> socket.socket:
    listener = held.enter_context(socket.socket(family))
    listener.bind(address)
    listener.listen()
    return listener


def _listen_below(held: ExitStack, folder: Path, name: str) -> str:
    """Listen on a socket file in the folder."""
    with reachable(folder / name) as address:
        _listen(held, socket.AF_UNIX, address)
    (folder / name).chmod(0o777)
    return str(folder / name)


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return what a folder holds, with all that an attack could have changed: to compare before and after."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [folder, *folder.rglob("*")]:
        seen = path.lstat()
        text = path.read_bytes() if stat.S_ISREG(seen.st_mode) else b""
        found[str(path)] = (text, seen.st_mode, seen.st_uid, seen.st_nlink, seen.st_size, seen.st_mtime_ns)
    return found


def _value(outcome: Outcome) -> Any:
    try:
        return None if outcome.value is None else codec.decode(outcome.value)
    except CodecError:
        return None


def _why(outcome: Outcome) -> str:
    last = outcome.detail.strip().splitlines()[-1:]
    return ", ".join([outcome.status, *filter(None, [outcome.reason]), *last])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
