"""What activating a virtual environment or a conda environment changes, and what `conda run` starts."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from lockstep.environment.catalogue.launch.interpreter import home
from lockstep.environment.catalogue.launch.launch import Launch, ambiguous_error
from lockstep.environment.catalogue.launch.shellscript import NotUnderstoodError
from lockstep.environment.tree import FileKind, FileTree, UnreadableFileError

_OWN = r"(?:VIRTUAL_ENV|VIRTUAL_ENV_PROMPT|PATH|PYTHONHOME|PS1|SCRIPT_PATH|_OLD_[A-Z0-9_]+|T(?:CL|K)_LIBRARY|deactivate|pydoc)"
_TEXT = r"(?:[^`$<>;&|]|\$[A-Za-z_]\w*|\$\{\w+(?::?[-+]\w*)?\})*"
# One word: quoted and bare pieces side by side.
_WORD = r"(?:\"(?:[^`$<>;&|\"\\]|\$[A-Za-z_]\w*|\$\{\w+(?::?[-+]\w*)?\})*\"|'[^'`$]*'|[\w./:-]+)*"
_LINES = re.compile(
    "|".join(
        (
            rf"(?:el)?if (?:! )?\[ {_TEXT} \] ?; ?then",
            r'if \[ -n "\$\{BASH_VERSION:\+x\}" \] && \[ "\$\{BASH_SOURCE\[0\]\}" = "\$0" \]; then',
            r'if \(\[ "\$OSTYPE" = "cygwin" \] \|\| \[ "\$OSTYPE" = "msys" \]\) && '
            r"\$\(command -v cygpath &> ?/dev/null\) ; then",
            r'if \[ "\$\{BASH_SOURCE-\}" = "\$0" \]; then',
            r'(?:echo "You must source this script: \\\$ source \$0" >&2|exit 33)',
            r"else|fi|\}|;;|esac|(?:deactivate|pydoc) ?\(\) ?\{",
            r'case "\$\(uname\)" in|CYGWIN\*\|MSYS\*(?:\|MINGW\*)?\)|\*\)',
            rf"(?:export|unset|unset -f) {_OWN}",
            # What Red Hat's and OpenShift's images add, since BASH_ENV has bash read the script.
            r"unset BASH_ENV PROMPT_COMMAND ENV",
            r"unset -f pydoc >/dev/null 2>&1 \|\| true",
            r"hash -r 2> ?/dev/null(?: \|\| true)?",
            r"alias pydoc 2>/dev/null >/dev/null && unalias pydoc \|\| true",
            r'python -m pydoc "\$@"',
            r"deactivate nondestructive",
            r'PATH="\$\{?_OLD_VIRTUAL_PATH(?::-)?\}?"',
            r'PYTHONHOME="\$\{?_OLD_VIRTUAL_PYTHONHOME(?::-)?\}?"',
            r"VIRTUAL_ENV=\$\(cygpath [^`$<>;&|()]*(?:\$VIRTUAL_ENV)?[^`$<>;&|()]*\)",
            r'SCRIPT_PATH="\$\{(?:BASH_SOURCE\[0\]|\(%\):-%x|\.sh\.file)\}"',
            rf"(?:_OLD_[A-Z0-9_]+|PS1|VIRTUAL_ENV_PROMPT|SCRIPT_PATH)={_WORD}",
            r'VIRTUAL_ENV_PROMPT=\$\(basename "\$VIRTUAL_ENV"\)',
        )
    )
)
"""The lines of the `activate` scripts that venv (CPython 3.8 to 3.14), virtualenv 20 and uv write."""
_TAKES_PATH = re.compile(r'PATH="\$VIRTUAL_ENV/(?:"?bin"?):\$PATH"')
_PREFIX = re.compile(r"""(?:export )?VIRTUAL_ENV=(["']?)(/[^"'`$\\<>;&|()\s]*)\1""")

_MOVES_PACKAGES = re.compile(r"\bPYTHON(?:PATH|HOME|USERBASE|PLATLIBDIR)\b|\bPATH=|\b(?:pip[0-9.]*|uv)\b")
_CONDA_LOCATIONS = ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS", "CONDARC", "CONDA_ROOT", "CONDA_ROOT_PREFIX")
_RUN_FLAGS = frozenset({"--no-capture-output", "--live-stream", "-v", "--verbose", "-vv", "-vvv"})


def activate_venv(tree: FileTree, launch: Launch, prefix: str) -> Launch:
    """Return what a shell goes on with after `. PREFIX/bin/activate`.

    Raises:
        NotUnderstoodError: the script is not the one that venv, virtualenv or uv wrote for that place.
    """
    path = f"{prefix}/bin/activate"
    if tree.read(f"{prefix}/pyvenv.cfg") is None or any(name.startswith("_OLD_VIRTUAL") for name in launch.env):
        raise NotUnderstoodError(f"it is a shell script that reads {path}, which is no virtual environment's")
    stated: set[str] = set()
    takes_path = False
    for line in (line.strip() for line in _text(tree, path).splitlines()):
        if not line or line.startswith("#") or _LINES.fullmatch(line):
            continue
        if _TAKES_PATH.fullmatch(line):
            takes_path = True
        elif match := _PREFIX.fullmatch(line):
            stated.add(match[2])
        else:
            raise NotUnderstoodError(f"{path} was changed: {line[:80]!r}")
    if stated != {prefix} or not takes_path:
        raise NotUnderstoodError(f"{path} activates another place than its own")
    env = {name: value for name, value in launch.env.items() if name != "PYTHONHOME"}
    return replace(launch, env=env | {"PATH": f"{prefix}/bin:{launch.path}", "VIRTUAL_ENV": prefix})


def _text(tree: FileTree, path: str) -> str:
    try:
        body = tree.read(path)
    except UnreadableFileError as error:
        raise NotUnderstoodError(str(error)) from error
    if body is None:
        raise NotUnderstoodError(f"it is a shell script that reads {path}, which is not in the image")
    return body.decode("utf-8", "replace")


def check_conda_functions(tree: FileTree, root: str) -> None:
    """Make sure that `ROOT/etc/profile.d/conda.sh` is that of the conda at `root`.

    Raises:
        NotUnderstoodError: it is another's.
    """
    path = f"{root}/etc/profile.d/conda.sh"
    text = _text(tree, path)
    # Its own functions set the PATH, so that only what it never names shows that somebody else's lines were added.
    if f"CONDA_EXE='{root}/bin/conda'" not in text or re.search(r"\bPYTHON(?:PATH|HOME)\b|\bpip\b", text):
        raise NotUnderstoodError(f"{path} is not what conda wrote for that place")


def activate_conda(tree: FileTree, launch: Launch, root: str, environment: str) -> Launch:
    """Return what goes on after `conda activate ENVIRONMENT` (a name or an absolute prefix) of the conda at `root`.

    Raises:
        NotUnderstoodError: it can't be determined which environment that is, or what else its activation does.
    """
    if launch.env.get("CONDA_SHLVL", "0") not in ("", "0"):
        raise NotUnderstoodError("conda is activated already (CONDA_SHLVL), which changes what it replaces on the PATH")
    prefix = environment if environment.startswith("/") else _find_named_environment(tree, launch, root, environment)
    if tree.resolve(f"{prefix}/conda-meta") is None:
        raise NotUnderstoodError(f"{prefix} is no conda environment")
    variables: dict[str, str] = {}
    # conda's shell hook activates the base first, so what that sets stays set.
    for place in dict.fromkeys((root, prefix)):
        variables |= _activation_variables(tree, place)
    folders = [f"{prefix}/bin", f"{root}/condabin", launch.path]
    return launch.with_variables(variables | {"PATH": ":".join(folders), "CONDA_PREFIX": prefix, "CONDA_SHLVL": "1"})


def _find_named_environment(tree: FileTree, launch: Launch, root: str, name: str) -> str:
    if name in ("base", "root"):
        return root
    settings = [f"{folder}/{file}" for folder in (root, "/etc/conda", "/root/.conda") for file in (".condarc", "condarc")]
    homes = sorted({home(tree, launch), "/root"})
    settings += [f"{folder}/{file}" for folder in homes for file in (".condarc", ".conda/.condarc")]
    moved = [variable for variable in _CONDA_LOCATIONS if launch.env.get(variable)]
    moved += [path for path in settings if tree.kind(path) is not None and re.search(r"envs_(?:dirs|path)", _text(tree, path))]
    if moved:
        raise NotUnderstoodError(f"{moved[0]} says where conda's environments are: name the environment by its prefix")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise NotUnderstoodError(f"{name[:80]!r} is no name of a conda environment")
    places = [f"{folder}/{name}" for folder in (f"{root}/envs", *(f"{folder}/.conda/envs" for folder in homes))]
    existing = [place for place in places if tree.resolve(f"{place}/conda-meta") is not None]
    if len(existing) != 1:
        raise NotUnderstoodError(f"the conda environment {name} is in the image {len(existing)} times")
    return existing[0]


def _activation_variables(tree: FileTree, prefix: str) -> Mapping[str, str]:
    """Read the variables that an environment sets (`conda env config vars`), and refuse scripts that move packages."""
    folder = f"{prefix}/etc/conda/activate.d"
    for name in tree.listdir(folder):
        if name.endswith(".sh") and _MOVES_PACKAGES.search(_text(tree, f"{folder}/{name}")):
            raise NotUnderstoodError(f"{folder}/{name} may change where packages come from")
    if tree.kind(f"{prefix}/conda-meta/state") is None:
        return {}
    try:
        variables = json.loads(_text(tree, f"{prefix}/conda-meta/state"))["env_vars"]
        stated = {str(name): str(value) for name, value in variables.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotUnderstoodError(f"{prefix}/conda-meta/state can't be read") from error
    if "***unset***" in stated.values() or "PATH" in stated:
        raise NotUnderstoodError(f"{prefix}/conda-meta/state changes variables in a way that is not followed")
    return stated


def follow_conda_run(tree: FileTree, launch: Launch, program: str) -> Launch:
    """Return what `conda run [-n NAME | -p PREFIX] COMMAND` starts; mamba's and micromamba's are alike.

    Args:
        tree: the root file system.
        launch: conda with its arguments.
        program: where that conda was found.

    Raises:
        CatalogueError: InterpreterAmbiguous.
    """
    what = " ".join(launch.argv)
    advice = "write `conda run -n NAME COMMAND`, or start the environment's own console script"
    rest = list(launch.argv[1:])
    if rest[:1] != ["run"]:
        raise ambiguous_error(what, "conda starts nothing by that command", advice)
    rest, environment = rest[1:], ""
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option in ("-n", "--name", "-p", "--prefix", "--cwd") and (equals or rest):
            value = value if equals else rest.pop(0)
            if option == "--cwd":
                launch = replace(launch, working_dir=launch.absolute(value))
            elif environment or (option in ("-p", "--prefix") and not value.startswith("/")):
                raise ambiguous_error(what, "the environment is named twice, or by a relative prefix", advice)
            else:
                environment = value
        elif option not in _RUN_FLAGS:
            raise ambiguous_error(what, f"conda's option {option[:80]} is not followed", advice)
    if not environment and (launch.env.get("CONDA_PREFIX") or launch.env.get("CONDA_DEFAULT_ENV")):
        raise ambiguous_error(what, "variables choose the environment", advice)
    if any("\n" in word for word in rest) or launch.env.get("BASH_ENV"):
        raise ambiguous_error(what, "the shell between conda and the command runs more than the command", advice)
    try:
        return activate_conda(tree, launch, _conda_root(tree, launch, program), environment or "base").with_command(*rest)
    except NotUnderstoodError as error:
        raise ambiguous_error(what, str(error), advice) from error


def _conda_root(tree: FileTree, launch: Launch, program: str) -> str:
    folder, _, name = (tree.resolve(program) or program).rpartition("/")
    stated = launch.env.get("MAMBA_ROOT_PREFIX", "").rstrip("/")
    root = stated if name == "micromamba" else folder.rpartition("/")[0]
    if name != "conda" and stated and stated != root:
        raise NotUnderstoodError("MAMBA_ROOT_PREFIX names another place than the one that mamba is in")
    if tree.kind(root) is not FileKind.DIRECTORY or tree.kind(f"{root}/conda-meta") is not FileKind.DIRECTORY:
        raise NotUnderstoodError(f"{root or 'its root'} is no conda installation")
    return root
