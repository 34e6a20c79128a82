"""Programs that start what follows them on their command line."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lockstep.environment.catalogue.launch.launch import Launch, ambiguous_error

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Wrapper:
    """The command line of a wrapper."""

    valued: frozenset[str] = frozenset()
    """Options that take the next argument as their value."""
    positional: int = 0
    """Arguments of its own between the options and the command."""


def _wrapper(valued: str = "", positional: int = 0) -> Wrapper:
    return Wrapper(frozenset(valued.split()), positional)


_TINI = _wrapper("-p -e")
WRAPPERS: Mapping[str, Wrapper] = {
    "tini": _TINI,
    "tini-static": _TINI,
    "docker-init": _TINI,
    "catatonit": _wrapper(),
    "dumb-init": _wrapper("-r --rewrite"),
    "nice": _wrapper("-n --adjustment"),
    "ionice": _wrapper("-c --class -n --classdata"),
    "nohup": _wrapper(),
    "time": _wrapper("-f --format -o --output"),
    "timeout": _wrapper("-k --kill-after -s --signal", positional=1),
    "stdbuf": _wrapper("-i --input -o --output -e --error"),
    "numactl": _wrapper(
        "-i --interleave -p --preferred -P --preferred-many -N --cpunodebind -C --physcpubind -m --membind"
        " -w --weighted-interleave"
    ),
    "taskset": _wrapper(positional=1),
}
"""By name, with the options of its manual page that take a value (`--name=value` needs no entry)."""

USER_CHANGERS = frozenset({"gosu", "su-exec"})
"""`gosu USER[:GROUP] COMMAND`: another user, whose home is HOME."""

CATCHSEGV = frozenset({"/usr/bin/catchsegv", "/bin/catchsegv"})
"""A shell script of glibc's that starts what follows it with a library preloaded."""

UNDETERMINED: Mapping[str, str] = {
    "uv": "uv run may synchronise or choose the environment when it starts: start the environment's own console script",
    "uvx": "uvx makes an environment when it starts: start the console script of an installed environment",
    "pipenv": "pipenv keeps its environment in a place that its settings name: start the environment's own console script",
    "poetry": "poetry keeps its environment in a place that its settings name: start the environment's own console script",
    "pdm": "pdm keeps its environment in a place that its settings name: start the environment's own console script",
    "pixi": "pixi run may install or choose the environment when it starts: start the environment's own console script",
    "hatch": "hatch makes environments when it runs: start the console script of an installed environment",
    "sudo": "sudo changes the environment as sudoers says: use USER in the Dockerfile, or gosu",
    "su": "su starts a shell that reads profiles: use USER in the Dockerfile, or gosu",
}
"""Programs of which it is known that what they start can't be determined from files, with what to do instead."""


def unwrap(launch: Launch, wrapper: Wrapper) -> Launch:
    """Return what a wrapper starts."""
    rest = list(launch.argv[1:])
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        if option in wrapper.valued:
            rest = rest[1:]
    return launch.with_command(*rest[wrapper.positional :])


def follow_user_change(launch: Launch) -> Launch:
    """Return what `gosu USER COMMAND` starts: HOME is the user's, as its documentation says."""
    if len(launch.argv) < 3 or launch.argv[1].startswith("-"):
        raise ambiguous_error(" ".join(launch.argv), "it names no user and no command")
    env = {name: value for name, value in launch.env.items() if name != "HOME"}
    return replace(launch, argv=launch.argv[2:], env=env, user=launch.argv[1])


def follow_env(launch: Launch) -> Launch:
    """Return what `env [-S TEXT] [NAME=VALUE...] COMMAND` starts (env(1)).

    Raises:
        CatalogueError: InterpreterAmbiguous for any other option.
    """
    what = " ".join(launch.argv)
    rest = list(launch.argv[1:])
    if rest and rest[0].startswith("-"):
        # A shebang line gives all that follows env as one argument: `-S python -u`.
        option = rest.pop(0)
        text = option.removeprefix("-S") or (rest.pop(0) if rest else "")
        if not option.startswith("-S") or re.search(r"[\\$#]", text):
            raise ambiguous_error(what, "env changes the environment")
        try:
            rest = [*shlex.split(text), *rest]
        except ValueError as error:
            raise ambiguous_error(what, str(error)) from error
    variables: dict[str, str] = {}
    while rest and "=" in rest[0]:
        name, _, value = rest.pop(0).partition("=")
        if not _VARIABLE.fullmatch(name):
            raise ambiguous_error(what, "env sets a variable of an unusual name")
        variables[name] = value
    if rest and rest[0].startswith("-"):
        raise ambiguous_error(what, "env changes the environment")
    return launch.with_command(*rest).with_variables(variables)
