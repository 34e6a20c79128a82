"""The C library of a root file system, from the library itself."""

import re

from lockstep.environment.tree import FileTree

_GLIBC = re.compile(rb"GNU C Library \([^()\n]{0,200}\) (?:stable|development) release version (\d+\.\d+)")
_MUSL = re.compile(rb"\b\d{1,3}\.\d{1,3}\.\d{1,3}\b")


def libc_paths(machine: str) -> tuple[str, ...]:
    """Return where the C library of a machine (`x86_64`) may stand."""
    return (
        f"/lib/{machine}-linux-gnu/libc.so.6",
        f"/usr/lib/{machine}-linux-gnu/libc.so.6",
        "/lib64/libc.so.6",
        "/usr/lib64/libc.so.6",
        "/lib/libc.so.6",
        "/usr/lib/libc.so.6",
    )


def libc(tree: FileTree, machine: str) -> str | None:
    """Return `glibc 2.36` or `musl 1.2.4`; None when neither is found."""
    for path in libc_paths(machine):
        body = tree.read(path)
        if body is not None and (found := _GLIBC.search(body)):
            return f"glibc {found[1].decode()}"
    body = tree.read(f"/lib/ld-musl-{machine}.so.1")
    if body is not None:
        found = _MUSL.search(body)
        return f"musl {found[0].decode()}" if found else "musl"
    return None
