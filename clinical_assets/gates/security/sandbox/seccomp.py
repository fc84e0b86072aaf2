"""A filter of system calls (Linux seccomp): no network, processes or writes, also for code that raises no event."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER_MODE = 22, 38, 2
_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND
_X32 = 0x40000000

# Machine: (audit architecture, refused calls, {open call: index of its flags}). Numbers: <asm/unistd.h>.
_MACHINES: dict[str, tuple[int, tuple[int, ...], dict[int, int]]] = {
    "x86_64": (
        0xC000003E,
        (
            41, 42, 43, 44, 49, 50, 53, 288,  # socket, connect, accept, sendto, bind, listen, socketpair, accept4
            56, 57, 58, 59, 322, 435, 62, 200, 234, 101, 310, 311,  # clone … clone3, kill …, ptrace, process_vm_*
            76, 77, 82, 83, 84, 85, 86, 87, 88, 90, 91, 92, 93, 133, 165,  # truncate, rename, mkdir … chown, mount
            258, 259, 260, 263, 264, 265, 266, 268, 316, 321, 425, 437,  # the …at calls, bpf, io_uring_setup, openat2
        ),
        {2: 1, 257: 2},
    ),
    "aarch64": (
        0xC00000B7,
        (
            198, 199, 200, 201, 202, 203, 206, 242,
            220, 221, 281, 435, 129, 130, 131, 117, 270, 271,
            33, 34, 35, 36, 37, 38, 40, 45, 46, 52, 53, 54, 55, 276, 280, 425, 437,
        ),
        {56: 2},
    ),
}  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install() -> bool:
    """Put the filter over this process for good; False where the system has none that is known here."""
    machine = _MACHINES.get(platform.machine())
    if not sys.platform.startswith("linux") or machine is None:
        return False
    code = b"".join(_instructions(*machine))
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(code) // 8, code)
    return (
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        and libc.prctl(PR_SET_SECCOMP, FILTER_MODE, ctypes.byref(program), 0, 0) == 0
    )


def _instructions(architecture: int, refused: tuple[int, ...], opens: dict[int, int]) -> list[bytes]:
    """Classic BPF over `struct seccomp_data`: number at 0, architecture at 4, arguments from 16, 8 bytes each."""
    code = [
        _instruction(_LOAD, 4),
        _instruction(_EQUAL, architecture, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, 0),
        _instruction(_AT_LEAST, _X32, 0, 1),
        _instruction(_RETURN, _REFUSE),
    ]
    for number in refused:
        code += [_instruction(_EQUAL, number, 0, 1), _instruction(_RETURN, _REFUSE)]
    for number, flags in opens.items():
        code += [
            _instruction(_EQUAL, number, 0, 4),
            _instruction(_LOAD, 16 + 8 * flags),
            _instruction(_ANY_BIT, _WRITING, 0, 1),
            _instruction(_RETURN, _REFUSE),
            _instruction(_RETURN, _ALLOW),
        ]
    return [*code, _instruction(_RETURN, _ALLOW)]


def _instruction(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", operation, if_true, if_false, value)
