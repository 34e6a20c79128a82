"""What a person who builds the image has to do about each kind of difference: advice that does not help is worse than none."""

from collections.abc import Iterator, Sequence

from lockstep.api.environmentspec import EnvironmentSpec
from lockstep.environment.comparison.compare import NOT_ITS_OWN, Difference, DifferenceKind
from lockstep.environment.comparison.projection import python_level
from lockstep.environment.comparison.sonames import debian_packages

_NAMED = 5


def new_tag_advice(reference: str) -> str:
    """Return what to know before an image is pushed again under the same tag; empty where the reference names a digest."""
    return "" if "@" in reference else "push it under a new tag, or raise spec.retry: a tag is resolved once"


def image_step(differences: Sequence[Difference], rules: EnvironmentSpec, *, model: str, reference: str) -> str:
    """Return the next step for an image whose environment differs.

    Args:
        differences: at least one.
        rules: those of the comparison.
        model: `models:/NAME/VERSION`.
        reference: the image as the manifest names it.
    """
    by_kind: dict[DifferenceKind, list[Difference]] = {}
    for difference in differences:
        by_kind.setdefault(difference.kind, []).append(difference)
    steps = [step for kind, found in by_kind.items() for step in _steps(kind, found, rules)]
    again = new_tag_advice(reference)
    lock = f"lockstep environment lock {model}"
    if any(_is_locked(difference) for difference in by_kind.get(DifferenceKind.PACKAGE, ())):
        # Last, so that the command can be copied.
        steps = [*steps, *([again] if again else []), f"build it from the recorded environment: {lock}"]
    elif again:
        steps.append(again)
    return "Next step (image): " + "; ".join(steps)


def _steps(kind: DifferenceKind, found: Sequence[Difference], rules: EnvironmentSpec) -> Iterator[str]:
    if kind is DifferenceKind.PYTHON:
        yield f"take a base image with Python {_python(found[0].trained or '', rules)}, which no lock changes"
    elif kind is DifferenceKind.PLATFORM:
        yield from (_platform(difference) for difference in found)
    elif kind is DifferenceKind.LIBRARY:
        yield from _libraries(found)
    elif kind in (DifferenceKind.CODE, DifferenceKind.STARTUP):
        yield from _files(found, "start-up hook" if kind is DifferenceKind.STARTUP else "file")
    elif kind is DifferenceKind.SYSTEM:
        yield from _system(found)
    else:
        yield from _packages(found)


def _python(trained: str, rules: EnvironmentSpec) -> str:
    """Return the version that has to be equal, and the implementation's name where that differs too."""
    name, _, version = trained.rpartition(" ")
    return f"{python_level(version, rules)} ({name})" if name else python_level(version, rules)


def _platform(difference: Difference) -> str:
    if difference.subject == "libc":
        return f"take a base image with {difference.trained} or newer"
    if difference.subject in ("os", "machine"):
        return f"build it for {difference.trained}"
    if difference.trained is None:
        return f"take a base image without {difference.subject}, as in training"
    return f"take a base image with {difference.subject} {difference.trained}"


def _libraries(found: Sequence[Difference]) -> Iterator[str]:
    missing = [difference.subject for difference in found if difference.image == "missing"]
    if missing:
        named = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
        known = debian_packages(missing)
        how = f" (on Debian and Ubuntu: apt-get install {' '.join(known)})" if known else ""
        yield f"install the system package that has {named}{how}"
    if len(missing) < len(found):
        yield "install again the package whose libraries can't be read"


def _files(found: Sequence[Difference], what: str) -> Iterator[str]:
    if lacking := _subjects(difference for difference in found if difference.image is None):
        more = ", or log the model with code_paths" if what == "file" else ""
        yield f"copy {lacking} to where the image's Python imports from{more}"
    if own := _subjects(difference for difference in found if difference.image == NOT_ITS_OWN):
        yield f"leave Python's own library as the base image has it: {own}"
    extra = (difference for difference in found if difference.trained is None and difference.image != NOT_ITS_OWN)
    if added := _subjects(extra):
        yield f"remove the {what} {added}, which training did not have"
    if other := _subjects(difference for difference in found if None not in (difference.trained, difference.image)):
        yield f"put the {what} {other} of training in its place"


def _system(found: Sequence[Difference]) -> Iterator[str]:
    wanted = [difference for difference in found if difference.trained is not None]
    conda = [d for d in wanted if d.subject.startswith("conda:")]
    if len(conda) < len(wanted):
        versions = " ".join(f"{d.subject}={d.trained}" for d in wanted if d not in conda)
        yield f"install the system packages of training (on Debian and Ubuntu: apt-get install {versions})"
    if conda:
        versions = " ".join(f"'{d.subject.removeprefix('conda:')}={(d.trained or '').replace(' ', '=')}'" for d in conda)
        yield f"install conda's packages of training: conda install {versions}"
    if added := _subjects(difference for difference in found if difference.trained is None):
        yield f"remove the system packages {added}, which training did not have"


def _packages(found: Sequence[Difference]) -> Iterator[str]:
    if added := _subjects(difference for difference in found if difference.trained is None):
        yield f"remove {added}, or ask the platform team to list it (environment.packages.listedExtras)"
    if edited := _subjects(d for d in found if d.trained is not None and d.trained == d.image):
        yield f"install {edited} again from its wheel, that of training where training had it, and leave its files as they are"


def _is_locked(difference: Difference) -> bool:
    """Return whether the recorded environment's lock corrects a package: another version, or none."""
    return difference.trained is not None and difference.trained != difference.image


def _subjects(differences: Iterator[Difference]) -> str:
    names = [difference.subject for difference in differences]
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
