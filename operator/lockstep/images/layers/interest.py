"""Which files of an image are evidence, and what of each kind is kept."""

import re
from dataclasses import dataclass

from lockstep.environment.binaries.sharedobject import OBJECT_NAME
from lockstep.environment.catalogue.system.readers import READERS
from lockstep.images.limits import MIB

_START_FOLDERS = r"/(?:app/|opt/(?:[^/]+/)?|srv/|usr/src/app/|workspace/|home/[^/]+/)?"
_KINDS: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (re.compile(pattern), limit)
    for pattern, limit in (
        (r"(?:\.(?:dist|egg)-info|\.egg/EGG-INFO)/(?:METADATA|PKG-INFO|WHEEL|INSTALLER|direct_url\.json)$", MIB),
        (r"\.(?:dist|egg)-info/entry_points\.txt$|\.egg-info/(?:installed-files|top_level)\.txt$", MIB),
        (r"\.(?:dist-info/RECORD|egg-info)$", 32 * MIB),
        (r"\.pth$", MIB),
        # Archives that are on the path; of other archives the scan says that it does not read them.
        (r"\.egg$|/python3[0-9]+\.zip$", 16 * MIB),
        (r"/conda-meta/state$|/\.?condarc$", MIB),
        (r"/pyvenv\.cfg$", MIB),
        (r"^/(?:etc|usr/lib)/os-release$", MIB),
        (r"^/etc/passwd$", MIB),
        # Where the dynamic linker searches, and what it loads first.
        (r"^/etc/(?:ld\.so\.conf(?:\.d/[^/]+)?|ld\.so\.preload|ld-musl-[a-z0-9_]+\.path)$", MIB),
        *((kept.pattern, kept.limit) for reader in READERS for kept in reader.files),
        # Records list every file. Those of large packages are not kept, and their names say what is needed.
        (r"/conda-meta/[^/]+\.json$", MIB),
        (r"^/usr/local/cuda[^/]*/version\.json$", MIB),
        (r"/patchlevel\.h$", MIB),
        (r"/MLmodel$", 4 * MIB),
        # What MLServer needs beside a model.
        (r"/model-settings\.json$", 4 * MIB),
        (r"/settings\.json$", 64 * 1024),
        # Scripts whose first line leads to the interpreter, and those by whose names entrypoints go.
        (r"/s?bin/[^/]+$|\.(?:sh|bash)$", 64 * 1024),
        (rf"^{_START_FOLDERS}(?:docker-)?(?:entrypoint|start|run|serve|cmd|launch)[^/]*$", 64 * 1024),
    )
)
_PROGRAM = re.compile(
    r"/bin/(?:python|pypy)[0-9.]*$|/libpython3\.[0-9]+\.so\.1\.0$|/libc[.-][0-9.]*so(?:\.6)?$|/ld-musl-[a-z0-9_]+\.so\.1$"
)
# A script is told apart from a binary of the same name by how it begins.
_STARTED = re.compile(r"/s?bin/[^/]+$|^/[^/]+$|\.pyc$")
# Files of the system's own Python, of which its package manager knows other digests than sha256.
_SYSTEM_PYTHON = re.compile(
    r"^/usr/(?:lib(?:64)?/python3[^/]*/.*\.(?:py|so)|bin/python3[0-9.]*|lib(?:64|/[^/]*)?/libpython3[0-9.so]*)$"
)
# What an interpreter can import, what stands beside it in an installed package (pip install --target puts one anywhere), and
# whatever a model is made of, which may lie anywhere too. So every file is hashed, but for what a distribution's own packages
# fill: of a model that lies there, or leads there, the scan says that it can't be determined.
_HASHED_ANYWHERE = re.compile(r"/(?:site|dist)-packages/|\.(?:py|pyc|pth|so)$|\.so\.[0-9.]+$")
_DISTRIBUTION = re.compile(
    r"^/(?:bin|boot|dev|etc|lib|lib32|lib64|libx32|proc|run|sbin|sys"
    r"|usr/(?:bin|games|include|lib|lib32|lib64|libexec|libx32|sbin|share|local/cuda[^/]*)"
    r"|var/(?:lib/(?:apk|apt|dpkg|pacman|rpm|yum)|log))/"
)


@dataclass(frozen=True, slots=True)
class Interest:
    """What is kept of one file."""

    body: int = 0
    """How many bytes the body may have to be kept; 0 when it is not kept."""
    hashed: bool = False
    """Whether its digest is taken."""
    head: bool = False
    """Whether its first bytes are kept."""
    program: int = 0
    """How many bytes the file may have to be asked what it says of itself; 0 when it is not asked."""
    needs: bool = False
    """Whether it is read as a shared object, for what it needs."""
    legacy: bool = False
    """Whether its md5 and sha1 digests are taken too."""


NONE = Interest()
_SETTINGS, _SITE_MODULE, _PYTHONS_RECORD = 64 * 1024, 256 * 1024, 16 * MIB


def interest(path: str) -> Interest:
    """Return what is kept of the file at `path`, an absolute path."""
    if path.endswith(".pyc") and "/__pycache__/" in path:
        return Interest(head=True)
    limit = next((limit for pattern, limit in _KINDS if pattern.search(path)), 0) or _settings(path)
    if limit and "/conda-meta/python-3" in path:
        # The interpreter's own record is needed for its files.
        limit = _PYTHONS_RECORD
    program = 64 * MIB if _PROGRAM.search(path) else 0
    legacy = path.startswith("/usr/") and _SYSTEM_PYTHON.search(path) is not None
    own = _DISTRIBUTION.match(path) is not None and _HASHED_ANYWHERE.search(path) is None
    hashed = legacy or program > 0 or not own
    # Shared objects count wherever they are: search paths lead anywhere.
    needs = program > 0 or OBJECT_NAME.search(path) is not None
    head = _STARTED.search(path) is not None
    return Interest(limit, hashed, head, program, needs, legacy) if hashed or limit or head or needs else NONE


def _settings(path: str) -> int:
    """Return how many bytes of a file are kept that may be settings written in Python, or the system's own site module."""
    if not path.endswith(".py"):
        return 0
    folder, _, name = path.rpartition("/")
    if name == "site.py":
        return _SITE_MODULE if folder.startswith("/usr/lib/python3") else 0
    may_be = "conf" in name or "gunicorn" in name or folder.endswith("/gunicorn")
    return _SETTINGS if may_be and not path.startswith(("/usr/", "/var/")) and "-packages/" not in path else 0
