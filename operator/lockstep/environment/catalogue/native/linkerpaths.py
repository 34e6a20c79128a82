"""The directories that the dynamic linker searches for every program: built in, or by its configuration."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from lockstep.environment.tree import FileTree, UnreadableFileError

_MAX_FILES = 256
"""Configuration files that are read; one includes others."""


def glibc_directories(tree: FileTree, machine: str) -> Iterator[str]:
    """Yield what ldconfig(8) reads from ld.so.conf, then what is built in, Debian's directories for a machine first.

    The linker itself reads ld.so.cache, which ldconfig makes of these directories when a package is installed.
    """
    yield from _configured_directories(tree, "/etc/ld.so.conf")
    yield from (f"/lib/{machine}-linux-gnu", f"/usr/lib/{machine}-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")


def musl_directories(tree: FileTree) -> Iterator[str]:
    """Yield what /etc/ld-musl-*.path names, else what is built in (musl, ldso/dynlink.c)."""
    for name in tree.listdir("/etc"):
        if fnmatchcase(name, "ld-musl-*.path"):
            yield from _lines(tree, f"/etc/{name}", separator=":")
            return
    yield from ("/lib", "/usr/local/lib", "/usr/lib")


def _configured_directories(tree: FileTree, path: str) -> Iterator[str]:
    todo, seen = [path], {path}
    while todo:
        for line in _lines(tree, todo.pop(0), separator="\0"):
            words = line.split()
            if words[0] == "include":
                for pattern in words[1:]:
                    more = [one for one in _included_files(tree, pattern) if one not in seen][: _MAX_FILES - len(seen)]
                    seen.update(more)
                    todo += more
            elif words[0] != "hwcap":
                # Several to a line, and `directory=libc6` of old (ldconfig.c, parse_conf and add_dir).
                yield from (word.partition("=")[0] for word in line.replace(",", " ").replace(":", " ").split())


def _included_files(tree: FileTree, pattern: str) -> Iterator[str]:
    """Yield the files that an include line means: a pattern in the last part, relative to /etc."""
    folder, _, name = (pattern if pattern.startswith("/") else f"/etc/{pattern}").rpartition("/")
    yield from (f"{folder}/{one}" for one in tree.listdir(folder or "/") if fnmatchcase(one, name))


def _lines(tree: FileTree, path: str, *, separator: str) -> Iterator[str]:
    try:
        body = tree.read(path) or b""
    except UnreadableFileError:
        # What it names is then not searched, so that a library there counts as missing: unknown never passes.
        return
    for line in body.decode("utf-8", "surrogateescape").replace(separator, "\n").split("\n"):
        if text := line.partition("#")[0].strip():
            yield text
