"""The C library of a root file system, from the library itself, or from the package that brought it."""

import re

from lockstep.environment.catalogue.system.apk import apk
from lockstep.environment.tree import FileTree

# Alpine's versions go on with a snapshot's date or the package's revision: 1.2.4_git20230717-r4.
_MUSL_PACKAGE = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}")


def libc_paths(machine: str) -> tuple[str, ...]:
    """Return where the C library of a machine (`x86_64`) may stand, the first one that is there being it."""
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
    found = (program.libc for path in libc_paths(machine) if (program := tree.program(path)) is not None)
    version = next((version for version in found if version is not None), None)
    loader = tree.program(f"/lib/ld-musl-{machine}.so.1")
    if version is not None or loader is None:
        return version
    if loader.libc not in (None, "musl"):
        return loader.libc
    packaged = _MUSL_PACKAGE.match(apk(tree).get("musl", ""))
    return f"musl {packaged[0]}" if packaged else "musl"
