"""The effective `sys.path` of the running process."""

import os
import site
import sys
import sysconfig
from collections.abc import Iterable

from lockstep.environment.catalogue.launch.path import SearchPath


def current_path() -> SearchPath:
    """Return this process's path as the catalogue sees an image's."""
    # The script's directory, or the one in which Python was started, comes once start-up hooks have run.
    early = sys.path if sys.flags.safe_path else sys.path[1:]
    entries = _existing_paths(sys.path)
    library = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    library |= {os.path.join(path, "lib-dynload") for path in library}
    sites = [*([site.getusersitepackages()] if site.ENABLE_USER_SITE else []), *site.getsitepackages()]
    resolved = [os.path.realpath(path) for path in sites]
    return SearchPath(
        entries=entries,
        early=_existing_paths(early),
        library=frozenset(library),
        # Which of them are taken (-S, -I, include-system-site-packages) shows on the path itself.
        site=tuple(dict.fromkeys(path for path in resolved if path in entries)),
        series=f"{sys.version_info.major}.{sys.version_info.minor}",
        customized=not sys.flags.no_site,
        user_customized=bool(site.ENABLE_USER_SITE),
        pycache_prefix=sys.pycache_prefix,
    )


def _existing_paths(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(os.path.realpath(path or os.getcwd()) for path in paths if os.path.exists(path or ".")))
