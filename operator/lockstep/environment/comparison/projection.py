"""The part of a document that a policy compares, and its digest: the environment digest."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase

from packaging.utils import canonicalize_name

from lockstep.api.environmentspec import (
    AcceleratorRule,
    BytecodeRule,
    EnvironmentSpec,
    Extras,
    InstalledRule,
    InterpreterLibrary,
    PackagesLevel,
    PackagesScope,
    PythonLevel,
    StartupRule,
    Unowned,
    UnprovenRequiredSet,
)
from lockstep.environment.catalogue.packages.intact import NOBODYS
from lockstep.environment.comparison.companions import companions
from lockstep.environment.comparison.versions import compared_name, compared_version
from lockstep.environment.document import Cuda, EnvironmentDocument, Package, RequiredProof, Shadow, System
from lockstep.formats.canonical import canonical_json, sha256_of

SCHEMA = "lockstep.dev/environment-projection/v1"
# Servers such as MLServer load MLflow's models without MLflow: it counts only where the image has it.
_ONLY_WHERE_PRESENT = ("mlflow", "mlflow-skinny", "mlflow-tracing")
# Frameworks that compute with the CUDA libraries they find, and the wheels that bring these along.
_CUDA_FRAMEWORKS = ["torch", "tensorflow", "tensorflow-gpu", "jax", "jaxlib", "onnxruntime-gpu", "paddlepaddle-gpu", "cupy-*"]
_CUDA_WHEELS = {"runtime": "nvidia-cuda-runtime*", "cudnn": "nvidia-cudnn*"}
# The graphics driver's own libraries belong to the node's kernel module: the NVIDIA Container Toolkit puts them into the
# container when it starts, so no image has them, and training may have had them.
_OF_THE_DRIVER = (
    "libcuda.so*",
    "libcudadebugger.so*",
    "libnvcuvid.so*",
    "libnvidia-*.so*",
    "libnvoptix.so*",
    "lib*_nvidia.so*",
)


class RequiredSetError(ValueError):
    """The policy demands a proven set of required packages, and the document has none."""

    def __init__(self, proof: RequiredProof) -> None:
        super().__init__(str(proof))
        self.proof = proof


@dataclass(frozen=True)
class Scope:
    """Which facts are compared: settled once for both sides, so that their digests can be equal."""

    packages: frozenset[str]
    apart: frozenset[str]
    """Packages that are compared under their own names, whatever accelerators the policy equates: a side has several
    that would be compared under one name."""
    contents: frozenset[str]
    """Packages whose contents are compared: the policy asks for it and both sides have the same kind of wheel."""
    changed: frozenset[str]
    """Packages whose contents can't be compared, of which the image has files that are not those of its wheel."""
    commits: frozenset[str]
    """Packages that at least one side installed from version control."""
    system: frozenset[str]
    """Names as `system_packages` gives them."""
    cuda: frozenset[str]
    """Fields of `Cuda`."""
    code: frozenset[str]
    """Import paths: those of the code that trained, and those that in the image run instead of something compared."""
    unowned: frozenset[str]
    """Import paths of the image's modules that no package brought, where they count."""
    bytecode: frozenset[str]
    """Paths of the image's byte code that runs instead of its source, where that counts."""
    library: frozenset[str]
    """Paths of what in the library of the image's interpreter is not its own, where that counts."""
    edited: frozenset[str]
    """The image's packages, compared or not, that have files which are not those that they brought, where that counts."""
    rebuilt: frozenset[str]
    """Packages of one version and one kind of wheel on both sides whose files differ although each side's RECORD is true of
    them, where that counts."""
    startup: frozenset[str]
    """Names of start-up hooks, those of both sides."""
    libraries: Mapping[str, tuple[str, ...]]
    """Of each package whose image lacks some, the shared libraries that training did not lack. One that training lacked
    too is none that predictions need, and one that only the image has is no fault."""


Names = Mapping[str, Package]


def _find_packages_kept_apart(
    trained: EnvironmentDocument, image: EnvironmentDocument, spec: EnvironmentSpec
) -> frozenset[str]:
    """Return the packages to keep apart: where `tensorflow` and `tensorflow-cpu` are both installed, which one runs can't be
    determined.
    """
    apart: set[str] = set()
    everyone = {package.name for document in (trained, image) for package in document.packages}
    for document in (trained, image):
        names = [name for package in document.packages if (name := compared_name(package.name, spec)) is not None]
        several = {name for name, count in Counter(names).items() if count > 1}
        apart |= {name for name in everyone if compared_name(name, spec) in several}
    return frozenset(apart)


