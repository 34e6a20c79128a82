"""Compares the training environment with the image's, and says what differs as a person would."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from lockstep.api.environmentspec import EnvironmentSpec, LibcRule, LocalVersions, StartupRule
from lockstep.environment.catalogue.python.startup import PRELOAD
from lockstep.environment.comparison.projection import (
    RequiredSetError,
    Scope,
    compared_packages,
    edited_files,
    environment_digest,
    own_code,
    package_facts,
    python_level,
    settle_scope,
    shown_version,
    system_packages,
    unowned_digest,
)
from lockstep.environment.comparison.versions import compared_version
from lockstep.environment.document import UNDETERMINED, BytecodeKind, EnvironmentDocument, LibraryKind, Package
from lockstep.environment.frameworks import FRAMEWORK_MODULES

__all__ = ["Comparison", "Difference", "DifferenceKind", "RequiredSetError", "compare"]


_NAMED = 3
"""So many of a package's changed files are named in a sentence."""


class DifferenceKind(StrEnum):
    """What differs; declared most decisive first."""

    PYTHON = "Python"
    PLATFORM = "Platform"
    STARTUP = "Startup"
    PACKAGE = "Package"
    LIBRARY = "Library"
    CODE = "Code"
    SYSTEM = "System"


@dataclass(frozen=True)
class Difference:
    """One difference between the training environment and the image's."""

    kind: DifferenceKind
    subject: str
    trained: str | None
    """What the training run had; None when it had none, or nothing that has a value, as with libraries."""
    image: str | None
    """What the image has; None when it has none."""
    sentence: str


@dataclass(frozen=True)
class Comparison:
    """Both environment digests, and the differences, most decisive first."""

    trained_digest: str
    image_digest: str
    differences: tuple[Difference, ...]
    compared: int
    """How many packages were compared."""
    notes: tuple[str, ...] = ()
    """What a person should know and nothing depends on."""

    @property
    def equal(self) -> bool:
        """Whether no compared fact differs."""
        return not self.differences


def compare(trained: EnvironmentDocument, image: EnvironmentDocument, spec: EnvironmentSpec) -> Comparison:
    """Compare two documents under a policy's rules.

    Raises:
        RequiredSetError: the policy demands a proven set of required packages, and the document has none.
    """
    scope = settle_scope(trained, image, spec)
    differences = [
        *_compare_python(trained, image, spec),
        *_compare_platform(trained, image, spec),
        *_compare_cuda(trained, image, scope),
        *_compare_startup(trained, image, scope),
        *_compare_packages(trained, image, scope, spec),
        *_compare_libraries(scope),
        *_compare_code(trained, image, scope, spec),
        *_compare_unowned(trained, image, scope),
        *_compare_bytecode(trained, image, scope),
        *_compare_library(trained, image, scope),
        *_compare_edited(trained, image, scope),
        *_compare_rebuilt(image, scope),
        *_compare_system(trained, image, scope),
    ]
    order = list(DifferenceKind)
    return Comparison(
        trained_digest=environment_digest(trained, scope, spec),
        image_digest=environment_digest(image, scope, spec),
        differences=tuple(sorted(differences, key=lambda d: (order.index(d.kind), d.subject != _framework_name(trained, d)))),
        compared=len(scope.packages),
        notes=tuple(_notes(trained, image, scope, spec)),
    )


def _framework_name(trained: EnvironmentDocument, difference: Difference) -> str | None:
    """Name the difference's subject when it is a framework that models are made with: it is said first."""
    return difference.subject if difference.subject in FRAMEWORK_MODULES else None


def _compare_python(trained: EnvironmentDocument, image: EnvironmentDocument, spec: EnvironmentSpec) -> Iterator[Difference]:
    theirs, ours = trained.python, image.python
    if theirs.implementation != ours.implementation:
        was, has = f"{theirs.implementation} {theirs.version}", f"{ours.implementation} {ours.version}"
    elif python_level(theirs.version, spec) != python_level(ours.version, spec):
        was, has = theirs.version, ours.version
    else:
        return
    yield Difference(DifferenceKind.PYTHON, "python", was, has, f"Python: trained with {was}, image has {has}")


