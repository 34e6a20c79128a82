"""Judges environment variables: what who deploys may set unasked, and what an image's own configuration may not set."""

import re
from fnmatch import fnmatchcase

from lockstep.api.podtemplate import FORBIDDEN_VARIABLES
from lockstep.environment.variables.harmless import Judge, always, gunicorn_places, is_plain, is_switch, never
from lockstep.environment.variables.known import HARMLESS, KNOWN, Known

FOLLOWED = frozenset(
    {"PATH", "HOME", "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONPLATLIBDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}
)
"""Variables of an image whose effect the scan follows, or for which it refuses the image; they are not judged a second time."""

_BY_SERVERS: dict[str, tuple[frozenset[str], Judge]] = {
    "UVICORN_APP_DIR": (frozenset({"uvicorn", "mlflow"}), always),
    "GUNICORN_CMD_ARGS": (frozenset({"gunicorn", "mlflow"}), gunicorn_places),
    "GRANIAN_WORKING_DIR": (frozenset({"granian"}), always),
    "CELERY_WORKDIR": (frozenset({"celery"}), always),
}
"""Those that the scan follows where it knows the server that an image starts (`Start.server`)."""

_FORBIDDEN = re.compile(FORBIDDEN_VARIABLES)
# Numbers and switches under these names may choose another model or other code.
_CHOOSES = re.compile(
    r"MODEL|WEIGHT|CHECKPOINT|ARTIFACT|VERSION|REVISION|VARIANT|STAGE|ALIAS|DEBUG|RELOAD|TRUST", re.IGNORECASE
)


def is_forbidden(name: str) -> bool:
    """Return whether the schema refuses a variable of the pods, whatever the policy says."""
    return _FORBIDDEN.fullmatch(name) is not None


def find_known_variable(name: str) -> Known | None:
    """Return what is known of a variable of the pods that can do harm; None for a harmless one and for a stranger.

    In any case of letters: pydantic-settings, and so MLServer, reads `mlserver_model_uri` as well.
    """
    upper = name.upper()
    if name in HARMLESS:
        return None
    return next((entry for entry in KNOWN if any(fnmatchcase(upper, pattern) for pattern in entry.names)), None)


def is_harmless(name: str, value: str) -> bool:
    """Return whether anybody who deploys may give a variable this value."""
    if name in HARMLESS:
        return is_plain(value)
    entry = find_known_variable(name)
    return entry is not None and entry.harmless(value)


def turns_switch(name: str, before: str, value: str) -> bool:
    """Return whether a variable that the image sets to `before` is a number or switch that is turned to another such value.

    Words and places are none: one that the image's authors chose from may be a model, a module or a file.
    """
    return _CHOOSES.search(name) is None and is_switch(before) and is_switch(value)


def runs_code(name: str, value: str, server: str | None = None) -> str | None:
    """Return what a variable of an image's own configuration does where the scan does not read; None if it does no such thing.

    Args:
        name: the variable.
        value: its value.
        server: the known server that the image starts (`Start.server`); None where it is none.
    """
    servers, followed = _BY_SERVERS.get(name, (frozenset(), never))
    if name in FOLLOWED or (server in servers and followed(value)):
        return None
    for entry in KNOWN:
        if any(fnmatchcase(name, pattern) for pattern in entry.names):
            return entry.does if entry.in_images and not entry.harmless(value) else None
    return None
