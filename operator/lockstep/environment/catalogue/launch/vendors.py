"""Entrypoint scripts that many images inherit, known by their digest, or by their form where it is edited."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch import activation
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.catalogue.launch.programs import find, is_binary
from lockstep.environment.catalogue.launch.shellscript import NotUnderstoodError
from lockstep.environment.tree import FileKind, FileTree, UnreadableFileError

Follow = Callable[[FileTree, Launch, Sequence[str]], Launch]

# nvidia/cuda and the images of NVIDIA's frameworks; AMD's ROCm images have the same.
_NVIDIA = tuple(
    re.compile(line)
    for line in (
        r"shopt -s nullglob extglob",
        r'_?SCRIPT_DIR="\$\(dirname "\$\(readlink -f "\$\{BASH_SOURCE\[0\]\}"\)"\)"',
        r'declare -a _?PARTS=\( "\$\{_?SCRIPT_DIR\}/entrypoint\.d"/\*@\(\.txt\|\.sh\) \)',
        r"shopt -u nullglob extglob",
        r'for _?file in "\$\{_?PARTS\[@\]\}"; do',
        r'case "\$\{_?file\}" in',
        r'\*\.txt\) cat "\$\{_?file\}";;',
        r'\*\.sh\) +source "\$\{_?file\}";;',
        r"esac",
        r"done",
        r"echo",
        r"if \[\[ \$# -eq 0 \]\]; then",
        r'exec "/bin/bash"',
        r"else",
        r'exec "\$@"',
        r"fi",
    )
)
_PRINTS = re.compile(
    "|".join(
        (
            r"print_(?:repeats|banner_text)\(\) \{|\}|echo|local i",
            r'local -r char="\$1" count="\$2"|local banner_char=\$1|local -r text="\$2"',
            r'local pad="\$\{banner_char\}\$\{banner_char\}"|echo "\$\{pad\} \$\{text\} \$\{pad\}"',
            r'for \(\(i=1; i<=\$count; i\+\+\)\); do echo -n "\$char"; done',
            r'print_repeats "\$\{banner_char\}" \$\(\(\$\{#text\} \+ 6\)\)',
        )
    )
)
"""The lines of the functions by which its parts print."""
_BLANK = " \t"
"""What bash takes for blanks, within a line that ends with a line feed alone (Bash Reference Manual, "Definitions")."""
_WORDS = r'"(?:[^"`$\\]|\$\w+|\$\{\w+\})*"'
_TEST = rf"(?:-[nz] {_WORDS}|{_WORDS} (?:==|!=) {_WORDS})"
_PART = re.compile(
    "|".join(
        (
            rf"echo(?: {_WORDS})?|print_banner_text {_WORDS} {_WORDS}",
            rf"(?:el)?if \[\[ {_TEST}(?: (?:\|\||&&) {_TEST})* \]\]; then|else|fi",
            rf"export NVIDIA_\w+=\w*|_[A-Z_]+={_WORDS}",
            r"_[A-Z_]+=\$\((?:ldconfig -p \| grep [\w.]+|ls(?: /dev/\w+)+ 2>/dev/null)\)",
            r"_[A-Z_]+=\$\( \( IFS=: ; for i in \$\{LD_LIBRARY_PATH\}; do ls \$i/libcuda\.so\.1 2>/dev/null"
            r" \| grep -v compat; done\) \)",
        )
    )
)
"""The lines of its parts that are known: they print, and look for the driver. Whatever else a line says is not followed."""


def follow_vendor(tree: FileTree, launch: Launch, path: str, text: str, arguments: Sequence[str]) -> Launch | None:
    """Return what a known entrypoint script starts; None for any other script.

    Args:
        tree: the root file system.
        launch: what the script was started with.
        path: the script.
        text: its content.
        arguments: its arguments.

    Raises:
        NotUnderstoodError: it is a known one, and does here what is not followed.
    """
    follow = _BY_DIGEST.get(tree.sha256(path) or "")
    if follow is not None:
        return follow(tree, launch, arguments)
    return _follow_nvidia(tree, launch, path, arguments) if _is_nvidias(text) else None


def _is_nvidias(text: str) -> bool:
    kept: list[str] = []
    printing = False
    for line in text.split("\n"):
        printing = printing or line.startswith("print_")
        if not printing:
            kept.append(line)
        elif not _is_comment(line) and not _PRINTS.fullmatch(line.strip(_BLANK)):
            return False
        printing = printing and line != "}"
    lines = [line.strip(_BLANK) for line in kept if not _is_comment(line)]
    return len(lines) == len(_NVIDIA) and all(form.fullmatch(line) for form, line in zip(_NVIDIA, lines, strict=True))


def _is_comment(line: str) -> bool:
    return not line.strip(_BLANK) or line.strip(_BLANK).startswith("#")


def _follow_nvidia(tree: FileTree, launch: Launch, path: str, arguments: Sequence[str]) -> Launch:
    """Its parts print licences and look for the driver; then it starts its arguments."""
    script = tree.resolve(path) or path
    folder = f"{script.rpartition('/')[0]}/entrypoint.d"
    for name in tree.listdir(folder):
        for line in _read(tree, f"{folder}/{name}").split("\n") if name.endswith(".sh") else ():
            if not _is_comment(line) and not _PART.fullmatch(line.strip(_BLANK)):
                why = f"{folder}/{name} may change which Python runs, or what it imports: {line.strip()[:80]!r}"
                raise NotUnderstoodError(why)
    if not arguments:
        raise NotUnderstoodError("it is a shell script that starts a shell, where it has no arguments")
    return launch.with_command(*arguments)


def _follow_bentoml(environments: Sequence[str], tree: FileTree, launch: Launch, arguments: Sequence[str]) -> Launch:
    """It activates the first of some environments that is there, and serves the bento, or starts its arguments."""
    for folder in map(launch.absolute, environments):
        if tree.kind(tree.resolve(folder) or folder) is FileKind.DIRECTORY:
            launch = activation.activate_venv(tree, launch, folder)
            break
    bento = launch.env.get("BENTO_PATH", "")
    first = arguments[0] if arguments else "-"
    if first.startswith("-"):
        if "BENTOML_SERVE_COMPONENT" in launch.env:
            raise NotUnderstoodError("BENTOML_SERVE_COMPONENT chooses what BentoML's entrypoint starts")
        return launch.with_command("bentoml", "serve", *arguments, bento)
    if first in ("serve", "serve-http", "serve-grpc"):
        return launch.with_command("bentoml", *arguments, bento)
    if first.startswith("start-") or list(arguments[:2]) == ["python", "-m"]:
        raise NotUnderstoodError(f"BentoML's entrypoint starts {' '.join(arguments)[:80]!r} otherwise than it says")
    return launch.with_command(*arguments)


def _follow_micromamba(tree: FileTree, launch: Launch, arguments: Sequence[str]) -> Launch:
    """It activates the environment that ENV_NAME names, then starts its arguments."""
    if launch.env.get("HOME") == "/":
        raise NotUnderstoodError("micromamba's entrypoint sets HOME where it is /")
    try:
        activated = find(tree, launch.with_command("_activate_current_env.sh"))
    except CatalogueError as error:
        raise NotUnderstoodError(error.message) from error
    if tree.sha256(tree.resolve(activated) or activated) not in _MICROMAMBA_ACTIVATES:
        raise NotUnderstoodError(f"{activated} is not what micromamba's image has")
    root = launch.env.get("MAMBA_ROOT_PREFIX", "").rstrip("/")
    _check_micromamba(tree, launch, root)
    if launch.env.get("MAMBA_SKIP_ACTIVATE") != "1":
        launch = activation.activate_conda(tree, launch, root, launch.env.get("ENV_NAME") or "base")
    if not arguments:
        raise NotUnderstoodError("micromamba's entrypoint starts nothing without arguments")
    return launch.with_command(*arguments)


def _check_micromamba(tree: FileTree, launch: Launch, root: str) -> None:
    """Refuse what would let the script execute somebody else's text: hooks of other programs, and files that it reads."""
    program = launch.env.get("MAMBA_EXE", "")
    if program.rpartition("/")[2] != "micromamba" or not is_binary(tree, program):
        raise NotUnderstoodError(f"MAMBA_EXE is {program[:80]!r}, which is not micromamba")
    for name in ("conda", "mamba"):
        try:
            found = find(tree, launch.with_command(name))
        except CatalogueError:
            continue
        if not found.startswith(f"{root}/"):
            raise NotUnderstoodError(f"{found} says what micromamba's entrypoint executes")
    if tree.kind(f"{root}/etc/profile.d/conda.sh") is not None:
        activation.check_conda_functions(tree, root)
    if tree.kind(f"{root}/etc/profile.d/mamba.sh") is not None:
        raise NotUnderstoodError(f"micromamba's entrypoint reads {root}/etc/profile.d/mamba.sh")


