"""Which files of an image are evidence, and how large each kind may be."""

import re

from lockstep.environment.catalogue.libc import libc_paths
from lockstep.images.limits import MIB

_KINDS: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (re.compile(pattern), limit)
    for pattern, limit in (
        (r"\.(?:dist|egg)-info/(?:METADATA|PKG-INFO|WHEEL|direct_url\.json)$", MIB),
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


def wanted(path: str) -> int:
    """Return how many bytes of the file at `path` may be kept; 0 when it is no evidence."""
    if path in _LIBC:
        return 16 * MIB
    for pattern, limit in _KINDS:
        if pattern.search(path):
            return limit
    return 0
