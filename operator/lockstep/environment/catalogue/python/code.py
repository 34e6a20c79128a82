"""Somebody's own code: the modules outside any distribution, and what they keep from running."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.path import SearchPath
from lockstep.environment.catalogue.packages.distributions import Installed
from lockstep.environment.catalogue.packages.modules import Finder, Kind, Module
from lockstep.environment.catalogue.packages.ownership import Ownership
from lockstep.environment.catalogue.python.startup import HARMLESS
from lockstep.environment.document import Shadow
from lockstep.environment.tree import FileKind, FileTree

MAX_MODULES = 10_000
"""So many modules of one's own an environment may have."""
HOOKS = frozenset({"sitecustomize", "usercustomize"})
"""Modules that run at start-up: they are compared as such."""
# Parts of the standard library that nothing imports, whose names are those of many a project's directories.
NEVER_IMPORTED = frozenset({"antigravity", "idlelib", "test", "this", "turtledemo"})


@dataclass(frozen=True)
class Code:
    """Digests of somebody's own modules by import path, and what own modules stand in the way of, by import name."""

    digests: Mapping[str, str]
    shadows: Mapping[str, Shadow]
    unowned: Mapping[str, str]
    """Digests by import path of those in site directories that no distribution brought."""


def own_code(
    tree: FileTree, path: SearchPath, modules: Iterable[Module], owners: Ownership, models: Sequence[str] = ()
) -> Code:
    """Find the modules on the path that belong to no distribution, or to one that came from a directory, file or repository.

    A wheel file's modules are left out where there are too many to be somebody's own: what is left out never passes, since
    whatever code training used has to be found.

    Args:
        tree: the root file system.
        path: the effective path.
        modules: the modules on that path.
        owners: whose files are whose.
        models: directories of logged models; their `code` is put on the path when they are loaded (MLflow's code_paths).

    Raises:
        CatalogueError: LimitExceeded.
        UnreadableFileError: a module can't be hashed.
    """
    own: dict[str, Module] = {}
    archives: dict[str, list[Module]] = {}
    unowned: list[Module] = []
    beside: list[Module] = []
    for module in modules:
        if module.entry in path.library or owners.is_owned_by_system(module.entry) or _is_no_code(module.path):
            continue
        owner = owners.owner(module.file, module.entry)
        if owner is None or (owner.package.origin is not None and owner.package.origin.kind != "archive"):
            own[module.path] = module
            _check_count(len(own))
        elif owner.package.origin is not None:
            archives.setdefault(owner.package.name, []).append(module)
        if owner is None and module.entry in path.site:
            unowned.append(module)
        elif owner is not None and (module.kind is Kind.EXTENSION or module.path.endswith("/__init__.py")):
            beside.append(module)
    for _, packaged in sorted(archives.items(), key=lambda item: (len(item[1]), item[0])):
        if len(own) + len(packaged) <= MAX_MODULES:
            own |= {module.path: module for module in packaged}
    folders = [f"{model.rstrip('/')}/code" for model in models]
    return Code(
        _with_models(tree, path, _digests(tree, own.values()), folders),
        _find_shadows_beside(tree, (*unowned, *beside), owners)
        | _find_shadows_on_path(tree, path, owners, [f for f in folders if _is_directory(tree, f)]),
        {path: digest for path, digest in _digests(tree, unowned).items() if digest not in HARMLESS},
    )


def _is_no_code(path: str) -> bool:
    top = path.partition("/")[0].partition(".")[0]
    # What editable installs write to find the code (PEP 660) is not the code.
    return top in HOOKS or top.startswith("__editable__")


def _check_count(count: int) -> None:
    if count > MAX_MODULES:
        message = f"there are more than {MAX_MODULES} modules outside any distribution on the interpreter's path"
        raise CatalogueError(Reason.LIMIT_EXCEEDED, message)


def _digests(tree: FileTree, modules: Iterable[Module]) -> dict[str, str]:
    return {module.path: digest for module in modules if (digest := tree.sha256(module.file)) is not None}