def _comparison_name(name: str, spec: EnvironmentSpec, apart: Set[str]) -> str | None:
    return name if name in apart else compared_name(name, spec)


def compared_packages(document: EnvironmentDocument, spec: EnvironmentSpec, apart: Set[str]) -> dict[str, Package]:
    """Return a document's packages by the name under which they are compared, ignored ones left out.

    Args:
        document: one side.
        spec: the policy's rules.
        apart: packages that go by their own names (`Scope.apart`).
    """
    packages: dict[str, Package] = {}
    for package in document.packages:
        name = _comparison_name(package.name, spec, apart)
        if name is not None and not matches(name, spec.packages.ignore):
            packages[name] = package
    return packages


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a name matches one of some wildcard patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def settle_scope(trained: EnvironmentDocument, image: EnvironmentDocument, spec: EnvironmentSpec) -> Scope:
    """Settle what is compared.

    Raises:
        RequiredSetError: the policy blocks what is not proven.
    """
    apart = _find_packages_kept_apart(trained, image, spec)
    theirs, ours = compared_packages(trained, spec, apart), compared_packages(image, spec, apart)
    wanted = _packages_in_scope(trained, theirs, spec, apart)
    wanted = {name for name in wanted if name in ours or name not in _ONLY_WHERE_PRESENT}
    wanted |= _implied_packages(wanted, theirs, ours, spec, hooks_recorded=trained.startup is not None)
    if spec.packages.extras is not Extras.ALLOW:
        allowed = spec.packages.listed_extras if spec.packages.extras is Extras.LISTED else []
        wanted |= {name for name in ours if name not in theirs and not matches(name, allowed)}
    both = {name for name in wanted if name in theirs and name in ours}
    content = spec.packages.level is PackagesLevel.CONTENT
    intact = spec.packages.installed is InstalledRule.INTACT
    contents = frozenset(name for name in both if content and comparable_content(theirs[name], ours[name]))
    return Scope(
        packages=frozenset(wanted),
        apart=apart,
        contents=contents,
        changed=frozenset(name for name in both if content and _has_incomparable_changes(theirs[name], ours[name])),
        commits=frozenset(name for name in both if _commit(theirs[name]) or _commit(ours[name])),
        system=frozenset(name for name in _system_names(trained.system, image.system) if matches(name, spec.system)),
        cuda=frozenset(_compared_cuda_fields(trained.cuda, image.cuda, wanted, spec)),
        code=frozenset(trained.code) | {shadow.module for shadow in _counted_shadows(image, wanted, ours, every=intact)},
        unowned=_unowned_modules(image, spec),
        bytecode=frozenset(image.bytecode or ()) if spec.bytecode is BytecodeRule.DENY else frozenset(),
        library=_foreign_library_files(image, spec),
        edited=frozenset(_edited_packages(trained, image, spec)),
        rebuilt=frozenset(_rebuilt_packages(trained, image, spec)) - contents,
        startup=_compared_hooks(trained, image, spec),
        libraries={
            name: lacking for name in sorted(wanted) if (lacking := _missing_libraries(theirs.get(name), ours.get(name)))
        },
    )


def system_packages(system: System) -> dict[str, str]:
    """Return a system's packages by the name under which policies know them: conda's are `conda:libopenblas`."""
    return system.packages | {f"conda:{name}": version for name, version in (system.conda or {}).items()}


def _system_names(trained: System, image: System) -> set[str]:
    """Return the names that both sides could have: packages of one distribution, and those of conda where both use it."""
    names: set[str] = set()
    if trained.distribution == image.distribution:
        names |= trained.packages.keys() | image.packages.keys()
    if trained.conda is not None and image.conda is not None:
        names |= {f"conda:{name}" for name in trained.conda.keys() | image.conda.keys()}
    return names


def _compared_cuda_fields(trained: Cuda | None, image: Cuda | None, wanted: set[str], spec: EnvironmentSpec) -> Iterator[str]:
    if spec.accelerator is not AcceleratorRule.SAME or not any(matches(name, _CUDA_FRAMEWORKS) for name in wanted):
        return
    for field, wheel in _CUDA_WHEELS.items():
        # Where a wheel brings it, it is compared as a package.
        if getattr(trained, field, None) and getattr(image, field, None) and not any(fnmatchcase(n, wheel) for n in wanted):
            yield field


