"""Which of the files that a reload imported are somebody's own code."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lockstep.environment.catalogue.launch.path import SearchPath
from lockstep.environment.catalogue.packages.distributions import find_distributions
from lockstep.environment.catalogue.packages.ownership import Ownership
from lockstep.environment.catalogue.python.code import HOOKS
from lockstep.environment.catalogue.python.startup import HARMLESS
from lockstep.environment.tree import FileTree

# What records and loads the model is not the model.
_TOOLS = frozenset({"lockstep", "mlflow"})
# Written into a temporary directory by torch.distributed when it is imported.
_GENERATED = frozenset({"_remote_module_non_scriptable"})
_LOCAL = ("editable", "directory")


@dataclass(frozen=True)
class OwnCode:
    """Digests by import path, and the import paths of modules whose files could not be read."""

    digests: dict[str, str]
    unread: tuple[str, ...]


def own_code_of(
    tree: FileTree, path: SearchPath, files: Iterable[Sequence[str | None]], system: Sequence[str] | None = None
) -> OwnCode:
    """Keep what belongs to no distribution, or to one that was installed from a directory.

    Args:
        tree: the file system of this process.
        path: its effective path.
        files: import path, file and digest of each module that was imported; the digest is None when it could not be read.
        system: the path as the interpreter spells it, with links; `sys.path` by default.

    Raises:
        CatalogueError, UnreadableFileError: what is installed could not be determined.
    """
    owners = Ownership(tree, find_distributions(tree, path.entries))
    # Of two entries one of which lies in the other, the longer one is the one that a file was found in.
    spelled = sorted({part or os.getcwd() for part in (sys.path if system is None else system)}, key=len, reverse=True)
    digests: dict[str, str] = {}
    unread: list[str] = []
    for module, file, digest in files:
        if module is None or file is None or _is_no_code(module) or digest in HARMLESS:
            continue
        spelling = next((one.rstrip("/") for one in spelled if file.startswith(f"{one.rstrip('/')}/")), None)
        entry = (tree.resolve(spelling) or spelling) if spelling is not None else ""
        if entry in path.library or owners.is_owned_by_system(entry):
            continue
        real = f"{entry}{file.removeprefix(spelling)}" if spelling is not None else file
        owner = owners.owner(real, entry)
        if owner is not None and (owner.package.origin is None or owner.package.origin.kind not in _LOCAL):
            continue
        if digest is None:
            unread.append(module)
        else:
            digests[module] = digest
    return OwnCode(dict(sorted(digests.items())), tuple(sorted(unread)))


def _is_no_code(module: str) -> bool:
    top = module.partition("/")[0].partition(".")[0]
    return top in _TOOLS | HOOKS | _GENERATED or top.startswith("__editable__")
