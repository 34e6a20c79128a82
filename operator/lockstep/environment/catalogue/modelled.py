"""The variables of a launch that the scan itself follows: what they do is in the document, or refused."""

from lockstep.environment.catalogue.interpreter import MOVES_LIBRARY
from lockstep.environment.catalogue.servers import SERVERS
from lockstep.environment.catalogue.shell import CHANGE_SHELLS

_INTERPRETER = frozenset({"PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONSAFEPATH", "PYTHONPYCACHEPREFIX", *MOVES_LIBRARY})
# How programs, conda's environments, the user's packages and shared libraries are found.
_LAUNCH = frozenset({"PATH", "HOME", "LD_LIBRARY_PATH"})
_CONDA = frozenset({"CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "MAMBA_ROOT_PREFIX"})
_SERVERS: frozenset[str] = frozenset().union(*(one.variables for one in SERVERS))

MODELLED = _INTERPRETER | _LAUNCH | _CONDA | CHANGE_SHELLS | _SERVERS
"""Variables that decide which code runs and that the scan reads in an image's configuration. A pod that sets one of them
starts something else than what was scanned."""
