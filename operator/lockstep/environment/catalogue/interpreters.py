"""What any interpreter of an image would see, where a shell script that can't be followed starts one of them.

A decoy never wins: only an interpreter that can import no model framework is left out, and all others must agree.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.activation import activate_venv
from lockstep.environment.catalogue.launch.interpreter import Prefix, prefix, search_path
from lockstep.environment.catalogue.launch.launch import Launch, Started, UnclearScriptError
from lockstep.environment.catalogue.launch.path import Place
from lockstep.environment.catalogue.launch.programs import PYTHON, is_interpreter
from lockstep.environment.catalogue.launch.shellscript import NotUnderstoodError
from lockstep.environment.catalogue.servers.serving import Serving
from lockstep.environment.document import EnvironmentDocument, Start
from lockstep.environment.frameworks import FRAMEWORK_MODULES
from lockstep.environment.tree import FileKind, FileTree, UnreadableFileError

_MAX_ENTRIES = 1_000_000
_MAX_CANDIDATES = 32
# Whatever of this a script names may put packages, variables, users or other scripts between it and the interpreter.
_CHANGES_PACKAGES = re.compile(
    r"\bPYTHON(?!UNBUFFERED\b|DONTWRITEBYTECODE\b|HASHSEED\b|FAULTHANDLER\b|IOENCODING\b|WARNINGS\b)[A-Z]+\b"
    r"|\bPYTHON_|\b(?:pip[0-9.]*|pipx|uvx?|poetry|pipenv|pdm|easy_install|apt|apt-get|apk|dnf|yum|microdnf)\b"
    r"|\b(?:conda|mamba|micromamba)\s"
    r"|\b(?:curl|wget|git|tar|unzip|cp|mv|ln|rsync|base64|xxd|eval|source|mount|chroot)\b"
    r"|\b(?:gosu|su-exec|sudo|su|runuser|setpriv|HOME|LD_PRELOAD|BASH_ENV)\b"
    # Where a known server searches for the application, and code that is in no file.
    r"|--(?:app-dir|pythonpath|chdir|working-dir|env-file)\b|\b(?:UVICORN_APP_DIR|GUNICORN_CMD_ARGS|GRANIAN_WORKING_DIR|FLASK_APP)\b"
    r"|\bexec\s+(?:\S*/)?(?:python|pypy)[0-9.]*\s+-c?(?=\s|$)|\|\s*(?:\S*/)?(?:python|pypy)[0-9.]*|\b(?:python|pypy)[0-9.]*\s+-?\s*<"
    r"|(?:^|[\s;&|({])\.[ \t]|\.(?:sh|bash)\b|\benv\s+-|\b(?:python|pypy)[0-9.]*[\"']?\s+-[A-Za-z]*[IESsP]",
    re.MULTILINE,
)
_ACTIVATES = re.compile(r"(?:^|(?<=[\s;&]))(?:source|\.)[ \t]+[\"']?(/[\w./-]*)/bin/activate[\"']?(?=[\s;&]|$)", re.MULTILINE)
# Where servers that it may start search for the application.
_GOES_TO = re.compile(r"""\b(?:cd|pushd)[ \t]+(["']?)([\w./-]+)\1(?=[\s;&|)]|$)""")
_WORDS = re.compile(r"[A-Za-z][\w.+-]*")
_SHELL_SCRIPT = re.compile(rb"#![^\n]*sh\b")
_PATHS = re.compile(r"/[\w.+/-]+")

Describe = Callable[[Serving], EnvironmentDocument]


def agree_on_document(tree: FileTree, unclear: UnclearScriptError, describe: Describe) -> EnvironmentDocument:
    """Return the document on which all interpreters agree that could serve a model.

    Args:
        tree: the root file system.
        unclear: why it can't be determined which of them starts.
        describe: derives the document of one of them.

    Raises:
        CatalogueError: InterpreterAmbiguous when they differ, there is none, or the script may change what they see.
    """
    _check_text(tree, unclear)
    try:
        meant = [start for start in find_interpreters(tree, unclear.launch) if has_framework(tree, start)]
    except CatalogueError as error:
        raise _ambiguous_error(unclear, error.message) from error
    except UnreadableFileError as error:
        raise _ambiguous_error(unclear, str(error)) from error
    if not meant:
        raise _ambiguous_error(unclear, "no interpreter of the image can import a model framework")
    places = tuple(Place(unclear.launch.absolute(folder)) for _, folder in _GOES_TO.findall(unclear.text))
    documents = [describe(Serving(start, start, places)) for start in meant]
    facts = {document.model_copy(update={"collector": "", "start": None}).digest for document in documents}
    if len(facts) > 1:
        raise _ambiguous_error(unclear, f"these differ and each could be meant: {_describe_starts(meant)}")
    return documents[0].model_copy(update={"start": _merge_starts(documents)})


def _merge_starts(documents: Sequence[EnvironmentDocument]) -> Start | None:
    """Return the start of the first, with what is on the path of any of them."""
    starts = [document.start for document in documents if document.start is not None]
    every = tuple(dict.fromkeys(path for start in starts for path in start.path))
    return starts[0].model_copy(update={"path": every}) if starts else None


def _check_text(tree: FileTree, unclear: UnclearScriptError) -> None:
    text = re.sub(r"\A#![^\n]*", "", unclear.text)
    for place in set(_ACTIVATES.findall(text)):
        try:
            activate_venv(tree, unclear.launch, place)
        except NotUnderstoodError as error:
            raise _ambiguous_error(unclear, str(error)) from error
    text = _ACTIVATES.sub("", text)
    if changes := _CHANGES_PACKAGES.search(text):
        raise _ambiguous_error(unclear, f"it names {changes[0].strip()[:80]!r}, which may change what any interpreter sees")
    paths = set(_PATHS.findall(text))
    for path in paths:
        beside = (*tree.listdir(path), *tree.listdir(path.rpartition("/")[0] or "/"))
        if any(name.lower().endswith((".dist-info", ".egg-info")) for name in beside):
            raise _ambiguous_error(unclear, f"it names {path[:80]}, beside which packages are installed")
    folders = [folder for folder in unclear.launch.path.split(":") if folder.startswith("/")]
    named = {f"{folder.rstrip('/')}/{word}" for folder in folders for word in set(_WORDS.findall(text))}
    for path in sorted(paths | named):
        if _is_shell_script(tree, path):
            raise _ambiguous_error(unclear, f"it names {path[:80]}, which is another shell script")


def _is_shell_script(tree: FileTree, path: str) -> bool:
    try:
        return _SHELL_SCRIPT.match(tree.read(path) or b"") is not None
    except UnreadableFileError:
        # Programs that are too large to be kept are binaries, but for scripts of unusual size.
        return False


def _describe_starts(starts: Sequence[Started]) -> str:
    shown = [start.executable for start in starts[:5]]
    return ", ".join(shown) + (f" and {len(starts) - 5} more" if len(starts) > 5 else "")


def _ambiguous_error(unclear: UnclearScriptError, why: str) -> CatalogueError:
    return CatalogueError(Reason.INTERPRETER_AMBIGUOUS, f"{unclear.message}; {why}")


def find_interpreters(tree: FileTree, launch: Launch) -> list[Started]:
    """Find every interpreter that somebody may execute, one for each set of prefixes, started as `launch` would start it.

    Raises:
        CatalogueError: InterpreterAmbiguous where one of them can't be determined, or they are too many.
        UnreadableFileError: the body of one was not kept.
    """
    starts: dict[Prefix, Started] = {}
    for path in _find_programs(tree):
        if tree.executable(path) is False or not is_interpreter(tree, path):
            continue
        start = Started(path, _script_in_working_directory(launch), launch=launch)
        try:
            starts.setdefault(prefix(tree, start), start)
        except CatalogueError as error:
            # Without a standard library it can't start at all.
            if error.reason is not Reason.INTERPRETER_NOT_FOUND:
                raise
        if len(starts) > _MAX_CANDIDATES:
            raise _limit_error(f"{_MAX_CANDIDATES} interpreters")
    return list(starts.values())


def _limit_error(what: str) -> CatalogueError:
    return CatalogueError(Reason.INTERPRETER_AMBIGUOUS, f"the image has more than {what}")


def _script_in_working_directory(launch: Launch) -> str:
    return f"{launch.working_dir.rstrip('/')}/"


def _find_programs(tree: FileTree) -> Iterator[str]:
    """Yield the paths of all files and links that bear the name of an interpreter, each directory once."""
    folders, seen = [""], 0
    while folders:
        folder = folders.pop()
        for name in tree.listdir(folder or "/"):
            path = f"{folder}/{name}"
            kind = tree.kind(path)
            if kind is FileKind.DIRECTORY:
                folders.append(path)
            elif PYTHON.match(name) and kind in (FileKind.FILE, FileKind.SYMLINK):
                yield path
            seen += 1
            if seen > _MAX_ENTRIES:
                raise _limit_error(f"{_MAX_ENTRIES} entries")


def has_framework(tree: FileTree, start: Started) -> bool:
    """Return whether a framework's module or metadata stands on the interpreter's path."""
    for path in search_path(tree, prefix(tree, start), start):
        for name in tree.listdir(path):
            module = name.partition(".")[0]
            if module in FRAMEWORK_MODULES.values() or name.partition("-")[0].lower().replace("_", "-") in FRAMEWORK_MODULES:
                return True
        if tree.kind(tree.resolve(path) or path) is FileKind.FILE:
            return True
    return False
