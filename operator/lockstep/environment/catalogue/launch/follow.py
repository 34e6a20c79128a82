"""Which Python interpreter an image starts, determined from its command line and files alone."""

from dataclasses import replace

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch import shell, wrappers
from lockstep.environment.catalogue.launch.activation import follow_conda_run
from lockstep.environment.catalogue.launch.launch import ADVICE, READABLE, Launch, Started, ambiguous_error
from lockstep.environment.catalogue.launch.programs import find, is_binary, is_interpreter
from lockstep.environment.tree import FileKind, FileTree, UnreadableFileError

_MAX_STEPS = 16
_CONDAS = frozenset({"conda", "mamba", "micromamba"})
_ARCHIVES = (".pyz", ".zip", ".pex", ".shiv", ".egg")
# Cloud Native Buildpacks ("Platform Interface Specification", launcher).
_BUILDPACKS_LAUNCHER = "/cnb/lifecycle/launcher"
_LAUNCHER_SETS = "it is made by buildpacks, whose launcher chooses the process and sets its variables when it starts"
_LAUNCHER_ADVICE = (
    "build an image FROM this one whose ENTRYPOINT is the interpreter or console script below /layers, with ENV for the "
    "variables that `docker run --rm --entrypoint launcher IMAGE env` prints"
)
# A zip archive ends with this record and at most 64 KiB of comment (APPNOTE 4.3.16).
_END_OF_ZIP, _END_OF_ZIP_WITHIN = b"PK\x05\x06", 22 + 65535


def follow_launch(tree: FileTree, launch: Launch) -> Started:
    """Follow wrappers, shells, shebangs and the PATH to the interpreter.

    Raises:
        CatalogueError: InterpreterNotFound when nothing is started, InterpreterAmbiguous when it can't be determined.
        UnclearScriptError: it can't be determined because of a shell script whose text is known.
    """
    now = launch
    for _ in range(_MAX_STEPS):
        if not now.argv:
            raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, "the image has no entrypoint and no command")
        program = find(tree, now)
        if is_interpreter(tree, program):
            return read_arguments(tree, program, now)
        now = _follow_step(tree, program, now)
    raise ambiguous_error(" ".join(launch.argv), "too many programs start one another")


def _follow_step(tree: FileTree, program: str, launch: Launch) -> Launch:
    name = program.rpartition("/")[2]
    if tree.resolve(program) == _BUILDPACKS_LAUNCHER:
        raise ambiguous_error(" ".join(launch.argv), _LAUNCHER_SETS, _LAUNCHER_ADVICE)
    if name in _CONDAS:
        return follow_conda_run(tree, launch, program)
    if name in wrappers.UNDETERMINED:
        why, _, advice = wrappers.UNDETERMINED[name].partition(": ")
        raise ambiguous_error(" ".join(launch.argv), why, advice)
    if program in wrappers.CATCHSEGV:
        return launch.with_command(*launch.argv[1:])
    if not is_binary(tree, program):
        return _follow_shebang(tree, program, launch)
    if name == "env":
        return wrappers.follow_env(launch)
    if name in wrappers.WRAPPERS:
        return wrappers.unwrap(launch, wrappers.WRAPPERS[name])
    if name in wrappers.USER_CHANGERS:
        return wrappers.follow_user_change(launch)
    if name in shell.SHELLS:
        return shell.follow_shell(tree, launch)
    raise ambiguous_error(program, "it is neither Python nor a script")


def _follow_shebang(tree: FileTree, program: str, launch: Launch) -> Launch:
    try:
        body = tree.read(program)
    except UnreadableFileError as error:
        raise ambiguous_error(program, error.why, READABLE) from error
    if body is None or not body.startswith(b"#!"):
        raise ambiguous_error(program, "it is neither Python nor a script")
    interpreter = body[2:].partition(b"\n")[0].decode("utf-8", "replace").strip().split(None, 1)
    if not interpreter:
        raise ambiguous_error(program, "its first line names no interpreter")
    return launch.with_command(*interpreter, program, *launch.argv[1:])


def read_arguments(tree: FileTree, executable: str, launch: Launch) -> Started:
    """Read the interpreter's own command line (CPython's `Python/getopt.c`).

    Args:
        tree: the root file system.
        executable: the interpreter as it is called, symbolic links not followed.
        launch: its command line, variables and working directory.

    Raises:
        CatalogueError: InterpreterAmbiguous, where it is given what is not read.
    """
    options: set[str] = set()
    rest = list(launch.argv[1:])
    start = Started(executable, None, launch=launch)
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        flag = rest.pop(0)
        if flag == "--check-hash-based-pycs":
            rest = rest[1:]
        if flag.startswith("--"):
            continue
        for at, letter in enumerate(flag[1:], start=2):
            if letter in "cmWX":
                # The value is what is left of the flag, else the next argument.
                value, rest = (flag[at:], rest) if flag[at:] else ("".join(rest[:1]), rest[1:])
                if letter in "cm":
                    here = f"{launch.working_dir.rstrip('/')}/"
                    start = replace(start, script=here, options=frozenset(options), arguments=tuple(rest))
                    return replace(start, code=value) if letter == "c" else replace(start, program=value or None, module=True)
                if value.startswith("pycache_prefix="):
                    start = replace(start, pycache_prefix=value.partition("=")[2])
                break
            options.add(letter)
    start = replace(start, options=frozenset(options), arguments=tuple(rest[1:]))
    if rest[:1] == ["-"]:
        return replace(start, code="-")
    if not rest:
        return start
    return replace(start, script=_resolve_script(tree, rest[0], launch), program=launch.absolute(rest[0]))


def _resolve_script(tree: FileTree, argument: str, launch: Launch) -> str:
    path = launch.absolute(argument)
    path = tree.resolve(path) or path
    if tree.kind(path) is FileKind.DIRECTORY:
        return f"{path.rstrip('/')}/__main__.py"
    if path.endswith(_ARCHIVES) or _is_archive(tree, path):
        raise ambiguous_error(path, "it is an archive, and what it brings is not read", f"install what it holds, and {ADVICE}")
    return path


def _is_archive(tree: FileTree, path: str) -> bool:
    """Return whether a script is a zip archive, which Python executes whatever its name and its first lines say."""
    try:
        body = tree.read(path) or b""
    except UnreadableFileError as error:
        if path.endswith(".py"):
            return False
        raise ambiguous_error(path, error.why) from error
    return _END_OF_ZIP in body[-_END_OF_ZIP_WITHIN:]