def _compare_platform(trained: EnvironmentDocument, image: EnvironmentDocument, spec: EnvironmentSpec) -> Iterator[Difference]:
    theirs, ours = trained.platform, image.platform
    for subject, was, has in (("os", theirs.os, ours.os), ("machine", theirs.machine, ours.machine)):
        if was != has:
            sentence = f"{subject}: trained on {was}, image is for {has}"
            yield Difference(DifferenceKind.PLATFORM, subject, was, has, sentence)
    if spec.libc is LibcRule.NOT_OLDER and theirs.libc is not None and _is_older(theirs.libc, ours.libc):
        has = ours.libc or "no C library that could be determined"
        sentence = f"libc: trained with {theirs.libc}, image has {has}, which must be of the same family and not older"
        yield Difference(DifferenceKind.PLATFORM, "libc", theirs.libc, ours.libc, sentence)


def _compare_cuda(trained: EnvironmentDocument, image: EnvironmentDocument, scope: Scope) -> Iterator[Difference]:
    for field in sorted(scope.cuda):
        was, has = getattr(trained.cuda, field, None), getattr(image.cuda, field, None)
        if was != has:
            subject = {"runtime": "CUDA runtime", "cudnn": "cuDNN"}[field]
            sentence = f"{subject}: trained with {was}, image has {has} (environment.accelerator: Any compares neither)"
            yield Difference(DifferenceKind.PLATFORM, subject, was, has, sentence)


def _is_older(trained: str, image: str | None) -> bool:
    if image is None:
        return True
    (family, _, was), (other, _, has) = trained.partition(" "), image.partition(" ")
    return family != other or _numbers(has) < _numbers(was)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _compare_startup(trained: EnvironmentDocument, image: EnvironmentDocument, scope: Scope) -> Iterator[Difference]:
    for name in sorted(scope.startup):
        was, has = (trained.startup or {}).get(name), (image.startup or {}).get(name)
        if was == has:
            continue
        if was is None:
            how = "is only in the image"
        elif has is None:
            how = "was there in training and is missing in the image"
        else:
            how = f"is another file in the image ({_short(has)}) than in training ({_short(was)})"
        what = f"{name}, which preloads libraries into every program," if name == PRELOAD else f"start-up hook {name}"
        yield Difference(DifferenceKind.STARTUP, name, was, has, f"{what} {how}")


def _compare_packages(
    trained: EnvironmentDocument, image: EnvironmentDocument, scope: Scope, spec: EnvironmentSpec
) -> Iterator[Difference]:
    theirs, ours = compared_packages(trained, spec, scope.apart), compared_packages(image, spec, scope.apart)
    for name in sorted(scope.packages):
        was, has = theirs.get(name), ours.get(name)
        if package_facts(was, name, scope, spec) != package_facts(has, name, scope, spec):
            yield _package_difference(name, was, has, scope, spec)


def _package_difference(name: str, was: Package | None, has: Package | None, scope: Scope, spec: EnvironmentSpec) -> Difference:
    trained = shown_version(was, scope, name) if was else None
    image = shown_version(has, scope, name) if has else None
    if was is None:
        sentence = f"{name}: image has {image}, training had none"
    elif has is None:
        sentence = f"{name}: trained with {trained}, missing in the image"
    elif trained != image:
        sentence = f"{name}: trained with {trained}, image has {image}"
        if _differ_only_in_local_label(was.version, has.version, spec):
            sentence += " (they differ in the local label only: environment.packages.localVersions, or accelerator: Any)"
    else:
        sentence = f"{name} {trained} has other content in the image than the wheel that trained{_describe_changes(was, has)}"
    return Difference(DifferenceKind.PACKAGE, name, trained, image, sentence)


def _describe_changes(was: Package, has: Package) -> str:
    """Say which side's files are not those of its wheel, and which files."""
    whose, package = ("", has) if has.changed else ("in training ", was)
    if not package.changed:
        return ""
    count = package.changed_count or len(package.changed)
    named = ", ".join(package.changed[:_NAMED]) + (", …" if count > _NAMED else "")
    return f" ({whose}{count} {'file differs' if count == 1 else 'files differ'}: {named})"


