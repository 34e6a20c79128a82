"""The environments of processes that were seen, each derived as the scan derives the one that an image starts."""

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.follow import read_arguments
from lockstep.environment.catalogue.launch.interpreter import prefix
from lockstep.environment.catalogue.launch.launch import Launch, Started
from lockstep.environment.catalogue.launch.programs import find, is_interpreter
from lockstep.environment.catalogue.servers.serving import Serving, effect_of, serving, serving_itself
from lockstep.environment.catalogue.servers.table import SERVERS
from lockstep.environment.document import EnvironmentDocument
from lockstep.environment.observation import ObservedEnvironment
from lockstep.environment.tree import FileKind, FileTree, UnreadableFileError
from lockstep.environment.variables.known import KNOWN
from lockstep.environment.variables.variables import FOLLOWED, runs_code
from lockstep.observer.report import Process, Report

_SAFE = frozenset({"PYTHONSAFEPATH", "PYTHONNOUSERSITE", "PYTHONPYCACHEPREFIX"})
REPORTED: tuple[str, ...] = tuple(
    sorted(
        FOLLOWED
        | _SAFE
        | frozenset(name for server in SERVERS for name in server.variables)
        | frozenset(name for entry in KNOWN if entry.in_images for name in entry.names)
    )
)
"""The variables, by name or pattern, whose values are needed: they choose what is imported, or run code."""

_PACKAGE = r"(?:multiprocessing|multiprocess|billiard|loky\.backend|joblib\.externals\.loky\.backend)"
_WORDS = r"[\w\s.,:=/*'\"\[\]{}()-]*"
# What the multiprocessing module, and copies of it, start: they are given their parent's path (multiprocessing/spawn.py).
_CHILDREN = re.compile(
    rf"from {_PACKAGE}\.(?:spawn|forkserver|popen_spawn_posix|resource_tracker|semaphore_tracker) import (?:spawn_main|main); ?"
    rf"(?:spawn_main|main)\({_WORDS}\)"
)
_CHILD_MODULES = re.compile(rf"{_PACKAGE}\.popen_\w+")
_OVERWRITTEN = "it has overwritten its command line"
_OVERWRITTEN_ADVICE = "start the image without the package setproctitle"
_ELSEWHERE = "it has changed its working directory, and what its command line means depends on the one before"
_ELSEWHERE_ADVICE = "set WORKDIR in the Dockerfile instead, and name programs by absolute paths"
_VARIABLES = "it has overwritten its variables"
_VARIABLES_ADVICE = "set SPT_NOENV=1 in the image, so that setproctitle leaves them alone"

Describe = Callable[[Serving], EnvironmentDocument]


def find_environments(tree: FileTree, launch: Launch, report: Report, describe: Describe) -> tuple[ObservedEnvironment, ...]:
    """Return the environments in which the processes of a report answer, each that differs from the others.

    Args:
        tree: the image's files.
        launch: how the image was started, with the variables that it was given.
        report: what the observer saw.
        describe: derives the document of one process.
    """
    processes = _Processes(tree, launch, report)
    found: dict[str, ObservedEnvironment] = {}
    described: dict[Hashable, ObservedEnvironment] = {}
    for process in report.processes:
        if not process.serves:
            continue
        # Workers that were started alike are described once.
        alike = processes.start_of(process)
        if alike not in described:
            described[alike] = _describe(processes, process, describe)
        one = replace(described[alike], pids=(process.pid,))
        document = one.document
        facts = _facts(document) if document is not None else one.fault
        before = found.get(facts)
        found[facts] = replace(before, pids=(*before.pids, process.pid)) if before is not None else one
    return tuple(found.values())


def _facts(document: EnvironmentDocument) -> str:
    """Return by what two processes run in one environment: all that is known of it, and where it is."""
    path = document.start.path if document.start is not None else ()
    return f"{document.model_copy(update={'collector': '', 'start': None}).digest} {':'.join(path)}"


def _describe(processes: "_Processes", process: Process, describe: Describe) -> ObservedEnvironment:
    executable = process.executable
    try:
        serves = processes.serving(process)
        executable = serves.start.executable
        return ObservedEnvironment((process.pid,), executable, describe(serves))
    except CatalogueError as error:
        return ObservedEnvironment((process.pid,), executable, fault=error.message)
    except UnreadableFileError as error:
        return ObservedEnvironment((process.pid,), executable, fault=str(error))


