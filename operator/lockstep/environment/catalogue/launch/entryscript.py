"""The scripts that installers write for a distribution's entry points (PyPA, "Entry points specification", console_scripts)."""

import re

from lockstep.environment.tree import FileTree

_NAME = r"[A-Za-z_]\w*"
_IMPORT = re.compile(rf"from ({_NAME}(?:\.{_NAME})*) import ({_NAME})")
_CALL = re.compile(rf"sys\.exit\(({_NAME}(?:\.{_NAME})*)\(\)\)")
# A cookie of another encoding would give all other lines another meaning (PEP 263).
_COMMENT = r"#(?![^\n]*coding[:=])[^\n]*|# ?-\*- coding: utf-?8 -\*-"
_CUT = r"sys\.argv\[0\] = re\.sub\(r['\"]\(-script\\\.pyw\??\|\\\.exe\)\?\$['\"], ?['\"]['\"], sys\.argv\[0\]\)"
_MAIN = r"if __name__ == ['\"]__main__['\"]:"
_LINES = re.compile(
    "|".join(
        (
            *(_COMMENT, r"import re|import sys", _MAIN, _CUT),
            # pip from 25 on.
            r"sys\.argv\[0\] = sys\.argv\[0\]\.removesuffix\(['\"]\.exe['\"]\)",
            # uv.
            r"(?:el)?if sys\.argv\[0\]\.endswith\(['\"](?:-script\.pyw|\.exe)['\"]\):",
            r"sys\.argv\[0\] = sys\.argv\[0\]\[:-(?:11|4)\]",
            # The form for interpreters whose path is too long for a first line, or has a blank.
            r"'''exec' (?:\"[^\"\n]*\"|\S+) \"\$0\" \"\$@\"|' '''",
        )
    )
)
# What setuptools wrote before: the entry point is looked up by the distribution's name when the script runs.
_LOAD_CALL = re.compile(
    rf"""sys\.exit\(load_entry_point\('([\w.-]+?)(?:==[^']*)?', ?'console_scripts', ?'({_NAME}[\w.-]*)'\)\(\)\)"""
)
_OTHER_LINES = re.compile("|".join((_COMMENT, r"import re|import sys", _MAIN, _CUT, r"__requires__ = '[^'\n]*'")))
_LOADER_LINES = frozenset(
    (
        "from pkg_resources import load_entry_point",
        "try:",
        "from importlib.metadata import distribution",
        "except ImportError:",
        "from importlib_metadata import distribution",
        "def importlib_load_entry_point(spec, group, name):",
        "dist_name, _, _ = spec.partition('==')",
        "matches = (",
        "entry_point",
        "for entry_point in distribution(dist_name).entry_points",
        "if entry_point.group == group and entry_point.name == name",
        ")",
        "return next(matches).load()",
        "globals().setdefault('load_entry_point', importlib_load_entry_point)",
    )
)
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_SECTION = re.compile(r"^\s*\[\s*([^\]]+?)\s*\]\s*$")


def entry_point(text: str) -> str | None:
    """Return the entry point (`uvicorn.main:main`) that a script calls and does nothing else; None for any other script."""
    imported: list[tuple[str, str]] = []
    called: list[str] = []
    for line in _lines(text):
        if _LINES.fullmatch(line):
            continue
        if match := _IMPORT.fullmatch(line):
            imported.append((match[1], match[2]))
        elif match := _CALL.fullmatch(line):
            called.append(match[1])
        else:
            return None
    if len(imported) != 1 or len(called) != 1 or called[0].partition(".")[0] != imported[0][1]:
        return None
    return f"{imported[0][0]}:{called[0]}"


def loaded_entry_point(text: str) -> tuple[str, str] | None:
    """Return distribution and name of the entry point that a script looks up and calls, as setuptools wrote such scripts."""
    calls: list[tuple[str, str]] = []
    for line in _lines(text):
        if call := _LOAD_CALL.fullmatch(line):
            calls.append((call[1], call[2]))
        elif line not in _LOADER_LINES and not _OTHER_LINES.fullmatch(line):
            return None
    return calls[0] if len(calls) == 1 else None


def _lines(text: str) -> list[str]:
    return [line for raw in _LINE_ENDS.split(text) if (line := raw.strip())]


def console_scripts(tree: FileTree, folder: str) -> dict[str, str]:
    """Return the entry points of the commands that a distribution declares, by the command's name.

    Args:
        tree: the root file system.
        folder: its `.dist-info` or `.egg-info` directory.

    Raises:
        UnreadableFileError: its entry points can't be read.
    """
    body = tree.read(f"{folder}/entry_points.txt")
    scripts: dict[str, str] = {}
    section = ""
    for line in body.decode("utf-8", "replace").splitlines() if body is not None else ():
        if header := _SECTION.match(line):
            section = header[1]
        elif section in ("console_scripts", "gui_scripts") and "=" in line and not line.lstrip().startswith(("#", ";")):
            name, _, value = line.partition("=")
            # Extras in brackets, which installers take no notice of.
            module, _, attribute = value.partition("[")[0].partition(":")
            scripts[name.strip()] = f"{module.strip()}:{attribute.strip()}"
    return scripts
