"""Finds programs, and distinguishes binaries from scripts that bear their names."""

import re
from collections.abc import Iterable

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.launch import READABLE, Launch, ambiguous_error
from lockstep.environment.tree import FileKind, FileTree, UnreadableFileError

PYTHON = re.compile(r"^(python|pypy)[0-9.]*$")
"""Names of interpreters."""
_ELF = b"\x7fELF"
# What these hold is not in an image: /proc/self/root/opt is /opt all the same, and /proc/self/cwd wherever a process stands.
_KERNELS = ("/proc", "/sys", "/dev")


def check_places(paths: Iterable[str]) -> None:
    """Refuse paths (where they lead) below directories that the kernel fills once a container runs.

    Raises:
        CatalogueError: InterpreterAmbiguous.
    """
    for path in paths:
        if path.startswith(tuple(f"{folder}/" for folder in _KERNELS)) or path in _KERNELS:
            raise ambiguous_error(path, "what is there depends on the process that reads it", "name the directory itself")


def find(tree: FileTree, launch: Launch) -> str:
    """Return the path of the program that a launch starts, as execvp(3) finds it; symbolic links are not followed.

    Raises:
        CatalogueError: InterpreterNotFound when there is none, InterpreterAmbiguous when some may execute it only.
    """
    program = launch.argv[0]
    if "/" in program:
        path = launch.absolute(program)
        if tree.resolve(path) is None:
            raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, f"the image starts {program}, which it does not have")
        if not _is_executable(tree, path):
            raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, f"the image starts {program}, which nobody may execute")
        return path
    for folder in launch.path.split(":"):
        # An empty or relative folder is taken from the working directory (execvp(3)).
        at = launch.absolute(folder) if folder not in ("", ".") else launch.working_dir
        path = f"{at.rstrip('/')}/{program}"
        check_places([tree.destination(path)])
        resolved = tree.resolve(path)
        file = resolved is not None and tree.kind(resolved) is FileKind.FILE
        # What may not be executed is passed over (execvp(3)), so that a decoy earlier on the PATH is never started.
        if file and _is_executable(tree, path):
            return path
    raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, f"the image starts {program}, which is not on its PATH")


def _is_executable(tree: FileTree, path: str) -> bool:
    executable = tree.executable(path)
    if executable is None:
        raise ambiguous_error(path, "some users may execute it and others may not")
    return executable


def is_binary(tree: FileTree, program: str) -> bool:
    """Return whether a program is a binary (ELF) and no script.

    Raises:
        CatalogueError: InterpreterAmbiguous when not even its first bytes are known.
    """
    try:
        return (tree.head(program) or b"").startswith(_ELF)
    except UnreadableFileError as error:
        raise ambiguous_error(program, error.why, READABLE) from error


def is_interpreter(tree: FileTree, program: str) -> bool:
    """Return whether a program is an interpreter, not a program of another name and not a script that bears the name.

    Raises:
        CatalogueError: InterpreterAmbiguous when it bears the name and is neither.
        UnreadableFileError: its body was not kept.
    """
    resolved = tree.resolve(program) or program
    if not PYTHON.match(resolved.rpartition("/")[2]):
        return False
    head = tree.head(program) or b""
    if head.startswith(b"#!"):
        return False
    if not head.startswith(_ELF):
        raise ambiguous_error(program, "it bears the name of an interpreter and is none")
    return True
