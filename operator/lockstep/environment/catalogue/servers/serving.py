"""Which process serves: from the interpreter that an image starts, through known servers that start others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lockstep.environment.catalogue.launch.entryscript import console_scripts, entry_point, loaded_entry_point
from lockstep.environment.catalogue.launch.follow import follow_launch
from lockstep.environment.catalogue.launch.interpreter import prefix, search_path
from lockstep.environment.catalogue.launch.launch import Launch, Started, ambiguous_error
from lockstep.environment.catalogue.launch.path import Place
from lockstep.environment.catalogue.servers.server import Called, Effect, Server
from lockstep.environment.catalogue.servers.table import BY_CODE, BY_ENTRY, BY_MODULE
from lockstep.environment.tree import FileTree, UnreadableFileError

_MAX_SERVERS = 4
"""So many servers may start one another; MLflow's starts one."""


@dataclass(frozen=True)
class Serving:
    """The process that serves."""

    start: Started
    """Its interpreter."""
    first: Started
    """The interpreter that the image's configuration starts; the same one but for servers that start others."""
    places: tuple[Place, ...] = ()
    """What its server puts on its path."""
    server: str | None = None
    """The known server that the configuration starts."""
    model: str | None = None
    """The model that it says it serves: an absolute path, or a URI."""
    code: tuple[str, ...] = ()
    """Files of Python that are executed as its configuration."""
    scripts: tuple[str, ...] = ()
    """The scripts that interpreters are given on the way, symbolic links not followed."""


def serving(tree: FileTree, launch: Launch) -> Serving:
    """Follow a launch to the process that serves.

    Raises:
        CatalogueError: InterpreterNotFound, InterpreterAmbiguous.
        UnclearScriptError: it can't be determined because of a shell script whose text is known.
    """
    first = start = follow_launch(tree, launch)
    result = Serving(start, first)
    for _ in range(_MAX_SERVERS):
        server, effect = effect_of(tree, start)
        scripts = (*result.scripts, *_scripts(start))
        if server is None:
            return Serving(start, first, (), result.server, result.model, result.code, scripts)
        result = Serving(
            start=start,
            first=first,
            places=effect.places,
            server=result.server or (server.name if not server.launcher else None),
            model=result.model or effect.model,
            code=(*result.code, *effect.code),
            scripts=scripts,
        )
        if effect.next is None:
            return result
        start = _follow_next(tree, start, effect.next)
    raise ambiguous_error(" ".join(launch.argv), "too many servers start one another")


def serving_itself(start: Started, server: Server | None, effect: Effect) -> Serving:
    """Return what one interpreter serves, whatever its program may start besides."""
    name = server.name if server is not None else None
    return Serving(start, start, effect.places, name, effect.model, effect.code, _scripts(start))


def effect_of(tree: FileTree, start: Started) -> tuple[Server | None, Effect]:
    """Return the known server that an interpreter is given to run, and what it does; any other program does nothing.

    Raises:
        CatalogueError: InterpreterNotFound, InterpreterAmbiguous.
    """
    path = search_path(tree, prefix(tree, start), start)
    if start.code is not None:
        found, arguments = _server_of_code(start)
        return found, found.effect(Called(tree, start.launch, arguments, path))
    server = find_server(tree, start, path)
    return server, server.effect(Called(tree, start.launch, start.arguments, path)) if server is not None else Effect()


def _scripts(start: Started) -> tuple[str, ...]:
    return (start.program,) if start.program is not None and not start.module else ()


def _follow_next(tree: FileTree, before: Started, launch: Launch) -> Started:
    after = follow_launch(tree, launch)
    prefix_before, prefix_after = prefix(tree, before), prefix(tree, after)
    if prefix_before != prefix_after:
        folder = before.executable.rpartition("/")[0]
        what = " ".join(launch.argv)
        why = f"{before.program or before.executable} starts it by its name, and {after.executable} is another environment's"
        raise ambiguous_error(what, why, f"put {folder} first on the image's PATH")
    return after


def _server_of_code(start: Started) -> tuple[Server, tuple[str, ...]]:
    """Return the server that code of the command line starts, with its arguments; any other code is refused."""
    for pattern, server in BY_CODE:
        if match := pattern.fullmatch((start.code or "").strip()):
            return server, match.groups()
    how = "of its standard input (-)" if start.code == "-" else "of its command line (-c)"
    advice = "put the code into a file in the image and start that"
    raise ambiguous_error(" ".join(start.launch.argv), f"it runs code {how}, and no file holds it", advice)


def find_server(tree: FileTree, start: Started, path: Sequence[str]) -> Server | None:
    """Return the known server that an interpreter is given to run; None for any other program."""
    if start.program is None:
        return None
    if start.module:
        return BY_MODULE.get(start.program)
    try:
        body = tree.read(start.program) or b""
    except UnreadableFileError:
        # Somebody's own, and not from a directory of commands.
        return None
    text = body.decode("utf-8", "replace")
    entry = entry_point(text)
    if entry is None:
        name = (loaded_entry_point(text) or ("", start.program.rpartition("/")[2]))[1]
        entry = next(commands(tree, path, name), None)
    return BY_ENTRY.get(entry) if entry is not None else None


def commands(tree: FileTree, path: Sequence[str], name: str) -> Iterator[str]:
    """Yield the entry points of the commands of one name that distributions on the path declare, in the path's order."""
    for entry in path:
        for folder in tree.listdir(entry):
            if folder.lower().endswith((".dist-info", ".egg-info")):
                declared = console_scripts(tree, f"{entry.rstrip('/')}/{folder}").get(name)
                if declared is not None:
                    yield declared
