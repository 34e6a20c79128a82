"""Which Python interpreter an image starts, told from its command line and files alone."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.tree import FileKind, FileTree, UnreadableFileError

_PYTHON = re.compile(r"^(python|pypy)[0-9.]*$")
_SHELLS = {"sh", "bash", "dash", "ash"}
# Programs that start what follows them on their command line.
_WRAPPERS = {"tini", "dumb-init", "tini-static", "docker-init", "nice", "exec"}
_WITH_VALUE = {"-p", "-e", "-n", "-r", "--rewrite", "--adjustment"}
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MAX_STEPS = 10


@dataclass(frozen=True)
class Launch:
    """How a container starts (OCI image-spec config.md)."""

    argv: tuple[str, ...]
    """Entrypoint followed by command."""
    env: Mapping[str, str]
    working_dir: str = "/"
    user: str = ""


@dataclass(frozen=True)
class Started:
    """The interpreter that a launch leads to."""

    executable: str
    """As it is called, symbolic links not followed: a virtual environment is found beside it."""
    script: str | None
    """The script that it runs, when it runs one; its directory comes first on the path."""
    options: frozenset[str] = field(default=frozenset())
    """Its one-letter options (`-I`, `-E`, ...), some of which take directories off the path."""


def started(tree: FileTree, launch: Launch) -> Started:
    """Follow wrappers, shebangs and the PATH to the interpreter.

    Raises:
        CatalogueError: InterpreterNotFound when nothing is started, InterpreterAmbiguous when it can't be told.
    """
    argv = list(launch.argv)
    for _ in range(_MAX_STEPS):
        if not argv:
            raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, "the image has no entrypoint and no command")
        program = _find(tree, argv[0], launch)
        name = program.rpartition("/")[2]
        resolved = tree.resolve(program) or program
        if _PYTHON.match(resolved.rpartition("/")[2]) and _is_binary(tree, program):
            script, options = _called(tree, argv[1:], launch)
            return Started(program, script, options)
        if name == "env":
            argv = _after_env(argv[1:], launch)
        elif name in _WRAPPERS:
            argv = _after_options(argv[1:])
        elif name in _SHELLS and len(argv) > 2 and argv[1] in ("-c", "-ec"):
            argv = _simple_command(argv[2], launch)
        else:
            argv = _through_shebang(tree, program, argv)
    raise _ambiguous(" ".join(launch.argv), "too many programs start one another")


def _ambiguous(what: str, why: str) -> CatalogueError:
    return CatalogueError(
        Reason.INTERPRETER_AMBIGUOUS,
        f"which Python {what[:200]!r} starts can't be told: {why}; let the image's entrypoint be the interpreter "
        "or a console script of the environment that serves",
    )


def _find(tree: FileTree, program: str, launch: Launch) -> str:
    if "/" in program:
        path = program if program.startswith("/") else f"{launch.working_dir.rstrip('/')}/{program}"
        if tree.resolve(path) is None:
            raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, f"the image starts {program}, which it does not have")
        if not _runs(tree, path):
            raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, f"the image starts {program}, which nobody may execute")
        return path
    for folder in launch.env.get("PATH", _DEFAULT_PATH).split(":"):
        path = f"{folder.rstrip('/')}/{program}"
        resolved = tree.resolve(path)
        file = folder.startswith("/") and resolved is not None and tree.kind(resolved) is FileKind.FILE
        # What may not be executed is passed over (execvp(3)), so that a decoy earlier on the PATH is never started.
        if file and _runs(tree, path):
            return path
    raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, f"the image starts {program}, which is not on its PATH")


def _runs(tree: FileTree, path: str) -> bool:
    executable = tree.executable(path)
    if executable is None:
        raise _ambiguous(path, "some users may execute it and others may not")
    return executable


def _is_binary(tree: FileTree, program: str) -> bool:
    """Tell an interpreter from a script that bears its name, which may start another one."""
    body = tree.read(program) or b""
    if body.startswith(b"#!"):
        return False
    if not body.startswith(b"\x7fELF"):
        raise _ambiguous(program, "it bears the name of an interpreter and is none")
    return True


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
    path = argument if argument.startswith("/") else f"{launch.working_dir.rstrip('/')}/{argument}"
    path = tree.resolve(path) or path
    if path.endswith((".pyz", ".zip", ".pex", ".shiv", ".egg")):
        raise _ambiguous(path, "it is an archive, and what it brings is not read")
    return f"{path.rstrip('/')}/__main__.py" if tree.kind(path) is FileKind.DIRECTORY else path


def _after_options(arguments: Sequence[str]) -> list[str]:
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        if option in _WITH_VALUE:
            rest = rest[1:]
    return rest


def _after_env(arguments: Sequence[str], launch: Launch) -> list[str]:
    rest = list(arguments)
    if rest and rest[0].startswith("-"):
        # A shebang line gives all that follows env as one argument: `-S python -u`.
        text = rest.pop(0).removeprefix("-S") or (rest.pop(0) if rest else "")
        if arguments[0][:2] != "-S" or re.search(r"[\\$]", text):
            raise _ambiguous("env " + " ".join(arguments), "env changes the environment")
        try:
            rest = [*shlex.split(text), *rest]
        except ValueError as error:
            raise _ambiguous("env " + " ".join(arguments), str(error)) from error
    if rest and "=" in rest[0]:
        raise _ambiguous("env " + " ".join(rest), "env sets variables")
    return rest


def _simple_command(text: str, launch: Launch) -> list[str]:
    """Split the text of `sh -c` when it is one plain command; anything else could start anything."""
    if launch.env.get("BASH_ENV"):
        raise _ambiguous(text, "BASH_ENV lets the shell run another script first")
    if re.search(r"[;&|<>`$(){}*?\[~\n]", text):
        raise _ambiguous(text, "it is a shell script")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _ambiguous(text, str(error)) from error
    return words[1:] if words[:1] == ["exec"] else words


def _through_shebang(tree: FileTree, program: str, argv: Sequence[str]) -> list[str]:
    try:
        body = tree.read(program)
    except UnreadableFileError as error:
        raise _ambiguous(program, error.why) from error
    if body is None or not body.startswith(b"#!"):
        raise _ambiguous(program, "it is neither Python nor a script")
    first, _, rest = body.decode("utf-8", "replace").partition("\n")
    interpreter = first[2:].strip().split(None, 1)
    if not interpreter:
        raise _ambiguous(program, "its first line names no interpreter")
    if interpreter[0].rpartition("/")[2] not in _SHELLS:
        return [*interpreter, program, *argv[1:]]
    # The form that installers write when the interpreter's path is too long for a shebang line.
    if long_path := re.match(r"""^'''exec' "?([^"\s]+)"? "\$0" "\$@"$""", rest.partition("\n")[0]):
        return [long_path[1], program, *argv[1:]]
    commands = [line.strip() for line in rest.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if commands and commands[-1] == 'exec "$@"' and all(re.match(r"^set -[a-z]+$", c) for c in commands[:-1]):
        return list(argv[1:])
    raise _ambiguous(program, "it is a shell script")