class _Processes:
    """The processes of one report, and what each of them serves.

    Args:
        tree: the image's files.
        launch: how the image was started.
        report: what the observer saw.
    """

    def __init__(self, tree: FileTree, launch: Launch, report: Report) -> None:
        self._tree = tree
        self._launch = launch
        self._report = report
        self._by_pid = {process.pid: process for process in report.processes}

    def start_of(self, process: Process) -> Hashable:
        """Return all that a process's environment follows from; a child's follows from its parent's."""
        variables = tuple(sorted(process.variables.items()))
        if _is_child(process.argv):
            return process.executable, variables, process.parent
        return process.executable, variables, process.argv, process.working_directory

    def serving(self, process: Process) -> Serving:
        """Return what a process serves.

        Raises:
            CatalogueError, UnreadableFileError: it can't be determined.
        """
        if self._tree.resolve(process.executable) != process.executable:
            raise self._error(process, "its interpreter is no file of the image", "install everything when the image is built")
        if not is_interpreter(self._tree, process.executable):
            raise self._error(process, f"its Python is part of {process.executable}", "let an interpreter serve")
        if "PATH" not in process.variables:
            raise self._error(process, _VARIABLES, _VARIABLES_ADVICE)
        self._check_variables(process)
        if _is_child(process.argv):
            return self._serving_of_child(process)
        return self._serving_by_command_line(process)

    def _serving_of_child(self, process: Process) -> Serving:
        parent = self._by_pid.get(process.parent)
        if parent is None:
            raise self._error(process, "what started it runs no Python, or runs no longer", "let it serve itself")
        serves = self.serving(parent)
        if self._tree.resolve(serves.start.executable) != process.executable:
            raise self._error(process, f"its parent runs {serves.start.executable}", "let one interpreter run both")
        return serves

    def _serving_by_command_line(self, process: Process) -> Serving:
        launch = Launch(process.argv, dict(process.variables), process.working_directory, self._launch.user)
        executable = self._called(process, launch)
        if executable is None:
            return self._serving_as_configured(process, self._error(process, _OVERWRITTEN, _OVERWRITTEN_ADVICE))
        start = read_arguments(self._tree, executable, launch)
        server, effect = effect_of(self._tree, start)
        if effect.goes_to is not None or not self._is_there(start):
            refusal = self._error(process, _ELSEWHERE, _ELSEWHERE_ADVICE)
            serves = self._serving_as_configured(process, refusal)
            # Two virtual environments may share one interpreter's file.
            if prefix(self._tree, start) != prefix(self._tree, serves.start):
                raise refusal
            return serves
        return serving_itself(start, server, effect)

    def _is_there(self, start: Started) -> bool:
        """Return whether its program is a file of the image, where it is a file."""
        if start.program is None or start.module:
            return True
        return start.script is not None and self._tree.kind(start.script) is FileKind.FILE

    def _called(self, process: Process, launch: Launch) -> str | None:
        """Return the interpreter as it was called, which CPython finds by the same rules; None for any other name."""
        if not launch.argv or not launch.argv[0]:
            return None
        try:
            executable = find(self._tree, launch)
        except CatalogueError:
            return None
        return executable if self._tree.resolve(executable) == process.executable else None

    def _serving_as_configured(self, process: Process, refusal: CatalogueError) -> Serving:
        """Return what the image's configuration starts, where the process is its interpreter; anything else is refused."""
        try:
            serves = serving(self._tree, self._launch)
        except CatalogueError as error:
            raise refusal from error
        if self._tree.resolve(serves.start.executable) != process.executable:
            raise refusal
        return serves

    def _check_variables(self, process: Process) -> None:
        """Refuse variables that a script has set and that run code; the image's own are judged by the gate."""
        for name, value in process.variables.items():
            server = next((one.name for one in SERVERS if name in one.variables), None)
            if self._launch.env.get(name) != value and (does := runs_code(name, value, server)) is not None:
                raise self._error(process, f"{name}, which a script has set, {does}", f"start the server without {name}")

    def _error(self, process: Process, why: str, advice: str) -> CatalogueError:
        message = f"which environment pid {process.pid} runs in could not be determined: {why}; {advice}"
        return CatalogueError(Reason.INTERPRETER_AMBIGUOUS, message)


def _is_child(argv: Sequence[str]) -> bool:
    if "-c" in argv[:-1]:
        return _CHILDREN.fullmatch(argv[argv.index("-c") + 1]) is not None
    return "-m" in argv[:-1] and _CHILD_MODULES.fullmatch(argv[argv.index("-m") + 1]) is not None
