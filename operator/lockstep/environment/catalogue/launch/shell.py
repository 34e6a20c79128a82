"""Follows shells: the text of `sh -c`, and entrypoint scripts that only set literals, activate and start a command."""

import re
from collections.abc import Sequence
from dataclasses import replace

from lockstep.environment.catalogue.launch import activation
from lockstep.environment.catalogue.launch.launch import READABLE, Launch, UnclearScriptError, ambiguous_error
from lockstep.environment.catalogue.launch.shellscript import ARGUMENTS, Command, NotUnderstoodError, Word, commands
from lockstep.environment.catalogue.launch.vendors import follow_vendor
from lockstep.environment.tree import FileKind, FileTree, UnreadableFileError

SHELLS = frozenset({"sh", "bash", "dash", "ash"})
_OPTIONS = re.compile(r"-[eux]+|-[eux]*o (?:pipefail|errexit|nounset|xtrace)")
_SET = re.compile(r"[-+][eux]+|(?:[-+][eux]*o (?:pipefail|errexit|nounset|xtrace))")
_TEXT = re.compile(r"-[eux]*c[eux]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_ACTIVATE = re.compile(r"/[\w./-]+/bin/activate")
# Variables by which a shell runs something else first, or reads words differently.
CHANGE_SHELLS = frozenset({"BASH_ENV", "SHELLOPTS", "BASHOPTS", "PS4", "IFS", "POSIXLY_CORRECT", "GLOBIGNORE"})
"""A launch of a shell that has one of them is refused, and so is one with a function of bash's (`BASH_FUNC_...`)."""
# What a script may expand beside its own variables; nothing else of the image's is literal, since pods may set it.
_EXPANDED = frozenset({"PATH", "PYTHONPATH", "LD_LIBRARY_PATH"})
_HARMLESS = frozenset({"echo", "umask", "ulimit", ":", "true"})
# The form that installers write when the interpreter's path is too long for a shebang line.
_LONG_PATH = re.compile(r"""^'''exec' "?([^"\s]+)"? "\$0" "\$@"$""")
_NO_PROGRAMS = _HARMLESS | {
    *("export", "set", "cd", ".", "source", "exec", "eval", "command", "builtin", "trap", "alias", "unset", "readonly"),
    *("declare", "typeset", "local", "shift", "wait", "test", "[", "read", "return", "exit"),
}


def follow_shell(tree: FileTree, launch: Launch) -> Launch:
    """Return what a shell starts.

    Args:
        tree: the root file system.
        launch: a shell with its arguments.

    Raises:
        UnclearScriptError: the script does more than is followed.
        CatalogueError: InterpreterAmbiguous for anything else that can't be determined.
    """
    what = " ".join(launch.argv)
    launch = _read_start_up_file(tree, launch)
    check_variables(launch)
    rest = list(launch.argv[1:])
    while taken := next((n for n in (2, 1) if rest[:n] and _OPTIONS.fullmatch(" ".join(rest[:n]))), 0):
        rest = rest[taken:]
    if rest and _TEXT.fullmatch(rest[0]) and len(rest) > 1:
        return _run(tree, launch, what, rest[1], rest[3:])
    if rest and re.fullmatch(r"-[a-z]*l[a-z]*|--login", rest[0]):
        raise ambiguous_error(what, "a login shell reads profiles that set the PATH", "start the shell without -l")
    if not rest or rest[0].startswith(("-", "+")):
        raise ambiguous_error(what, "the shell is started with options that are not followed")
    if "/" not in rest[0] and tree.kind(launch.absolute(rest[0])) is None:
        raise ambiguous_error(what, "a shell searches for that script in more than one place")
    path = launch.absolute(rest[0])
    text = _read(tree, path)
    if long_path := _LONG_PATH.match(text.partition("\n")[2].partition("\n")[0]):
        return launch.with_command(long_path[1], path, *rest[1:])
    if "/shims/" in path and "pyenv" in text:
        advice = "put /root/.pyenv/versions/VERSION/bin (where it is in the image) first on the PATH"
        raise ambiguous_error(path, "it is a shim of pyenv, which chooses a version when it runs", advice)
    try:
        vendor = follow_vendor(tree, launch, path, text, rest[1:])
    except NotUnderstoodError as error:
        raise UnclearScriptError(path, str(error), "\n".join((text, *rest[1:])), launch) from error
    return vendor or _run(tree, launch, path, text, rest[1:])


def _read_start_up_file(tree: FileTree, launch: Launch) -> Launch:
    """Return what goes on when bash has read the activation script that BASH_ENV names, as Red Hat's images have it.

    Nothing but bash by that name reads the file (Bash Reference Manual, "Bash Startup Files"); every other one is refused.
    """
    path = launch.env.get("BASH_ENV", "")
    if launch.argv[0].rpartition("/")[2] != "bash" or not _ACTIVATE.fullmatch(path):
        return launch
    try:
        activated = activation.activate_venv(tree, launch, path.removesuffix("/bin/activate"))
    except NotUnderstoodError as error:
        raise ambiguous_error(" ".join(launch.argv), f"bash reads the file that BASH_ENV names: {error}") from error
    # It is of no further consequence: that script unsets it, or a second reading changes nothing.
    return replace(activated, env={name: value for name, value in activated.env.items() if name != "BASH_ENV"})


def check_variables(launch: Launch) -> None:
    """Refuse variables by which a shell runs something else first, or reads words differently.

    Raises:
        CatalogueError: InterpreterAmbiguous.
    """
    if odd := sorted(name for name in launch.env if name in CHANGE_SHELLS or name.startswith("BASH_FUNC_")):
        raise ambiguous_error(" ".join(launch.argv), f"{odd[0]} changes what a shell does")


def _read(tree: FileTree, path: str) -> str:
    try:
        body = tree.read(path)
    except UnreadableFileError as error:
        raise ambiguous_error(path, error.why, READABLE) from error
    if body is None or b"\0" in body:
        raise ambiguous_error(path, "it is no shell script")
    return body.decode("utf-8", "replace")


def _run(tree: FileTree, launch: Launch, what: str, text: str, arguments: Sequence[str]) -> Launch:
    try:
        return _Shell(tree, launch, arguments).run(commands(text))
    except NotUnderstoodError as error:
        raise UnclearScriptError(what, str(error), "\n".join((text, *arguments)), launch) from error


class _Shell:
    """A shell's state while it goes through simple commands."""

    def __init__(self, tree: FileTree, launch: Launch, arguments: Sequence[str]) -> None:
        self._tree = tree
        self._launch = launch
        self._arguments = tuple(arguments)
        self._own: dict[str, str] = {}
        """Variables that the script set, exported or not."""
        self._conda: str | None = None
        """Root of the conda whose functions were sourced."""

    def run(self, script: Sequence[Command]) -> Launch:
        """Return what the last command starts."""
        if not script:
            raise NotUnderstoodError("it is a shell script that starts nothing")
        for command in script[:-1]:
            self._run_command(command)
        return self._start_last(script[-1])

    def _run_command(self, command: Command) -> None:
        if all(_ASSIGNMENT.fullmatch(word.raw) for word in command):
            for word in command:
                self._assign(word, export=False)
            return
        name, rest = command[0].literal, command[1:]
        match name:
            case "export":
                for word in rest:
                    self._export(word)
            case "set" if _SET.fullmatch(" ".join(_literals(rest))):
                pass
            case "cd" if len(rest) == 1:
                self._cd(_literals(rest)[0])
            case "." | "source":
                self._source(_literals(rest))
            case "conda" if self._conda is not None and rest and rest[0].literal == "activate" and len(rest) <= 2:
                environment = (*_literals(rest[1:]), "base")[0]
                self._note_activation(activation.activate_conda(self._tree, self._launch, self._conda, environment))
            case _ if name in _HARMLESS:
                pass
            case _:
                raise NotUnderstoodError(f"it is a shell script that runs {str(name)[:80]!r} first")

    def _start_last(self, command: Command) -> Launch:
        words = list(command)
        if words[0].raw == "exec":
            words = words[1:]
        else:
            while words and _ASSIGNMENT.fullmatch(words[0].raw):
                word = words.pop(0)
                if word.raw.startswith("PATH="):
                    raise NotUnderstoodError("it is a shell script that sets the PATH of one command")
                self._assign(word, export=True)
        argv: list[str] = []
        for word in words:
            argv += self._arguments if word.raw == ARGUMENTS else [word.expand(self._literal)]
        if not argv or words[0].literal in _NO_PROGRAMS:
            raise NotUnderstoodError("it is a shell script that ends without starting a program")
        if argv[0].startswith("-") or "=" in argv[0] or (argv[0] == "conda" and self._conda is not None):
            raise NotUnderstoodError(f"it is a shell script that ends with {' '.join(argv)[:80]!r}")
        return self._launch.with_command(*argv)

    def _literal(self, name: str) -> str:
        if name in self._own:
            return self._own[name]
        raise NotUnderstoodError(f"it is a shell script whose command depends on ${name}")

    def _value(self, name: str) -> str:
        if name in self._own:
            return self._own[name]
        if name not in _EXPANDED:
            raise NotUnderstoodError(f"it is a shell script that depends on ${name}")
        return self._launch.path if name == "PATH" else self._launch.env.get(name, "")

    def _assign(self, word: Word, *, export: bool) -> None:
        found = _ASSIGNMENT.fullmatch(word.raw)
        if found is None:
            raise NotUnderstoodError(f"it is a shell script with {word.raw[:80]!r}")
        name, value = found[1], Word(found[2]).expand(self._value)
        if name in CHANGE_SHELLS or name.startswith("BASH_"):
            raise NotUnderstoodError(f"it is a shell script that sets {name}")
        # A variable that the shell did not inherit stays its own until it is exported.
        if export or name in self._launch.env or name == "PATH":
            self._launch = self._launch.with_variables({name: value})
        self._own[name] = value

    def _export(self, word: Word) -> None:
        if "=" in word.raw:
            self._assign(word, export=True)
        elif word.raw in self._own:
            self._launch = self._launch.with_variables({word.raw: self._own[word.raw]})
        elif word.raw not in self._launch.env:
            raise NotUnderstoodError(f"it is a shell script that exports {word.raw[:80]!r}, which it did not set")

    def _cd(self, folder: str) -> None:
        resolved = self._tree.resolve(folder)
        if not folder.startswith("/") or resolved is None or self._tree.kind(resolved) is not FileKind.DIRECTORY:
            raise NotUnderstoodError(f"it is a shell script that goes to {folder[:80]!r}, which is no absolute directory there")
        self._launch = replace(self._launch, working_dir=folder)

    def _source(self, words: Sequence[str]) -> None:
        path = self._launch.absolute(words[0]) if words and "/" in words[0] else ""
        if path.endswith("/etc/profile.d/conda.sh") and len(words) == 1:
            self._conda = path.removesuffix("/etc/profile.d/conda.sh")
            activation.check_conda_functions(self._tree, self._conda)
        elif path.endswith("/bin/activate") and len(words) == 1:
            self._note_activation(activation.activate_venv(self._tree, self._launch, path.removesuffix("/bin/activate")))
        else:
            raise NotUnderstoodError(f"it is a shell script that reads {' '.join(words)[:80]!r}")

    def _note_activation(self, launch: Launch) -> None:
        self._launch = launch
        # What an activation sets is no longer what the script set before.
        self._own.clear()


def _literals(words: Sequence[Word]) -> list[str]:
    literals = [word.literal for word in words]
    if None in literals:
        raise NotUnderstoodError("it is a shell script with arguments that depend on variables")
    return [literal for literal in literals if literal is not None]
