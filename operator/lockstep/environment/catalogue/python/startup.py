"""Start-up hooks: what runs in every process of an interpreter before its program does (CPython's site module)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lockstep.environment.catalogue.launch.path import SearchPath
from lockstep.environment.catalogue.packages.modules import Finder, Module
from lockstep.environment.catalogue.packages.ownership import Ownership
from lockstep.environment.catalogue.packages.record import row_hash
from lockstep.environment.document import Package
from lockstep.environment.tree import FileTree, UnreadableFileError
from lockstep.formats.canonical import canonical_json, sha256_of

HARMLESS = frozenset(
    {
        # Debian's and Ubuntu's sitecustomize.py: imports apport's crash handler where that is installed.
        "sha256:43d81125d92376b1a69d53a71126a041cc9a18d8080e92dea0a2ae23be138b1e",
        # _virtualenv.py of virtualenv 20 and 21, and of uv: keeps distutils' configuration from moving installs.
        "sha256:0f20351ea7e90039c46d3fabdef991f28b1e3ff33eb13ee6f0d5cd21ea0e8b14",
        "sha256:07584d2a5d13e0811eb567d78ed2aca0fb60e7defff59a01ca7a48d907bdea51",
        "sha256:6cf30c56faf2a55228914dbbd17f8088ed371ebb08f5e7fa6fd931f913fcaf1d",
    }
)
"""Hooks that change no prediction, by what is in them and never by name."""
PRELOAD = "/etc/ld.so.preload"
"""Names libraries that the dynamic linker loads into every program before its own."""
_VIRTUALENV = "sha256:69ac3d8f27e679c81b94ab30b3b56e9cd138219b1ba94a1fa3606d5a76a1433d"
"""`import _virtualenv`: as harmless as the module that it imports."""
_WORD = r"[A-Za-z0-9_.]+"
# What setuptools writes for a namespace package (setuptools/namespaces.py): it makes a module and nothing else.
_NAMESPACE = re.compile(
    r"import sys, types, os;(?:has_mfs = sys\.version_info > \(3, 5\);)?"
    rf"p = os\.path\.join\((?:sys\._getframe\(1\)\.f_locals\['sitedir'\]), \*\('{_WORD}',(?: ?'{_WORD}',?)*\)\);"
    r"importlib = has_mfs and __import__\('importlib\.util'\);has_mfs and __import__\('importlib\.machinery'\);"
    rf"m = has_mfs and sys\.modules\.setdefault\('{_WORD}', importlib\.util\.module_from_spec\("
    rf"importlib\.machinery\.PathFinder\.find_spec\('{_WORD}', \[os\.path\.dirname\(p\)\]\)\)\);"
    rf"m = m or sys\.modules\.setdefault\('{_WORD}', types\.ModuleType\('{_WORD}'\)\);"
    r"mp = \(m or \[\]\) and m\.__dict__\.setdefault\('__path__',\[\]\);\(p not in mp\) and mp\.append\(p\)"
    rf"(?:;m and setattr\(sys\.modules\['{_WORD}'\], '{_WORD}', m\))?"
)


@dataclass(frozen=True)
class Startup:
    """Hooks that no distribution owns, by name with their digests; and by distribution the names of those that one owns."""

    digests: Mapping[str, str]
    owned: Mapping[str, tuple[str, ...]]


def startup(tree: FileTree, path: SearchPath, owners: Ownership) -> Startup:
    """Find the start-up hooks: `.pth` files that run code, sitecustomize and usercustomize, libraries that every program loads.

    Harmless ones are left out.

    Raises:
        UnreadableFileError: a hook can't be read.
    """
    digests: dict[str, str] = {}
    owned: dict[str, list[str]] = {}
    if (preloaded := _preload_digest(tree)) is not None:
        digests[PRELOAD] = preloaded
    for name, file, digest in (*_path_files(tree, path), *_customizations(tree, path)):
        row = owners.row(file)
        # A file that is not the one that its distribution brought is nobody's.
        owner = owners.owner(file, file.rpartition("/")[0]) if row is not None and row.hash == row_hash(digest) else None
        if owner is not None:
            owned.setdefault(owner.package.name, []).append(name)
        else:
            # Hooks of one name in several directories all run.
            digests[name if name not in digests else file] = digest
    return Startup(digests, {package: tuple(sorted(names)) for package, names in owned.items()})


def with_hooks(packages: Sequence[Package], hooks: Startup) -> tuple[Package, ...]:
    """Return the packages, each with the names of the hooks that it brings."""
    return tuple(
        Package(**dict(package) | {"startup": hooks.owned[package.name]}) if package.name in hooks.owned else package
        for package in packages
    )


def _path_files(tree: FileTree, path: SearchPath) -> Iterator[tuple[str, str, str]]:
    for site in path.site:
        for name in tree.listdir(site):
            file = f"{site.rstrip('/')}/{name}"
            if not name.endswith(".pth") or name.startswith("."):
                continue
            lines = [line for line in _lines(tree.read(file) or b"") if line.startswith(("import ", "import\t"))]
            digest = tree.sha256(file)
            if not lines or digest is None or all(_NAMESPACE.fullmatch(line) for line in lines):
                continue
            if digest != _VIRTUALENV:
                yield name, file, digest
                continue
            module = Finder(tree, path.entries, path.series).top_levels(site).get("_virtualenv")
            module_digest = tree.sha256(module.file) if module is not None else digest
            if module_digest is not None and module_digest not in HARMLESS:
                yield name, file, module_digest


def _preload_digest(tree: FileTree) -> str | None:
    """Return a digest over the libraries that ld.so.preload names, by path and content; None where it names none (ld.so(8))."""
    names = re.split(r"[ \t\n:]+", (tree.read(PRELOAD) or b"").decode("utf-8", "surrogateescape"))
    named = [name for name in names if name]
    if not named:
        return None
    return sha256_of(canonical_json([[ascii(name), _content(tree, name)] for name in named]))


def _content(tree: FileTree, name: str) -> str | None:
    try:
        return tree.sha256(name) if name.startswith("/") else None
    except UnreadableFileError:
        # Its name alone is a difference from a training that preloads nothing.
        return None


def _lines(body: bytes) -> list[str]:
    return [line.rstrip() for line in body.decode("utf-8-sig", "replace").splitlines()]


def _customizations(tree: FileTree, path: SearchPath) -> Iterator[tuple[str, str, str]]:
    """Yield the modules that site imports at its end; the script's directory is not on the path by then."""
    wanted = [name for name, taken in (("sitecustomize", path.customized), ("usercustomize", path.user_customized)) if taken]
    for name in wanted:
        module = _find_first(tree, path.early, path.series, name)
        digest = tree.sha256(module.file) if module is not None else None
        if module is not None and digest is not None and digest not in HARMLESS:
            yield module.path, module.file, digest


def _find_first(tree: FileTree, entries: Sequence[str], series: str, name: str) -> Module | None:
    finder = Finder(tree, entries, series)
    return next((module for entry in entries if (module := finder.top_level(entry, name)) is not None), None)
