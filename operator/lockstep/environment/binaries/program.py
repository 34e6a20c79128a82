"""What a binary says of itself: CPython's version, the C library's. Read once, so that its body need not be kept."""

import re
from dataclasses import dataclass

from lockstep.environment.binaries.elf import python_version

_GLIBC = re.compile(rb"GNU C Library \([^()\n]{0,200}\) (?:stable|development) release version (\d+\.\d+)")
_MUSL = re.compile(rb"\b\d{1,3}\.\d{1,3}\.\d{1,3}\b")


@dataclass(frozen=True, slots=True)
class Program:
    """What is known of a binary."""

    python: str | None = None
    """Full version of the CPython that it is or holds (`3.11.2`)."""
    libc: str | None = None
    """The C library that it is: `glibc 2.36`, `musl 1.2.4`, or `musl` without a version."""


def program_of(body: bytes) -> Program:
    """Read what a binary says of itself; nothing is known of what is neither Python nor a C library."""
    return Program(python=python_version(body), libc=_libc(body))


def _libc(body: bytes) -> str | None:
    if match := _GLIBC.search(body):
        return f"glibc {match[1].decode()}"
    if b"musl libc" not in body:
        return None
    match = _MUSL.search(body)
    return f"musl {match[0].decode()}" if match else "musl"