def _differ_only_in_local_label(was: str, has: str, spec: EnvironmentSpec) -> bool:
    """Return whether two versions differ in their local labels and in nothing else."""
    without = spec.packages.model_copy(update={"local_versions": LocalVersions.IGNORE})
    relaxed = spec.model_copy(update={"packages": without})
    differ = compared_version(was, spec) != compared_version(has, spec)
    return differ and compared_version(was, relaxed) == compared_version(has, relaxed)


def _compare_libraries(scope: Scope) -> Iterator[Difference]:
    """Name each shared library once, with all packages that need it."""
    needing: dict[str, list[str]] = {}
    for package, names in sorted(scope.libraries.items()):
        for name in names:
            needing.setdefault(name, []).append(package)
    for name, packages in sorted(needing.items()):
        who = f"{', '.join(packages)} {'needs' if len(packages) == 1 else 'need'} it"
        if name.startswith(UNDETERMINED):
            subject, image = name.removeprefix(UNDETERMINED), "undetermined"
            sentence = f"which libraries {subject} needs is {image} in the image ({who})"
        else:
            subject, image = name, "missing"
            sentence = f"{subject} is {image} in the image ({who})"
        yield Difference(DifferenceKind.LIBRARY, subject, None, image, sentence)


def _compare_code(
    trained: EnvironmentDocument, image: EnvironmentDocument, scope: Scope, spec: EnvironmentSpec
) -> Iterator[Difference]:
    packages = compared_packages(image, spec, scope.apart)
    compared = {package.name for name, package in packages.items() if name in scope.packages}
    theirs, ours = own_code(trained), own_code(image)
    shadows = {shadow.module: (name, shadow) for name, shadow in (image.shadows or {}).items()}
    for path in sorted(scope.code):
        was, has = theirs.get(path), ours.get(path)
        if was == has:
            continue
        if path in shadows:
            name, shadow = shadows[path]
            whose = "the installed package" if shadow.package is not None else "the standard library's module"
            sentence = f"{name}: {shadow.file} runs instead of {whose} in the image"
            if shadow.package is not None and shadow.package not in compared:
                sentence += f" ({shadow.package}, which is not compared: environment.packages.installed: Ignore allows it)"
            yield Difference(DifferenceKind.CODE, name, was, has, sentence)
        elif has is None:
            sentence = (
                f"{path} trained and is not among the image's own code: copy it to where the image's Python imports from, "
                "or install it from its directory or wheel file"
            )
            yield Difference(DifferenceKind.CODE, path, was, has, sentence)
        else:
            sentence = f"{path} is another file in the image ({has[7:19]}) than the one that trained ({_short(was)})"
            yield Difference(DifferenceKind.CODE, path, was, has, sentence)


def _compare_unowned(trained: EnvironmentDocument, image: EnvironmentDocument, scope: Scope) -> Iterator[Difference]:
    for path in sorted(scope.unowned):
        was, has = unowned_digest(trained, path), unowned_digest(image, path)
        if was != has:
            sentence = f"{path} is among the image's installed packages, none of them brought it, and training did not have it"
            yield Difference(DifferenceKind.CODE, path, was, has, sentence)


_WHY = {
    BytecodeKind.SOURCELESS: "it has none",
    BytecodeKind.UNCHECKED: "unchecked hash",
    BytecodeKind.STALE: "a later layer changed the source and kept its time and size",
}


def _compare_bytecode(trained: EnvironmentDocument, image: EnvironmentDocument, scope: Scope) -> Iterator[Difference]:
    for path in sorted(scope.bytecode):
        was, has = (trained.bytecode or {}).get(path), (image.bytecode or {}).get(path)
        if was != has and has is not None:
            yield Difference(DifferenceKind.CODE, path, was, has, f"{path} runs instead of its source ({_WHY[has]})")


