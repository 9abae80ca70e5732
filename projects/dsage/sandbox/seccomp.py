"""The system calls that boxed code may not make, as a BPF program for the kernel's seccomp filter.

A deny list over the two 64-bit tables (x86_64; aarch64 uses the kernel's generic table), closed at the end: calls
numbered after `NEWEST` answer "not implemented", so what a later kernel adds stays shut until it is looked at.
Source of the numbers: Linux uapi `asm/unistd_64.h` and `asm-generic/unistd.h`; of the program's form:
Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import Final

from dsage.errors import SandboxRefused

NEWEST: Final = 450
"""set_mempolicy_home_node, Linux 5.17; both tables number new calls alike from 424 on."""

DENIED: Final[dict[str, tuple[int | None, int | None]]] = {
    # name: (x86_64, aarch64); None where the table has no such call
    # other processes' memory, signals and descriptors
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # kernel machinery with a long history of holes
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "lookup_dcookie": (212, 18),
    "modify_ldt": (154, None),
    # mounts, namespaces, files by handle
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # the machine itself
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "create_module": (174, None),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "query_module": (178, None),
    "get_kernel_syms": (177, None),
    "uselib": (134, None),
    "_sysctl": (156, None),
    "sysfs": (139, None),
    "nfsservctl": (180, 42),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "personality": (135, 92),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "adjtimex": (159, 171),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "ioprio_set": (251, 30),
    "iopl": (172, None),
    "ioperm": (173, None),
    # the network; socketpair stays
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    # memory that no limit of a process counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "mq_open": (240, 180),
    # what a user has little of, also outside of the box: the desktop's own programs would go without
    "io_setup": (206, 0),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
}

ATTRIBUTES: Final[dict[str, tuple[int | None, int | None]]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}
"""What changes a file's rights, owner, times or marks by its name: Landlock knows no rule for these, so that without a
mount namespace any file of the same user would be in reach. Denied there, in the slot too."""

NEW_NAMESPACES: Final = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
TERMINAL_INPUT: Final = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX type into the terminal that started us."""
SIGNAL_OWNER: Final = (8, 10, 15)
"""F_SETOWN, F_SETSIG and F_SETOWN_EX make the kernel send any signal to any process of the same user."""
EVERY_PROCESS: Final = 0xFFFFFFFF
"""kill(-1)."""

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERRNO: Final = 0x00050000
_X32_BIT: Final = 0x40000000

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_ABOVE: Final = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_SKIP: Final = 0x05  # BPF_JMP | BPF_JA
_RETURN: Final = 0x06  # BPF_RET | BPF_K


@dataclass(frozen=True, slots=True)
class Architecture:
    """What differs between the machines: the audit id and the numbers of the calls whose arguments matter."""

    audit: int
    column: int
    clone: int
    clone3: int
    ioctl: int
    fcntl: int
    kill: int
    prlimit: int


ARCHITECTURES: Final = {
    "x86_64": Architecture(0xC000003E, 0, 56, 435, 16, 72, 62, 302),
    "aarch64": Architecture(0xC00000B7, 1, 220, 435, 29, 25, 129, 261),
}


def program(machine: str, *, attributes: bool = False) -> bytes:
    """Return the filter for `machine` (`platform.machine()`): an array of struct sock_filter.

    With `attributes` it denies `ATTRIBUTES` too. Raises SandboxRefused for a machine whose call numbers are not known
    here.
    """
    known = ARCHITECTURES.get(machine)
    if known is None:
        raise SandboxRefused(
            f"no system call filter is known for {machine} processors",
            hint="Use a 64-bit Intel, AMD or ARM computer.",
        )
    refused = _ERRNO | errno.EPERM
    code = [
        _step(_LOAD, 4),
        _step(_EQUAL, known.audit, yes=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, 0),
        _step(_AT_LEAST, _X32_BIT, no=1),
        _step(_RETURN, refused),
        _step(_ABOVE, NEWEST, no=1),
        _step(_RETURN, _ERRNO | errno.ENOSYS),
        _step(_EQUAL, known.clone3, no=1),
        _step(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    denied = DENIED | (ATTRIBUTES if attributes else {})
    numbers = sorted(n for pair in denied.values() if (n := pair[known.column]) is not None)
    code += [_step(_EQUAL, number, yes=len(numbers) - i) for i, number in enumerate(numbers)]
    code += [_step(_SKIP, 1), _step(_RETURN, refused)]
    code += _argument(known.clone, 0, _ANY_BIT, (NEW_NAMESPACES,), refused)
    code += _argument(known.ioctl, 1, _EQUAL, TERMINAL_INPUT, refused)
    code += _argument(known.fcntl, 1, _EQUAL, SIGNAL_OWNER, refused)
    code += _argument(known.kill, 0, _EQUAL, (EVERY_PROCESS,), refused)
    code += _argument(known.prlimit, 0, _AT_LEAST, (1,), refused)
    return b"".join([*code, _step(_RETURN, _ALLOW)])


def install(filter_program: bytes) -> None:
    """Put the filter on this process and all it will start. Raises SandboxRefused if the kernel will not."""
    import ctypes

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
    libc = ctypes.CDLL(None, use_errno=True)
    described = Program(len(filter_program) // 8, filter_program)
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_seccomp, mode_filter, ctypes.byref(described), 0, 0):
        raise SandboxRefused(
            f"the kernel takes no system call filter: {errno.errorcode.get(ctypes.get_errno(), 'unknown error')}",
            hint="Use a kernel built with seccomp filters; every common distribution has them.",
        )


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _argument(number: int, index: int, test: int, values: tuple[int, ...], verdict: int) -> list[bytes]:
    """Refuse the call `number` when the low half of argument `index` passes the test for one of `values`."""
    count = len(values)
    return [
        _step(_EQUAL, number, no=count + 3),
        _step(_LOAD, 16 + 8 * index),
        *(_step(test, value, yes=count - i) for i, value in enumerate(values)),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, verdict),
    ]
