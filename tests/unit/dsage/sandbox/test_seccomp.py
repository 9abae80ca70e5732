"""The filter, run by a small interpreter of the kernel's BPF: what it answers to each call."""

import errno
import struct

import pytest

from dsage.errors import SandboxRefused
from dsage.sandbox import seccomp
from dsage.sandbox.seccomp import ARCHITECTURES, DENIED

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSED, NOT_IMPLEMENTED = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS


def answer(program, number, args=(), *, audit):
    """Return the filter's verdict on a call, after struct seccomp_data of the kernel's uapi."""
    values = [value & (1 << 64) - 1 for value in (*args, 0, 0, 0, 0, 0, 0)][:6]
    data = struct.pack("=iIQ6Q", number, audit, 0, *values)
    steps = list(struct.iter_unpack("=HBBI", program))
    at, accumulator = 0, 0
    while True:
        code, yes, no, value = steps[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x05:
            at += value
        else:
            holds = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            at += yes if holds else no


@pytest.fixture(params=list(ARCHITECTURES))
def ask(request):
    machine = ARCHITECTURES[request.param]
    program = seccomp.program(request.param)

    def answered(number, *args, audit=machine.audit):
        return answer(program, number, args, audit=audit)

    answered.machine = machine
    return answered


def test_every_listed_call_is_refused(ask):
    for name, numbers in DENIED.items():
        number = numbers[ask.machine.column]
        if number is not None:
            assert ask(number) == REFUSED, name


def test_every_other_call_is_allowed(ask):
    special = {ask.machine.clone3, *(numbers[ask.machine.column] for numbers in DENIED.values())}
    for number in set(range(seccomp.NEWEST + 1)) - special:
        assert ask(number) == ALLOW, number


@pytest.mark.parametrize("number", [451, 462, 1000])
def test_calls_of_later_kernels_do_not_exist(ask, number):
    assert ask(number) == NOT_IMPLEMENTED


def test_clone3_does_not_exist_because_its_flags_cannot_be_read(ask):
    assert ask(ask.machine.clone3) == NOT_IMPLEMENTED


def test_another_architecture_is_killed(ask):
    assert ask(1, audit=0x40000003) == KILL


def test_the_x32_table_is_refused(ask):
    assert ask(0x40000000 | 1) == REFUSED


@pytest.mark.parametrize("flag", [1 << 17, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30])
def test_clone_makes_no_namespace(ask, flag):
    assert ask(ask.machine.clone, flag | 17) == REFUSED
    assert ask(ask.machine.clone, 0x3D0F00) == ALLOW  # a thread


def test_arguments_decide(ask):
    machine = ask.machine
    assert ask(machine.ioctl, 0, 0x5412) == REFUSED
    assert ask(machine.ioctl, 0, 0x5412 | 1 << 32) == REFUSED
    assert ask(machine.ioctl, 0, 0x5401) == ALLOW
    assert ask(machine.fcntl, 3, 8, 1) == REFUSED
    assert ask(machine.fcntl, 3, 1) == ALLOW
    assert ask(machine.kill, -1, 9) == REFUSED
    assert ask(machine.kill, 4321, 9) == ALLOW
    assert ask(machine.prlimit, 1, 0) == REFUSED
    assert ask(machine.prlimit, 0, 0) == ALLOW


def test_no_filter_for_an_unknown_machine():
    with pytest.raises(SandboxRefused, match="riscv64"):
        seccomp.program("riscv64")
