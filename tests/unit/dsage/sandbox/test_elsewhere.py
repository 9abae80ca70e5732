"""On systems without a proven sandbox: everything imports, and says plainly that no work runs there."""

import subprocess
import sys
from pathlib import Path

import pytest

import dsage.sandbox
from dsage.errors import SandboxRefused
from dsage.sandbox import strongest

PACKAGE = Path(dsage.sandbox.__file__).parent
MODULES = sorted(
    f"dsage.sandbox.{path.stem}" for path in PACKAGE.glob("*.py") if path.stem not in ("__init__", "__main__")
)

ELSEWHERE = """
import asyncio, importlib, os, select, signal, socket, sys
import ctypes, multiprocessing, subprocess, tempfile, shutil, logging, msgspec
sys.platform = sys.argv[1]
missing = ["sched_setscheduler", "getxattr", "setxattr", "memfd_create", "pidfd_open", "SCHED_IDLE", "SCHED_OTHER",
           "O_TMPFILE", "sched_param", "O_PATH"]
if sys.platform == "win32":
    missing += ["fork", "geteuid", "getuid", "sysconf", "setsid", "nice", "uname", "statvfs", "mkfifo", "wait4",
                "WIFSIGNALED", "WTERMSIG", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "fchmod", "mknod"]
    for name in ("fcntl", "resource", "pwd", "grp"):
        sys.modules[name] = None
    for name in ("SIGSTOP", "SIGCONT", "SIGKILL", "SIGXCPU", "SIGCHLD", "SIGHUP"):
        delattr(signal, name)
    for name in ("AF_UNIX", "SOCK_SEQPACKET", "AF_PACKET", "AF_NETLINK", "AF_VSOCK"):
        delattr(socket, name)
    del select.poll
for name in missing:
    if hasattr(os, name):
        delattr(os, name)
for name in sys.argv[2:]:
    importlib.import_module(name)
from dsage.errors import SandboxRefused
from dsage.sandbox import strongest
from pathlib import Path
try:
    strongest(Path("never-made"), strangers=False).send(None)
except SandboxRefused as error:
    sys.stdout.write(error.message)
"""


@pytest.mark.parametrize(("platform", "name"), [("win32", "Windows"), ("darwin", "macOS")])
def test_every_module_imports_where_linux_s_calls_are_missing(platform, name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, platform, *MODULES], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (f"computers with {name} cannot run work yet: DSage's sandbox for them has not been proven")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("strangers", [True, False])
@pytest.mark.parametrize("platform", ["win32", "darwin", "freebsd14"])
async def test_a_system_without_a_proven_sandbox_is_refused_before_anything_is_tried(
    platform, strangers, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(SandboxRefused, match="cannot run work yet") as refused:
        await strongest(tmp_path, strangers=strangers)
    assert "Linux" in refused.value.hint
    assert list(tmp_path.iterdir()) == []
