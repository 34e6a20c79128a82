"""Which Python interpreter an image starts, told from its command line and files alone."""

from collections.abc import Sequence

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue import shell, wrappers
from lockstep.environment.catalogue.activation import after_conda_run
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch import ADVICE, READABLE, Launch, Started, ambiguous
from lockstep.environment.catalogue.programs import find, is_binary, is_interpreter
from lockstep.environment.tree import FileKind, FileTree, UnreadableFileError

_MAX_STEPS = 16
_CONDAS = frozenset({"conda", "mamba", "micromamba"})
_ARCHIVES = (".pyz", ".zip", ".pex", ".shiv", ".egg")
# A zip archive ends with this record and at most 64 KiB of comment (APPNOTE 4.3.16).
_END_OF_ZIP, _END_OF_ZIP_WITHIN = b"PK\x05\x06", 22 + 65535


def started(tree: FileTree, launch: Launch) -> Started:
    """Follow wrappers, shells, shebangs and the PATH to the interpreter.

    Raises:
        CatalogueError: InterpreterNotFound when nothing is started, InterpreterAmbiguous when it can't be told.
        UnclearScriptError: it can't be told because of a shell script whose text is known.
    """
    now = launch
    for _ in range(_MAX_STEPS):
        if not now.argv:
            raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, "the image has no entrypoint and no command")
        program = find(tree, now)
        if is_interpreter(tree, program):
            script, options = _called(tree, now.argv[1:], now)
            return Started(program, script, options, now)
        now = _next(tree, program, now)
    raise ambiguous(" ".join(launch.argv), "too many programs start one another")


def _next(tree: FileTree, program: str, launch: Launch) -> Launch:
    name = program.rpartition("/")[2]
    if name in _CONDAS:
        return after_conda_run(tree, launch, program)
    if name in wrappers.UNTOLD:
        why, _, advice = wrappers.UNTOLD[name].partition(": ")
        raise ambiguous(" ".join(launch.argv), why, advice)
    if program in wrappers.CATCHSEGV:
        return launch.runs(*launch.argv[1:])
    if not is_binary(tree, program):
        return _through_shebang(tree, program, launch)
    if name == "env":
        return wrappers.after_env(launch)
    if name in wrappers.WRAPPERS:
        return wrappers.unwrapped(launch, wrappers.WRAPPERS[name])
    if name in wrappers.USER_CHANGERS:
        return wrappers.as_user(launch)
    if name in shell.SHELLS:
        return shell.followed(tree, launch)
    raise ambiguous(program, "it is neither Python nor a script")


def _through_shebang(tree: FileTree, program: str, launch: Launch) -> Launch:
    try:
        body = tree.read(program)
    except UnreadableFileError as error:
        raise ambiguous(program, error.why, READABLE) from error
    if body is None or not body.startswith(b"#!"):
        raise ambiguous(program, "it is neither Python nor a script")
    interpreter = body[2:].partition(b"\n")[0].decode("utf-8", "replace").strip().split(None, 1)
    if not interpreter:
        raise ambiguous(program, "its first line names no interpreter")
    return launch.runs(*interpreter, program, *launch.argv[1:])


def _called(tree: FileTree, arguments: Sequence[str], launch: Launch) -> tuple[str | None, frozenset[str]]:
    """Read the interpreter's own command line (CPython's `Python/getopt.c`): its script and its options."""
    options: set[str] = set()
    rest = list(arguments)
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        flag = rest.pop(0)
        if flag == "--check-hash-based-pycs":
            rest = rest[1:]
        if flag.startswith("--"):
            continue
        for at, letter in enumerate(flag[1:], start=2):
            if letter in "cm":
                return f"{launch.working_dir.rstrip('/')}/", frozenset(options)
            if letter in "WX":
                # The value is what is left of the flag, else the next argument.
                rest = rest if flag[at:] else rest[1:]
                break
            options.add(letter)
    return (_script(tree, rest[0], launch) if rest and rest[0] != "-" else None), frozenset(options)


def _script(tree: FileTree, argument: str, launch: Launch) -> str:
    path = launch.absolute(argument)
    path = tree.resolve(path) or path
    if tree.kind(path) is FileKind.DIRECTORY:
        return f"{path.rstrip('/')}/__main__.py"
    if path.endswith(_ARCHIVES) or _is_archive(tree, path):
        raise ambiguous(path, "it is an archive, and what it brings is not read", f"install what it holds, and {ADVICE}")
    return path


def _is_archive(tree: FileTree, path: str) -> bool:
    """Tell whether a script is a zip archive, which Python executes whatever its name and its first lines say."""
    try:
        body = tree.read(path) or b""
    except UnreadableFileError as error:
        if path.endswith(".py"):
            return False
        raise ambiguous(path, error.why) from error
    return _END_OF_ZIP in body[-_END_OF_ZIP_WITHIN:]