def _read(tree: FileTree, path: str) -> str:
    try:
        return (tree.read(path) or b"").decode("utf-8", "replace")
    except UnreadableFileError as error:
        raise NotUnderstoodError(str(error)) from error


_BENTOML: Mapping[str, tuple[str, ...]] = {
    # From bentoml 1.0.11, 1.0.20, 1.3.10, 1.3.16 and 1.4.8 on.
    "70fec7b98114d8beafaadcde1961d7d225b2c3ecbb5155b5e174dcc8c81a2a90": (),
    "e9dfa875835beaa87bf0dec30dc2e70a798f8ba07535c29dd75a775d023b706c": (),
    "9444543714ff781ef62c956ee1b0da0bb1c70d8818a60148f7e3c31b97c53b30": (".venv",),
    "426f7d6a128474621521f4183071101a559b428a3999588e7782ae570cc9a538": ("/app/.venv", ".venv"),
    "5f8020a3ab845db2c507db1286cb74bb5702ef64411a62c563066e8bad63c98e": ("/app/.venv", ".venv"),
}
"""`entrypoint.sh` of images that `bentoml containerize` makes, with the environments that each version activates."""
_MICROMAMBA = (
    "0771cc92716e68a6d01f14b00ee6e075c72b0dee5140ce9e1ac0c41f9aa69d4b",
    "b98fe5b8a2302cfaadd1e5642a1c5f3198b7ca03a7b7a711d58e7df7161721e5",
    "1c53fb065f00612764df01d4013954542c6a5c457be2476c9a738c87502b79ac",
)
"""`_entrypoint.sh` of mambaorg/micromamba since December 2021."""
_MICROMAMBA_ACTIVATES = frozenset(
    f"sha256:{digest}"
    for digest in (
        "764d743e24bd57352df11763999204585fb3832738e09ed214780d4fb4d9d432",
        "e0bd1f9e3db5eb1f919b1a7da3505475d0322198d00c7166ef7e02670be9a93d",
        "9dcdf59c0f1dd7eb478983e88a0f8bb320e618b194f3de341466533fddd78d82",
        "b247c69ca6041fd2515d7a351bafcaf7dae455a4e875e5de0205ddfa66d68ab2",
        "55232f60fd0e2de65b69a419573ff835267c0440cf85aaf2c250120706f3ee3a",
        "f86d9522a3ee4f33ee1adc6b34d61754f9b1051334920c551eb4e0073d54834e",
    )
)
"""`_activate_current_env.sh` of the same images since September 2022."""
_BY_DIGEST: Mapping[str, Follow] = {
    **{f"sha256:{digest}": partial(_follow_bentoml, environments) for digest, environments in _BENTOML.items()},
    **{f"sha256:{digest}": _follow_micromamba for digest in _MICROMAMBA},
}