def _missing_libraries(trained: Package | None, image: Package | None) -> tuple[str, ...]:
    missing_in_training = set(trained.missing) if trained is not None else set()
    missing = image.missing if image is not None else ()
    return tuple(sorted(name for name in set(missing) - missing_in_training if not matches(name, _OF_THE_DRIVER)))


def _foreign_library_files(image: EnvironmentDocument, spec: EnvironmentSpec) -> frozenset[str]:
    return frozenset(image.library or ()) if spec.interpreter_library is InterpreterLibrary.INTACT else frozenset()


def _edited_packages(trained: EnvironmentDocument, image: EnvironmentDocument, spec: EnvironmentSpec) -> Iterator[str]:
    """Yield the packages, by their own names, that are not as they were installed; training may have the same edited ones."""
    if spec.packages.installed is InstalledRule.INTACT:
        theirs = {package.name: package for package in trained.packages}
        for package in image.packages:
            was = theirs.get(package.name)
            same = was is not None and package.content is not None and was.content == package.content
            if package.edited and not (same and set(package.edited) <= set(package.changed or ())):
                yield package.name


def _rebuilt_packages(trained: EnvironmentDocument, image: EnvironmentDocument, spec: EnvironmentSpec) -> Iterator[str]:
    if spec.packages.installed is not InstalledRule.INTACT:
        return
    # conda builds its packages itself, and changes files when it installs them.
    conda = {canonicalize_name(name) for side in (trained, image) for name in side.system.conda or ()}
    theirs = {package.name: package for package in trained.packages}
    for package in image.packages:
        was = theirs.get(package.name)
        if was is None or was.version != package.version or package.name in conda:
            continue
        # What is not as the RECORD states is named apart, so that it is enough to compare what the two state.
        if was.files and package.files and was.files != package.files and _same_wheel(was, package):
            yield package.name


def _same_wheel(one: Package, other: Package) -> bool:
    """Return whether two packages came from an index as the same kind of wheel, and none that was built on its machine."""
    portable = all(tag.rpartition("-")[2].startswith(("any", "manylinux", "musllinux")) for tag in one.tags)
    return bool(one.tags) and one.tags == other.tags and portable and one.origin is None and other.origin is None


def _unowned_modules(image: EnvironmentDocument, spec: EnvironmentSpec) -> frozenset[str]:
    if spec.packages.unowned is Unowned.ALLOW:
        return frozenset()
    return frozenset(path for path in image.unowned or () if not matches(path, spec.packages.allowed_unowned))


def unowned_digest(document: EnvironmentDocument, path: str) -> str | None:
    """Return the digest of a module that no package brought; in training it is among the code."""
    return (document.unowned or {}).get(path) or document.code.get(path)


def _compared_hooks(trained: EnvironmentDocument, image: EnvironmentDocument, spec: EnvironmentSpec) -> frozenset[str]:
    if spec.startup is StartupRule.IGNORE or trained.startup is None or image.startup is None:
        return frozenset()
    return frozenset(trained.startup) | frozenset(image.startup)


def _counted_shadows(image: EnvironmentDocument, wanted: set[str], ours: Names, *, every: bool) -> list[Shadow]:
    # Shadows know packages by their own names.
    names = {package.name for name, package in ours.items() if name in wanted}
    return [
        shadow
        for name, shadow in (image.shadows or {}).items()
        if shadow.package is None or shadow.package in names or (every and name not in NOBODYS)
    ]


def own_code(document: EnvironmentDocument) -> dict[str, str]:
    """Return the digests of a document's own code by import path, that which runs instead of installed modules included."""
    return document.code | {shadow.module: shadow.sha256 for shadow in (document.shadows or {}).values()}


def _implied_packages(wanted: set[str], theirs: Names, ours: Names, spec: EnvironmentSpec, *, hooks_recorded: bool) -> set[str]:
    """Return what changes predictions without being required: hooks, accelerators and plugins, on either side.

    A record that does not state its start-up hooks (`hooks_recorded`) says nothing about those that only the image has.
    """
    implied = companions(wanted, theirs) | companions(wanted, ours)
    if spec.startup is StartupRule.COMPARE:
        implied |= {name for side in (theirs, ours) for name, package in side.items() if package.startup}
    return implied if hooks_recorded else implied & theirs.keys()


