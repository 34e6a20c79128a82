"""Which files of an image are evidence, and what of each kind is kept."""

import re
from dataclasses import dataclass

from lockstep.environment.catalogue.libc import libc_paths
from lockstep.images.limits import MIB

_KINDS: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (re.compile(pattern), limit)
    for pattern, limit in (
        (r"(?:\.(?:dist|egg)-info|\.egg/EGG-INFO)/(?:METADATA|PKG-INFO|WHEEL|direct_url\.json)$", MIB),
        (r"\.(?:dist-info/RECORD|egg-info)$", 32 * MIB),
        (r"\.pth$", MIB),
        (r"/pyvenv\.cfg$", MIB),
        (r"^/(?:etc|usr/lib)/os-release$", MIB),
        (r"^/etc/passwd$", MIB),
        (r"^/var/lib/dpkg/(?:status|status\.d/[^/]+)$", 64 * MIB),
        (r"/bin/(?:python|pypy)[0-9.]*$", 64 * MIB),
        (r"/libpython3\.[0-9]+\.so\.1\.0$", 64 * MIB),
        (r"/patchlevel\.h$", MIB),
        (r"/libc[.-][0-9.]*so(?:\.6)?$|/ld-musl-[a-z0-9_]+\.so\.1$", 16 * MIB),
        (r"/MLmodel$", 4 * MIB),
        # Scripts whose first line leads to the interpreter.
        (r"/s?bin/[^/]+$|\.sh$", 64 * 1024),
    )
)
_LIBC = {path for machine in ("x86_64", "aarch64") for path in libc_paths(machine)}
# What an interpreter can import, and what stands beside it in an installed package.
_HASHED = re.compile(r"/(?:site|dist)-packages/|\.(?:py|pyc|pth|so)$|\.so\.[0-9.]+$")


@dataclass(frozen=True, slots=True)
class Interest:
    """What is kept of one file."""

    body: int = 0
    """How many bytes the body may have to be kept; 0 when it is not kept."""
    hashed: bool = False
    """Whether its digest is taken."""
    head: bool = False
    """Whether its first bytes are kept."""


NONE = Interest()


def interest(path: str) -> Interest:
    """Return what is kept of the file at `path`, an absolute path."""
    hashed = _HASHED.search(path) is not None
    limit = 16 * MIB if path in _LIBC else next((limit for pattern, limit in _KINDS if pattern.search(path)), 0)
    return Interest(limit, hashed, path.endswith(".pyc")) if hashed or limit else NONE
