"""The C library of a root file system, from the library itself, or from the package that brought it."""

import re

from lockstep.environment.catalogue.apk import apk
from lockstep.environment.tree import FileTree

_GLIBC = re.compile(rb"GNU C Library \([^()\n]{0,200}\) (?:stable|development) release version (\d+\.\d+)")
_MUSL = re.compile(rb"\b\d{1,3}\.\d{1,3}\.\d{1,3}\b")
# Alpine's versions go on with a snapshot's date or the package's revision: 1.2.4_git20230717-r4.
_MUSL_PACKAGE = re.compile(rb"\d{1,3}\.\d{1,3}\.\d{1,3}")


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
    """Return `glibc 2.36` or `musl 1.2.4`; None when neither is found.

    Raises:
        CatalogueError, UnreadableFileError: musl does not state its version, and the package database can't be read.
    """
    for path in libc_paths(machine):
        body = tree.read(path)
        if body is not None and (found := _GLIBC.search(body)):
            return f"glibc {found[1].decode()}"
    body = tree.read(f"/lib/ld-musl-{machine}.so.1")
    if body is not None:
        found = _MUSL.search(body) or _MUSL_PACKAGE.match(apk(tree).get("musl", "").encode())
        return f"musl {found[0].decode()}" if found else "musl"
    return None