def _packages_in_scope(trained: EnvironmentDocument, packages: Names, spec: EnvironmentSpec, apart: Set[str]) -> set[str]:
    if spec.packages.scope is PackagesScope.ALL:
        return set(packages)
    # A set that is empty compares nothing, whatever is claimed to prove it: nothing compared is nothing known.
    if trained.required and trained.required_proof is RequiredProof.PROVEN:
        names = {_comparison_name(name, spec, apart) for name in trained.required}
        return {name for name in names if name is not None and not matches(name, spec.packages.ignore)}
    if spec.packages.unproven_required_set is UnprovenRequiredSet.BLOCK:
        raise RequiredSetError(trained.required_proof or RequiredProof.UNPROVEN)
    return set(packages)


def comparable_content(trained: Package, image: Package) -> bool:
    """Return whether two packages are the same kind of wheel, so that their contents can be compared."""
    return bool(trained.content and image.content and trained.tags and trained.tags == image.tags)


def _has_incomparable_changes(trained: Package, image: Package) -> bool:
    return image.changed is not None and not comparable_content(trained, image)


def _commit(package: Package) -> str | None:
    return package.origin.commit if package.origin is not None else None


def shown_version(package: Package, scope: Scope, name: str) -> str:
    """Return a package's version as people read it, with its commit where that counts."""
    commit = _commit(package)
    return f"{package.version} at commit {commit[:12]}" if commit and name in scope.commits else package.version


def package_facts(package: Package | None, name: str, scope: Scope, spec: EnvironmentSpec) -> list[str] | None:
    """Return what of a package has to be equal; None where a side has none."""
    if package is None:
        return None
    facts = [compared_version(package.version, spec)]
    if name in scope.contents:
        facts.append(f"content={package.content}")
    if name in scope.changed:
        facts.append(f"changed={package.changed_count}: {package.changed}")
    if name in scope.commits:
        facts.append(f"commit={_commit(package)}")
    return facts


def edited_files(document: EnvironmentDocument, name: str) -> list[str] | None:
    """Return what is known of a package's files that are not those that it brought; None where it has none."""
    package = next((one for one in document.packages if one.name == name), None)
    if package is None or not package.edited:
        return None
    return [str(package.edited_count), str(package.content), *package.edited]


def _files_digest(document: EnvironmentDocument, name: str) -> str | None:
    return next((package.files for package in document.packages if package.name == name), None)


def _missing_among(package: Package | None, libraries: Sequence[str]) -> list[str]:
    missing = package.missing if package is not None else ()
    return [name for name in libraries if name in missing]


def python_level(version: str, spec: EnvironmentSpec) -> str:
    """Return the part of Python's version that has to be equal."""
    return ".".join(version.split(".")[:2]) if spec.python is PythonLevel.MINOR else version


def environment_digest(document: EnvironmentDocument, scope: Scope, spec: EnvironmentSpec) -> str:
    """Return the digest over what of a document has to be equal under a policy."""
    packages = compared_packages(document, spec, scope.apart)
    system = system_packages(document.system)
    code = own_code(document)
    facts = {
        "schema": SCHEMA,
        "rules": spec.payload(),
        "python": [document.python.implementation, python_level(document.python.version, spec)],
        "platform": [document.platform.os, document.platform.machine],
        "packages": {name: package_facts(packages.get(name), name, scope, spec) for name in scope.packages},
        "system": {name: system.get(name) for name in scope.system},
        "cuda": {field: getattr(document.cuda, field, None) for field in scope.cuda},
        "unowned": {path: unowned_digest(document, path) for path in scope.unowned},
        "bytecode": {path: (document.bytecode or {}).get(path) for path in scope.bytecode},
        "library": {path: (document.library or {}).get(path) for path in scope.library},
        "edited": {name: edited_files(document, name) for name in scope.edited},
        "files": {name: _files_digest(document, name) for name in scope.rebuilt},
        "startup": {name: (document.startup or {}).get(name) for name in scope.startup},
        "code": {path: code.get(path) for path in scope.code},
        "missing": {name: _missing_among(packages.get(name), lacking) for name, lacking in scope.libraries.items()},
    }
    return sha256_of(canonical_json(facts))
