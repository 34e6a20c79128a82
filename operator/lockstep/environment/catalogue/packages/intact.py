"""Whether installed distributions are as they were installed: their modules, and the commands that are executed."""

import posixpath
from collections.abc import Sequence
from functools import cached_property

from lockstep.environment.catalogue.launch.entryscript import console_scripts, entry_point, loaded_entry_point
from lockstep.environment.catalogue.packages.distributions import Installed
from lockstep.environment.catalogue.packages.filelists import FileLists, conda_file_lists, file_lists
from lockstep.environment.catalogue.packages.modules import Module
from lockstep.environment.catalogue.packages.ownership import Ownership
from lockstep.environment.catalogue.packages.record import MISSING, Row, row_hash
from lockstep.environment.tree import FileTree, UnreadableFileError

NOBODYS = frozenset({"benchmark", "benchmarks", "doc", "docs", "example", "examples", "test", "testing", "tests"})
"""What many packages leave among the installed modules by mistake, and many projects have: what serves imports none of them."""
_MODULES = (".py", ".so")


class Intact:
    """Determines which files of a distribution are not the ones that it brought.

    Args:
        tree: the root file system.
        distributions: the distributions in the order of the path.
        modules: what can be imported.
        owners: whose files are whose.
        prefix: the interpreter's (`sys.base_prefix`), which may be a conda environment.
        scripts: what interpreters are given to run on the way to the process that serves.
    """

    def __init__(
        self,
        tree: FileTree,
        distributions: Sequence[Installed],
        modules: Sequence[Module],
        owners: Ownership,
        *,
        prefix: str,
        scripts: Sequence[str],
    ) -> None:
        self._tree = tree
        self._distributions = distributions
        self._modules = modules
        self._owners = owners
        self._prefix = prefix
        self._commands = {distribution.folder: console_scripts(tree, distribution.folder) for distribution in distributions}
        self._started = {folder: tuple(files) for folder, files in self._find_replaced_commands(scripts).items()}

    def edited_files(self, distribution: Installed, differing: Sequence[Row]) -> tuple[str, ...]:
        """Return the names of a distribution's files that are other ones, sorted.

        Args:
            distribution: the distribution.
            differing: of the files that are not what its RECORD states, the rows that would be true.
        """
        named = [row.path for row in differing if not self._is_acceptable(distribution, row)]
        # Distributions take it out of what their own package manager installs, and nobody else does.
        if (
            not distribution.rows
            and distribution.folder.endswith(".dist-info")
            and not distribution.site.startswith("/usr/lib")
        ):
            named.append(f"{posixpath.basename(distribution.folder)}/RECORD")
        named += [
            row.path for row in distribution.rows if _is_command(row) and not self._is_command_acceptable(distribution, row)
        ]
        return tuple(sorted({*named, *self._started.get(distribution.folder, ())}))

    def _is_acceptable(self, distribution: Installed, row: Row) -> bool:
        path = _join_path(distribution.site, row.path)
        if row.hash == MISSING:
            return not row.path.endswith(_MODULES) or not self._is_replaced(distribution, row.path)
        # Where two distributions bring one file, the later one wins: that is an accident of texts and tests, not of modules.
        shared = not row.path.endswith(_MODULES) or row.path.partition("/")[0] in NOBODYS
        return (shared and row.hash in self._owners.hashes(path)) or self._matches_package_lists(path)

    def _matches_package_lists(self, path: str) -> bool:
        return any(path in lists and lists.holds(self._tree, path) for lists in (self._system_lists, self._conda_lists))

    @cached_property
    def _system_lists(self) -> FileLists:
        return file_lists(self._tree, self._prefix)

    @cached_property
    def _conda_lists(self) -> FileLists:
        return conda_file_lists(self._tree, self._prefix)

    def _is_replaced(self, distribution: Installed, path: str) -> bool:
        """Return whether something else would be imported by the name of a module that is missing."""
        name = _import_name(path)
        for other in {name, name.removesuffix("/__init__"), f"{name}/__init__"}:
            module = self._by_name.get(other)
            owner = self._owners.owner(module.file, module.entry) if module is not None else distribution
            if owner is None or owner.package.name != distribution.package.name:
                return True
        return False

    @cached_property
    def _by_name(self) -> dict[str, Module]:
        return {_import_name(module.path): module for module in self._modules}

    def _is_command_acceptable(self, distribution: Installed, row: Row) -> bool:
        path = _join_path(distribution.site, row.path)
        try:
            digest = self._tree.sha256(path)
        except UnreadableFileError:
            # A large binary in a directory of the system's, which is none that starts an interpreter.
            return True
        if digest is None or row_hash(digest) == row.hash.rstrip("="):
            return True
        return self._is_written_by_installers(distribution, path) or self._matches_package_lists(path)

    def _is_written_by_installers(self, distribution: Installed, path: str) -> bool:
        """Return whether a command's script is the one that an installer writes, whichever it was."""
        try:
            text = (self._tree.read(path) or b"").decode("utf-8", "replace")
        except UnreadableFileError:
            return False
        name = path.rpartition("/")[2]
        loaded = loaded_entry_point(text)
        declared = self._commands[distribution.folder].get(name)
        return declared is not None and (entry_point(text) == declared or (loaded is not None and loaded[1] == name))

    def _find_replaced_commands(self, scripts: Sequence[str]) -> dict[str, list[str]]:
        """Find scripts on the way that bear the name of a distribution's command and are not that command."""
        replaced: dict[str, list[str]] = {}
        for script in scripts:
            name = script.rpartition("/")[2]
            path = self._tree.resolve(script) or script
            for distribution in (
                distribution for distribution in self._distributions if name in self._commands[distribution.folder]
            ):
                listed = any(_join_path(distribution.site, row.path) == path for row in distribution.rows if _is_command(row))
                # What its RECORD lists is checked with the rest of it.
                if not listed and not self._is_written_by_installers(distribution, script):
                    replaced.setdefault(distribution.folder, []).append(script)
        return replaced


def _is_command(row: Row) -> bool:
    return bool(row.hash) and row.path.startswith("..") and posixpath.basename(posixpath.dirname(row.path)) == "bin"


def _join_path(site: str, path: str) -> str:
    return posixpath.normpath(f"{site}/{path}")


def _import_name(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"
