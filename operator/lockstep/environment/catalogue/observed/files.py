"""What processes run or could import that is not the image's: mapped files, and packages that came or went since the start."""

import re
from collections.abc import Iterable, Iterator, Sequence

from lockstep.environment.observation import ObservedEnvironment
from lockstep.environment.tree import FileTree, UnreadableFileError
from lockstep.observer.report import MappedFile, Report

_SHOWN = 20
# Memory that is no file of anybody's: trampolines of libffi, and what processes share.
_NO_FILES = re.compile(r"/memfd:libffi|/dev/zero|/SYSV[0-9a-f]{8}")
# The driver's own libraries, which NVIDIA's container toolkit mounts from the node (libnvidia-container, nvc_info.c).
_OF_THE_DRIVER = re.compile(
    r"/(?:usr/)?(?:lib|lib64|lib/[a-z0-9_]+-linux-gnu|local/nvidia/lib64)/(?:nvidia/(?:current/)?)?"
    r"lib(?:cuda|cudadebugger|nvcuvid|nvoptix|nvidia-[a-z0-9-]+|(?:GLX|EGL|GLESv2|GLESv1_CM|vdpau)_nvidia)\.so[0-9.]*"
)
_PACKAGES = re.compile("/(?:site|dist)-packages/")
_INSTALLED = (".dist-info", ".egg-info", ".egg-link", ".pth")


def find_foreign(tree: FileTree, report: Report, environments: Sequence[ObservedEnvironment]) -> tuple[str, ...]:
    """Return what runs, or is installed, and is not the image's or not its environment's, as sentences; the first 20.

    Args:
        tree: the image's files.
        report: what was seen.
        environments: those that were derived from it.
    """
    found = [*_packages(tree, report), *_mapped(tree, report), *_of_others(report, environments)]
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return (*found[:_SHOWN], *more)


def _mapped(tree: FileTree, report: Report) -> Iterator[str]:
    mapped = {number: process.pid for process in reversed(report.processes) for number in process.files}
    for number, pid in sorted(mapped.items()):
        why = _why_foreign(tree, report.files[number])
        if why is not None:
            yield f"pid {pid} runs {_printable(report.files[number].path)}, {why}"


def _of_others(report: Report, environments: Sequence[ObservedEnvironment]) -> Iterator[str]:
    """Yield what processes have mapped of packages that are on no path of theirs: they run in another environment."""
    processes = {process.pid: process for process in report.processes}
    for environment in environments:
        start = environment.document.start if environment.document is not None else None
        for pid in environment.pids if start is not None else ():
            files = (report.files[number].path for number in processes[pid].files)
            known = tuple(f"{folder.rstrip('/')}/" for folder in start.path) if start is not None else ()
            stray = next((path for path in files if _PACKAGES.search(path) and not path.startswith(known)), None)
            if stray is not None:
                yield f"pid {pid} runs {_printable(stray)}, which is not in the environment of {environment.executable}"


def _why_foreign(tree: FileTree, file: MappedFile) -> str | None:
    if _OF_THE_DRIVER.fullmatch(file.path):
        return None
    if file.deleted:
        return None if _NO_FILES.fullmatch(file.path) else "which was deleted or replaced since it was loaded"
    try:
        expected = tree.sha256(file.path)
    except UnreadableFileError as error:
        return f"of which the scan knows no digest ({error.why})"
    if expected is None:
        return "which is no file of the image"
    if file.sha256 is None:
        return "which can't be read"
    return None if expected == f"sha256:{file.sha256}" else "which has other bytes than in the image"


def _packages(tree: FileTree, report: Report) -> Iterator[str]:
    for folder, names in sorted((report.folders or {}).items()):
        there = _installed(names)
        expected = _installed(tree.listdir(folder))
        for name in sorted(there - expected):
            yield f"{_package(name)} was installed into {folder} since the start"
        for name in sorted(expected - there):
            yield f"{_package(name)} was removed from {folder} since the start"


def _installed(names: Iterable[str]) -> set[str]:
    # What pip left over after it was interrupted begins with a tilde, and is no package.
    return {_printable(name) for name in names if name.endswith(_INSTALLED) and not name.startswith("~")}


def _package(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    package, _, version = stem.partition("-")
    return f"{package} {version.partition('-')[0]}" if ending in ("dist-info", "egg-info") and version else name


def _printable(text: str) -> str:
    return (text if text.isprintable() else ascii(text)[1:-1])[:512]
