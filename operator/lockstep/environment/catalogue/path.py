"""The effective `sys.path` of a process, and what each directory on it is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchPath:
    """Directories without symbolic links, in the order in which imports look at them."""

    entries: tuple[str, ...]
    library: frozenset[str]
    """Those of the standard library."""
    site: tuple[str, ...]
    """Those in which the site module reads `.pth` files, in its order; empty with `-S`."""
    script: str | None
    """The script's or the working directory, which comes first, but only once start-up hooks have run."""
    series: str
    """The interpreter's, as `3.11`."""
    customized: bool = True
    """Whether `sitecustomize` is imported: not with `-S`."""
    user_customized: bool = True
    """Whether `usercustomize` is imported: where the user's own site directory is taken."""
    pycache_prefix: str | None = None
    """The root below which byte code is cached instead of beside its source (PYTHONPYCACHEPREFIX)."""