NOT_ITS_OWN = "not its own"
"""What the image has in the place of a file of Python's own library."""
_ABOUT_LIBRARY = {
    LibraryKind.ADDED: "the package of the image's Python does not bring it",
    LibraryKind.CHANGED: "it is not the file that the package of the image's Python brought",
    LibraryKind.LATER: "a later layer than the one that brought Python added or changed it",
}


def _compare_library(trained: EnvironmentDocument, image: EnvironmentDocument, scope: Scope) -> Iterator[Difference]:
    theirs = trained.library or {}
    for path in sorted(path for path in scope.library if theirs.get(path) != (image.library or {})[path]):
        why = _ABOUT_LIBRARY[(image.library or {})[path]]
        sentence = f"{path} is among Python's own files, and {why} (environment.interpreterLibrary: Ignore allows it)"
        yield Difference(DifferenceKind.CODE, path, None, NOT_ITS_OWN, sentence)


def _compare_edited(trained: EnvironmentDocument, image: EnvironmentDocument, scope: Scope) -> Iterator[Difference]:
    differing = {name for name in scope.edited if edited_files(trained, name) != edited_files(image, name)}
    for package in image.packages:
        if package.name in differing and package.edited:
            count = package.edited_count or len(package.edited)
            named = ", ".join(package.edited[:_NAMED]) + (", …" if count > _NAMED else "")
            what = "1 file is not the one" if count == 1 else f"{count} files are not the ones"
            sentence = (
                f"{package.name} {package.version} is not as it was installed in the image: {what} that it brought ({named}); "
                "install it anew (environment.packages.installed: Ignore allows it)"
            )
            yield Difference(DifferenceKind.PACKAGE, package.name, package.version, package.version, sentence)


def _compare_rebuilt(image: EnvironmentDocument, scope: Scope) -> Iterator[Difference]:
    for package in image.packages:
        if package.name in scope.rebuilt:
            sentence = (
                f"{package.name} {package.version} has other files in the image than the wheel of that version which training "
                "had, although its RECORD names them: install it from the index "
                "(environment.packages.installed: Ignore allows it)"
            )
            yield Difference(DifferenceKind.PACKAGE, package.name, package.version, package.version, sentence)


def _short(digest: str | None) -> str:
    return digest[7:19] if digest else "none"


def _compare_system(trained: EnvironmentDocument, image: EnvironmentDocument, scope: Scope) -> Iterator[Difference]:
    theirs, ours = system_packages(trained.system), system_packages(image.system)
    for name in sorted(scope.system):
        was, has = theirs.get(name), ours.get(name)
        if was == has:
            continue
        if has is None:
            sentence = f"{name}: trained with {was}, missing in the image"
        elif was is None:
            sentence = f"{name}: image has {has}, training had none"
        else:
            sentence = f"{name}: trained with {was}, image has {has}"
        yield Difference(DifferenceKind.SYSTEM, name, was, has, sentence)


def _notes(trained: EnvironmentDocument, image: EnvironmentDocument, scope: Scope, spec: EnvironmentSpec) -> Iterator[str]:
    theirs, ours = compared_packages(trained, spec, scope.apart), compared_packages(image, spec, scope.apart)
    extras = [name for name in ours if name not in theirs]
    if extras:
        yield f"{len(extras)} packages are only in the image: {', '.join(sorted(extras)[:10])}"
    conda = [pattern for pattern in spec.system if pattern.startswith("conda:")]
    if conda and (trained.system.conda is None) != (image.system.conda is None):
        who = "the image" if trained.system.conda is None else "training"
        yield f"conda's packages are not compared: only {who} uses conda"
    if len(spec.system) > len(conda) and trained.system.distribution != image.system.distribution:
        yield (
            f"system packages are not compared: trained on {trained.system.distribution}, image is {image.system.distribution}"
        )
    if spec.startup is StartupRule.COMPARE and image.startup and trained.startup is None:
        yield "start-up hooks are not compared: the record does not state those of training"
    local = [n for n in scope.packages if n in theirs and (o := theirs[n].origin) and o.kind in ("editable", "directory")]
    if local:
        yield f"installed from a directory, so that the version says little: {', '.join(sorted(local))}"
