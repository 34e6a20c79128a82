"""The C library of a root file system, from the library itself."""

from lockstep.environment.tree import FileTree


def libc_paths(machine: str) -> tuple[str, ...]:
    """Return where the C library of a machine (`x86_64`) may stand, the first one that is there being it."""
    return (
        f"/lib/{machine}-linux-gnu/libc.so.6",
        f"/usr/lib/{machine}-linux-gnu/libc.so.6",
        "/lib64/libc.so.6",
        "/usr/lib64/libc.so.6",
        "/lib/libc.so.6",
        "/usr/lib/libc.so.6",
        f"/lib/ld-musl-{machine}.so.1",
    )


def libc(tree: FileTree, machine: str) -> str | None:
    """Return `glibc 2.36` or `musl 1.2.4`; None when neither is found."""
    found = (program.libc for path in libc_paths(machine) if (program := tree.program(path)) is not None)
    return next((version for version in found if version is not None), None)
