"""An app that does everything it should not. Each method is one attack; none harms a host that holds."""

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

from dsage import DistributedFunction, checkpoint, codec, progress

RESULT, PROGRESS = 4, 2


def channel() -> socket.socket:
    """Find the socket to the host among this process's descriptors."""
    for fd in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                return socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
    raise LookupError("no channel")


def close_to(path: str, mode: int) -> None:
    """Change a file's rights, where the box lets us."""
    with contextlib.suppress(PermissionError):
        os.chmod(path, mode)


class Hostile(DistributedFunction):
    @staticmethod
    def compute(value):
        return value

    # -- taking too much -------------------------------------------------------------------------------------

    @staticmethod
    def memory(_):
        held = []
        while True:
            held.append(bytearray(1 << 20))

    @staticmethod
    def memory_of_many(each):
        """Stay below the limit of one process, in many."""
        for _ in range(20):
            if os.fork() == 0:
                held = bytearray(os.urandom(1 << 16) * (each >> 16))
                while held:
                    time.sleep(1)
        while True:
            time.sleep(1)

    @staticmethod
    def forks(_):
        made = 0
        try:
            while made < 5000:
                if os.fork() == 0:
                    signal.pause()
                made += 1
        except OSError:
            return made
        return made

    @staticmethod
    def work_in_many(count):
        """What honest work does too: share what is loaded between many processes."""
        for _ in range(count):
            if os.fork() == 0:
                signal.pause()
        time.sleep(1)
        return count

    @staticmethod
    def files_open(_):
        held = []
        try:
            while len(held) < 100_000:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            return len(held)
        return len(held)

    @staticmethod
    def sockets(_):
        """Fill the buffers of sockets, which no limit of a process counts, in several processes."""
        for _ in range(8):
            if os.fork() == 0:
                break
        held = []
        while True:
            try:
                held += socket.socketpair()
                held[-1].setblocking(False)
                while True:
                    held[-1].send(bytes(1 << 16))
            except OSError:
                time.sleep(0.01)

    @staticmethod
    def print_for_init(size):
        """Write to the standard error of the box's first process, which lies outside of the box's own limits."""
        try:
            with open("/proc/1/fd/2", "wb", buffering=0) as printed:
                return printed.write(bytes(size))
        except OSError:
            return 0

    @staticmethod
    def checkpoints_of_many_values(_):
        """Have the host take apart half a million values again and again."""
        count = 1 << 18
        body = b"\xdd" + count.to_bytes(4, "big") + b"\x90" * count
        talk = channel()
        for _ in range(6):
            talk.sendall(struct.pack("!BI", 3, len(body)) + body)
        return "sent"

    @staticmethod
    def disk(_):
        for number in range(10_000):
            with open(f"big{number}", "wb") as big:
                big.write(bytes(1 << 20))

    @staticmethod
    def many_files(_):
        number = 0
        while True:
            os.close(os.open(f"small{number}", os.O_CREAT | os.O_WRONLY))
            number += 1

    @staticmethod
    def many_folders(_):
        """Nest them too: what walks a tree by calling itself does not come back from here."""
        number = 0
        while True:
            os.mkdir(f"folder{number}")
            if number < 3000:
                os.chdir(f"folder{number}")
            number += 1

    @staticmethod
    def many_links(_):
        number = 0
        while True:
            os.symlink("/", f"link{number}")
            number += 1

    @staticmethod
    def files_without_names(_):
        """Fill the disk with files that no folder shows, each below the limit of one."""
        held = []
        while len(held) < 200:
            held.append(os.open(f"hidden{len(held)}", os.O_CREAT | os.O_WRONLY))
            os.unlink(f"hidden{len(held) - 1}")
            os.write(held[-1], os.urandom(1 << 20))
        time.sleep(60)

    @staticmethod
    def plant(host):
        """Leave what could lead whoever tidies up, or looks for a result, to a folder of the host."""
        for name in ("result", "output", b"\xff\xfe", "..."):
            os.symlink(host, name)
        os.makedirs("closed/inside")
        os.symlink(host, "closed/inside/link")
        os.symlink(os.path.join(host, "secret"), "closed/inside/file")
        os.mkfifo("answer")
        close_to("closed/inside", 0)
        close_to("closed", 0)
        with contextlib.suppress(OSError):
            os.link(os.path.join(host, "secret"), "hard")
        for _ in range(1500):
            os.mkdir("deep")
            os.chdir("deep")
        os.symlink(host, "link")
        close_to(".", 0)
        return "planted"

    @staticmethod
    def change_places(host):
        """A folder and a link to the host in turns, for who looks at one and then enters the other."""
        os.mkdir("one")
        os.symlink(host, "two")
        checkpoint(b"ready")
        while True:
            os.rename("one", "three")
            os.rename("two", "one")
            os.rename("one", "two")
            os.rename("three", "one")

    @staticmethod
    def keep_in_slot(text):
        with open("kept", "w") as kept:
            kept.write(text)
        close_to(".", 0o777)
        close_to("kept", 0o666)
        checkpoint(os.getcwd())
        time.sleep(60)

    @staticmethod
    def look_for(text):
        """Read all that can be found of other boxes; return where the text was."""
        places = ["/proc", "/", "..", "/tmp", "/var/tmp", "/slot", "/dev/shm", os.path.dirname(os.getcwd())]
        found = []
        for place in places:
            for top, folders, files in os.walk(place):
                folders[:] = [name for name in folders if name not in ("usr", "lib", "sys") and top.count("/") < 5]
                for name in files:
                    path = os.path.join(top, name)
                    try:
                        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                        try:
                            if text.encode() in os.read(fd, 1 << 12):
                                found.append(path)
                        finally:
                            os.close(fd)
                    except OSError:
                        continue
        return found

    @staticmethod
    def read(path):
        with open(path, "rb") as opened:
            return opened.read(1 << 16)

    @staticmethod
    def priority(_):
        """Tell how politely this runs, after trying to be less polite."""
        refused = 0
        for attempt in (
            lambda: os.setpriority(os.PRIO_PROCESS, 0, 0),
            lambda: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)),
            lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        ):
            try:
                attempt()
            except PermissionError:
                refused += 1
        return [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0) == os.SCHED_IDLE, refused]

    @staticmethod
    def sparse_file(size):
        os.truncate(os.open("sparse", os.O_CREAT | os.O_RDWR), size)

    @staticmethod
    def log(_):
        while True:
            os.write(1, bytes(1 << 20))

    @staticmethod
    def log_for_ever(_):
        """Print on and on, whatever is said about it."""
        while True:
            try:
                os.write(1, bytes(1 << 20))
            except OSError:
                time.sleep(0.001)

    @staticmethod
    def say(words):
        """Print through Python, a part of a line too, and end in the way that the first word says."""
        print(words)  # noqa: T201
        print("and", end=" ")  # noqa: T201
        print("a half line", end="")  # noqa: T201
        match words.split()[0]:
            case "raise":
                raise ValueError("no good")
            case "hang":
                time.sleep(3600)
            case "spin":
                while True:
                    pass
            case "die":
                os.abort()
        return len(words)

    @staticmethod
    def spoil_the_log(_):
        """Change what all calls of this lane print into, as far as one of them can."""
        fcntl.fcntl(1, fcntl.F_SETFL, 0)
        os.lseek(1, 5000, os.SEEK_SET)
        os.write(1, b"far away")
        sys.stdout = None

    @staticmethod
    def spin(_):
        while True:
            pass

    @staticmethod
    def spin_in_children(_):
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                while True:
                    pass
        signal.pause()

    @staticmethod
    def hang(_):
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(60)

    @staticmethod
    def stop_itself(_):
        os.kill(os.getpid(), signal.SIGSTOP)

    # -- leaving things behind -------------------------------------------------------------------------------

    @staticmethod
    def leave_behind(marker):
        """Start a marked program in a session of its own whose parent is gone, and answer as if nothing were."""
        if os.fork() == 0:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            if os.fork() == 0:
                os.execv("/usr/bin/sleep", ["sleep", marker])
            os._exit(0)
        os.wait()
        return "innocent"

    @staticmethod
    def leave_and_hang(marker):
        Hostile.leave_behind(marker)
        subprocess.Popen(["/usr/bin/sleep", marker])
        checkpoint(b"ready")
        while True:
            time.sleep(60)

    @staticmethod
    def leave_files(_):
        os.makedirs("deep/" * 50)
        os.symlink("/etc/passwd", "link")
        os.mkfifo("pipe")
        open(b"\xff\xfe not utf-8", "w").close()
        close_to("deep", 0)

    @staticmethod
    def what_is_here(_):
        return sorted(os.listdir("."))

    # -- turning on what watches -----------------------------------------------------------------------------

    @staticmethod
    def kill_parent(number):
        os.kill(os.getppid(), number)
        return "survived"

    @staticmethod
    def kill_all(_):
        for pid in range(2, 300):
            if pid != os.getpid():
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue
        time.sleep(60)

    @staticmethod
    def stop_init(_):
        for number in (signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM):
            with contextlib.suppress(PermissionError):  # where Landlock keeps signals to what it confines
                os.kill(1, number)
        return "tried"

    @staticmethod
    def trace_init(_):
        attach, libc = 16, ctypes.CDLL(None, use_errno=True)
        return libc.ptrace(attach, 1, 0, 0)

    # -- lying on the channel --------------------------------------------------------------------------------

    @staticmethod
    def forge(frame):
        channel().sendall(frame)
        time.sleep(60)

    @staticmethod
    def forge_endless(_):
        talk = channel()
        talk.sendall(struct.pack("!BI", RESULT, 1 << 15))
        while True:
            talk.sendall(b"x")
            time.sleep(0.01)

    @staticmethod
    def flood(_):
        talk = channel()
        while True:
            talk.sendall(struct.pack("!BId", PROGRESS, 8, 0.5) * 100)

    @staticmethod
    def close_channel(_):
        channel()
        os.closerange(0, 64)
        while True:
            pass

    @staticmethod
    def answer_and_stay(frame):
        channel().sendall(frame)
        while True:
            pass

    @staticmethod
    def descriptors(_):
        kinds = []
        for fd in range(0, 256):
            try:
                mode = os.fstat(fd).st_mode
            except OSError:
                continue
            kinds.append("socket" if stat.S_ISSOCK(mode) else "file" if stat.S_ISREG(mode) else "other")
        return kinds

    # -- ending badly ----------------------------------------------------------------------------------------

    @staticmethod
    def exit_quietly(_):
        os._exit(0)

    @staticmethod
    def exit_loudly(_):
        raise SystemExit("done")

    @staticmethod
    def crash(_):
        os.write(2, b"last words\n")
        ctypes.string_at(1)

    @staticmethod
    def illegal_instruction(_):
        os.kill(os.getpid(), signal.SIGILL)

    @staticmethod
    def illegal_instruction_of_a_program(_):
        subprocess.run(["/bin/sh", "-c", "kill -ILL $$"], check=True)

    @staticmethod
    def not_data(_):
        return object()

    @staticmethod
    def nested(_):
        value = []
        for _ in range(100):
            value = [value]
        return value

    @staticmethod
    def too_long(size):
        return b"x" * size

    @staticmethod
    def unreadable_error(_):
        raise ValueError("\udcff" + "x" * 100_000)

    @staticmethod
    def odd_progress(_):
        for share in (float("nan"), float("inf"), -1.0, 2.0):
            channel().sendall(struct.pack("!BId", PROGRESS, 8, share))
        progress(0.25)
        return None

    @staticmethod
    def odd_shows(_):
        for shows in (b"no codec", b"\xc1", codec.encode([1, 2]), codec.encode({"x": "y" * 5000})[:4096]):
            body = struct.pack("!d", float("nan")) + shows
            channel().sendall(struct.pack("!BI", PROGRESS, len(body)) + body)
        bad = {"nan": float("nan"), "long": "x" * 121, "lines": "a\nb", "turned": "a\u202eb", "deep": [1], "\n": 1}
        progress(0.25, **bad, curve=3, word="stage 2", huge=1 << 60)
        return None

    @staticmethod
    def leave_thread(_):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        return "answer"
