"""Recognises values of environment variables that do no harm, although the variable could run or choose code."""

import re
import shlex
from collections.abc import Callable

Judge = Callable[[str], bool]
"""Returns whether a value is harmless."""


def matching(pattern: str) -> Judge:
    """Return a judge that takes the values that a pattern matches as a whole."""
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def never(value: str) -> bool:
    """Take no value for harmless."""
    return False


def always(value: str) -> bool:
    """Take every value for harmless."""
    return True


is_plain = matching(r"(?!.*\.\.)(?:-?[0-9.]+|(?:[A-Za-z0-9_.,:+@%=/][A-Za-z0-9_.,:+@%=/-]*)?)")
"""One word that stays one word, and no option, where a script forgets the quotes around a variable; or nothing. No `..` in it:
some are resolved below a folder.
"""

is_switch = matching(
    r"(?i:-?[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|k|M|G|Ki|Mi|Gi|KB|MB|GB|%)?"
    r"|true|false|yes|no|on|off|debug|info|warn|warning|error|critical)"
)
"""A number, perhaps with a unit, a switch, or the level of a log."""

below_tmp = matching(r"/tmp(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._-]+)*/?")
"""A place below /tmp, which holds nothing of the image under a read-only root file system."""

_LIBRARIES = r"(?:/usr(?:/local)?|/opt/conda)?/lib(?:64)?(?:/[a-z0-9_]+-linux-gnu)?"
_ALLOCATOR = rf"{_LIBRARIES}/lib(?:tcmalloc(?:_minimal)?|jemalloc|mimalloc|gomp|iomp5|stdc\+\+)\.so(?:\.[0-9]+)*"
system_allocators = matching(rf"(?:{_ALLOCATOR}(?:[: ]{_ALLOCATOR})*)?")
"""Allocators and OpenMP runtimes, by name and in the system's folders, as LD_PRELOAD of many images names them."""

_CATEGORY = r"(?:[A-Za-z]*Warning)?"
_WARNING = rf"(?:default|error|always|all|module|once|ignore)(?::[^:,]*(?::{_CATEGORY}(?::[^:,]*(?::[0-9]*)?)?)?)?"
builtin_warnings = matching(rf"(?:{_WARNING}(?:,{_WARNING})*)?")
"""Filters of PYTHONWARNINGS; a category with a dot in it would import its module at every start (`warnings._getcategory`)."""

_SIZE = r"[0-9.]+[kmgKMG]?"
_JVM = (
    rf"-XX:[+-]\w+|-XX:(?!On)\w+={_SIZE}|-X(?:mx|ms|mn|ss){_SIZE}"
    r"|-Dfile\.encoding=[\w-]+|-Djava\.awt\.headless=(?:true|false)"
)
jvm_sizes = matching(rf"\s*(?:(?:{_JVM})(?:\s+|$))*")
"""Sizes and switches of a Java virtual machine: no agent, no class path, no command on an error."""

_GUNICORN_FLAGS = frozenset({"--preload", "--capture-output", "--enable-stdio-inheritance", "--no-sendfile", "--reuse-port"})
_GUNICORN_OPTIONS = frozenset(
    {
        *("-b", "--bind", "-w", "--workers", "--threads", "-t", "--timeout", "--graceful-timeout", "--keep-alive", "--backlog"),
        *("--worker-connections", "--max-requests", "--max-requests-jitter", "-n", "--name", "--log-level"),
        *("--forwarded-allow-ips", "--limit-request-line", "--limit-request-fields", "--limit-request-field_size"),
    }
)
# A log in a file with a format of one's own would be a module wherever it is imported from.
_GUNICORN_VALUES = {
    **dict.fromkeys(("--access-logfile", "--error-logfile", "--log-file"), matching("-|/dev/stdout|/dev/stderr")),
    **dict.fromkeys(
        ("-k", "--worker-class"),
        matching(r"sync|gthread|gevent|eventlet|tornado|uvicorn(?:\.workers|_worker)\.Uvicorn(?:H11)?Worker"),
    ),
    "--worker-tmp-dir": matching("/dev/shm|/tmp"),
}


_GUNICORN_PLACES = frozenset({"-c", "--config", "--chdir", "--pythonpath"})


def gunicorn_numbers(value: str) -> bool:
    """Return whether options of gunicorn set numbers, addresses, logs and gunicorn's own kinds of workers, and nothing else."""
    return _has_only_gunicorn_options(value, _GUNICORN_OPTIONS)


def gunicorn_places(value: str) -> bool:
    """Return whether options of gunicorn set besides nothing but where it reads its settings and imports from."""
    return _has_only_gunicorn_options(value, _GUNICORN_OPTIONS | _GUNICORN_PLACES)


def _has_only_gunicorn_options(value: str, options: frozenset[str]) -> bool:
    try:
        words = shlex.split(value)
    except ValueError:
        return False
    while words:
        name, equals, given = words.pop(0).partition("=")
        if name in _GUNICORN_FLAGS and not equals:
            continue
        if re.fullmatch(r"-[bwtnkc][^-]+", name):
            name, given = name[:2], name[2:] + equals + given
        elif not equals:
            given = words.pop(0) if words else "-?"
        if given.startswith("-") and given != "-":
            return False
        if not (name in options or _GUNICORN_VALUES.get(name, never)(given)):
            return False
    return True
