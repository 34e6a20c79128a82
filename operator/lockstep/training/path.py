"""The effective `sys.path` of the running process."""

import os
import site
import sys
import sysconfig

from lockstep.environment.catalogue.path import SearchPath


def current_path() -> SearchPath:
    """Return this process's path as the catalogue sees an image's."""
    entries = tuple(dict.fromkeys(os.path.realpath(path or os.getcwd()) for path in sys.path if os.path.exists(path or ".")))
    library = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    library |= {os.path.join(path, "lib-dynload") for path in library}
    sites = [*([site.getusersitepackages()] if site.ENABLE_USER_SITE else []), *site.getsitepackages()]
    resolved = [os.path.realpath(path) for path in sites]
    return SearchPath(
        entries=entries,
        library=frozenset(library),
        # Which of them are taken (-S, -I, include-system-site-packages) shows on the path itself.
        site=tuple(dict.fromkeys(path for path in resolved if path in entries)),
        script=os.path.realpath(sys.path[0] or os.getcwd()) if sys.path and not sys.flags.safe_path else None,
        series=f"{sys.version_info.major}.{sys.version_info.minor}",
        customized=not sys.flags.no_site,
        user_customized=bool(site.ENABLE_USER_SITE),
        pycache_prefix=sys.pycache_prefix,
    )
