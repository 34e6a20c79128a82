"""How a container starts, and the interpreter that this leads to (`follow.follow_launch`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What container runtimes set where the image does not."""


@dataclass(frozen=True)
class Launch:
    """How a container starts (OCI image-spec config.md), or a program on the way from there to the interpreter."""

    argv: tuple[str, ...]
    """Entrypoint followed by command."""
    env: Mapping[str, str]
    working_dir: str = "/"
    user: str = ""

    @property
    def path(self) -> str:
        """The PATH."""
        return self.env.get("PATH", _DEFAULT_PATH)

    def absolute(self, path: str) -> str:
        """Return `path` as seen from the working directory."""
        return path if path.startswith("/") else f"{self.working_dir.rstrip('/')}/{path}"

    def with_command(self, *argv: str) -> Self:
        """Return the same with another command line."""
        return replace(self, argv=argv)

    def with_variables(self, variables: Mapping[str, str]) -> Self:
        """Return the same with some variables set."""
        return replace(self, env={**self.env, **variables})


@dataclass(frozen=True)
class Started:
    """The interpreter that a launch leads to."""

    executable: str
    """As it is called, symbolic links not followed: a virtual environment is found beside it."""
    script: str | None
    """The script that it runs, when it runs one; its directory comes first on the path."""
    options: frozenset[str] = field(default=frozenset())
    """Its one-letter options (`-I`, `-E`, ...), some of which take directories off the path."""
    program: str | None = field(default=None, compare=False)
    """What it runs: the script as it is called (symbolic links not followed), or the module's name; None where it runs none."""
    module: bool = field(default=False, compare=False)
    """Whether the program is a module (`-m`)."""
    code: str | None = field(default=None, compare=False)
    """Code that it is given and that is in no file: the text of `-c`, `-` for its standard input; None where there is none."""
    pycache_prefix: str | None = field(default=None, compare=False)
    """What `-X pycache_prefix` says; None where it says nothing."""
    arguments: tuple[str, ...] = field(default=(), compare=False)
    """What follows the program on the command line."""
    launch: Launch = field(default=Launch((), {}), compare=False)
    """Variables, working directory and user that the interpreter gets, which scripts on the way may have changed."""


ADVICE = "let the image's entrypoint be the interpreter or a console script of the environment that serves"


READABLE = (
    "start it from /entrypoint.sh or from a bin directory, as a script of at most 64 KiB, or "
    "let the image's entrypoint be the console script of the environment that serves"
)
"""What to do where a script was not kept by the scan."""


def ambiguous_error(what: str, why: str, advice: str = ADVICE) -> CatalogueError:
    """Return the error for a start that can't be determined; `advice` says what to do instead."""
    message = f"which Python {what[:200]!r} starts could not be determined: {why}; {advice}"
    return CatalogueError(Reason.INTERPRETER_AMBIGUOUS, message)


class UnclearScriptError(CatalogueError):
    """A shell script that can be read does more than is followed: its text may still rule interpreters out."""

    def __init__(self, what: str, why: str, text: str, launch: Launch) -> None:
        super().__init__(Reason.INTERPRETER_AMBIGUOUS, ambiguous_error(what, why).message)
        self.text = text
        self.launch = launch
        """What the script was started with."""
