"""Which packages a distribution plugs into (PyPA, "Entry points specification")."""

import re

from lockstep.environment.tree import FileTree

_MAX_GROUPS = 32
_GROUP = re.compile(r"^\s*\[\s*([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_.-]+)?)\s*\]", re.MULTILINE)
# Groups of tools that build, install, test or record, and of commands: none of them takes part in a prediction.
_TOOLS = frozenset({"console_scripts", "gui_scripts", "distutils", "setuptools", "egg_info", "pytest11", "mlflow"})


def plugs(tree: FileTree, folder: str) -> tuple[str, ...] | None:
    """Return the first parts of a distribution's entry point groups (`xarray` of `xarray.backends`), sorted, at most 32.

    None where it has none.

    Raises:
        UnreadableFileError: its entry points can't be read.
    """
    body = tree.read(f"{folder}/entry_points.txt")
    groups = _GROUP.findall(body.decode("utf-8", "replace")) if body is not None else []
    firsts = sorted({group.partition(".")[0][:512] for group in groups} - _TOOLS)
    return tuple(firsts[:_MAX_GROUPS]) or None