def _is_directory(tree: FileTree, folder: str) -> bool:
    resolved = tree.resolve(folder)
    return resolved is not None and tree.kind(resolved) is FileKind.DIRECTORY


def _with_models(tree: FileTree, path: SearchPath, base: dict[str, str], folders: Sequence[str]) -> dict[str, str]:
    """Put each model's code before the path. Which model is loaded is not known: what they disagree on is left out."""
    views: list[dict[str, str]] = []
    for folder in folders:
        modules: list[Module] = []
        for module in Finder(tree, [folder], path.series).modules():
            modules.append(module)
            _check_count(len(modules))
        brought = _digests(tree, modules)
        whole = {module.partition("/")[0].partition(".")[0] for module in brought if _is_in_regular_package(module, brought)}
        kept = {name: value for name, value in base.items() if name.partition("/")[0].partition(".")[0] not in whole}
        view = kept | brought
        _check_count(len(view))
        if view not in views:
            views.append(view)
    if not views:
        return base
    first, *others = views
    return {name: digest for name, digest in first.items() if all(view.get(name) == digest for view in others)}


def _is_in_regular_package(module: str, among: Mapping[str, str]) -> bool:
    """Return whether a module stands alone or in a regular package, not in a namespace package, whose parts may lie in many
    places.
    """
    top, slash, _ = module.partition("/")
    return not slash or any(f"{top}/__init__{suffix}" in among for suffix in (".py", ".so", ".pyc"))


def _find_shadows_beside(tree: FileTree, modules: Iterable[Module], owners: Ownership) -> dict[str, Shadow]:
    """Find modules that run instead of another's of the same name beside them: an extension instead of a package's source."""
    shadows: dict[str, Shadow] = {}
    for module in modules:
        folder, _, file = module.file.rpartition("/")
        base = f"{folder}/{file.partition('.')[0]}"
        hidden = [f"{base}.py", f"{base}/__init__.py"]
        if base.endswith("/__init__"):
            hidden.append(f"{folder}.py")
        owner = next((one for path in hidden if owners.row(path) and (one := owners.owner(path, module.entry))), None)
        if owner is None or _is_same_distribution(owner, owners.owner(module.file, module.entry)):
            continue
        if (digest := tree.sha256(module.file)) is not None:
            name = module.path.rpartition(".")[0].removesuffix("/__init__").replace("/", ".")
            shadows[name] = Shadow(file=module.file, module=module.path, sha256=digest, package=owner.package.name)
    return shadows


def _is_same_distribution(owner: Installed, other: Installed | None) -> bool:
    return other is not None and owner.package.name == other.package.name


def _find_shadows_on_path(tree: FileTree, path: SearchPath, owners: Ownership, models: Sequence[str]) -> dict[str, Shadow]:
    """Find modules that come on the path before an installed package's or the standard library's of their name.

    They are somebody's own, or another distribution's: who brings a directory of the path can claim what is in it.
    """
    finder = Finder(tree, path.entries, path.series)
    first: dict[str, tuple[Module, Installed | None]] = {}
    shadows: dict[str, Shadow] = {}
    for entry in (*models, *path.entries):
        for name, module in finder.top_levels(entry).items():
            if name in NEVER_IMPORTED or name in HOOKS:
                continue
            owner = owners.owner(module.file, module.entry)
            installed = owner is not None or owners.is_owned_by_system(entry) or entry in path.library
            before, its = first.setdefault(name, (module, owner))
            if before is module or not installed or before.entry in path.library or name in shadows:
                continue
            # One distribution in two places is known by the first; what the system brought is known by nobody.
            if owners.is_owned_by_system(before.entry) or (owner is not None and _is_same_distribution(owner, its)):
                continue
            digest = tree.sha256(before.file)
            package = owner.package.name if owner is not None else None
            if digest is not None and (its is None or owner is not None or entry in path.library):
                shadows[name] = Shadow(file=before.file, module=before.path, sha256=digest, package=package)
    return shadows
