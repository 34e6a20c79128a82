"""What the observer reports: one line of JSON, and a notice of it that fits into a termination message."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = "lockstep.dev/observation/v1"
MAX_REPORT = 1024 * 1024
"""Bytes that a report may have."""


class InvalidReportError(ValueError):
    """What is said to be a report, or its notice, is none."""


@dataclass(frozen=True)
class MappedFile:
    """A file of which pages are mapped to be executed."""

    path: str
    """As the process sees it, without symbolic links."""
    sha256: str | None
    """Digest of what stands there now, in hexadecimal; None where it can't be read."""
    deleted: bool = False
    """Whether the mapped file is no longer the one that has this name."""


@dataclass(frozen=True)
class Process:
    """A process that runs Python: one that answers, one that such a process has started, or one that has started it."""

    pid: int
    parent: int
    executable: str
    """The file that it executes, without symbolic links."""
    argv: tuple[str, ...]
    working_directory: str
    variables: dict[str, str]
    """Those that were asked for."""
    serves: bool
    """Whether it answers, or was started by one that does; else it has started one."""
    files: tuple[int, ...]
    """Positions in the report's list of mapped files."""


@dataclass(frozen=True)
class Report:
    """What the observer saw."""

    processes: tuple[Process, ...] = ()
    files: tuple[MappedFile, ...] = ()
    folders: dict[str, tuple[str, ...]] | None = None
    """Directories from which packages are imported, with what says of each package that it is installed (its `.dist-info`,
    `.egg-info`, `.egg-link` or `.pth`, by name).
    """
    undetermined: str = ""
    """Why it can't be told which process serves; empty where `processes` says it."""

    def dump(self) -> bytes:
        """Return the line, without its end."""
        return json.dumps({"format": FORMAT} | asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, line: bytes) -> "Report":
        """Read what `dump` gave.

        Raises:
            InvalidReportError: it is none of it.
        """
        if len(line) > MAX_REPORT:
            raise InvalidReportError(f"it has more than {MAX_REPORT} bytes")
        try:
            stated = json.loads(line)
            if stated.get("format") != FORMAT:
                raise InvalidReportError(f"its format is {str(stated.get('format'))[:60]!r}, not {FORMAT}")
            files = tuple(_file(one) for one in stated["files"])
            processes = tuple(_process(one, len(files)) for one in stated["processes"])
            folders = {_text(path): tuple(_text(name) for name in names) for path, names in (stated["folders"] or {}).items()}
            return cls(processes, files, folders, _text(stated["undetermined"]))
        except InvalidReportError:
            raise
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidReportError(f"it can't be read: {str(error)[:200]}") from error


def notice_of(line: bytes) -> str:
    """Return what the termination message says of a report: its digest and its length."""
    return json.dumps({"format": FORMAT, "sha256": hashlib.sha256(line).hexdigest(), "bytes": len(line)})


def find_report(log: bytes, notice: str) -> Report:
    """Return the report that a notice is about, from the lines of a log.

    Raises:
        InvalidReportError: the notice is none, or no line has its digest.
    """
    try:
        stated = json.loads(notice)
        wanted, size = str(stated["sha256"]), int(stated["bytes"])
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidReportError(f"its last message is no notice of a report: {notice[:200]!r}") from error
    for line in log.split(b"\n"):
        if len(line) == size and hashlib.sha256(line).hexdigest() == wanted:
            return Report.parse(line)
    raise InvalidReportError("its log does not hold the report that its last message is about")


def _process(stated: dict[str, Any], files: int) -> Process:
    numbers = tuple(_number(number) for number in stated["files"])
    if any(not 0 <= number < files for number in numbers):
        raise InvalidReportError("a process names a file that is not listed")
    return Process(
        pid=_number(stated["pid"]),
        parent=_number(stated["parent"]),
        executable=_text(stated["executable"]),
        argv=tuple(_text(word) for word in stated["argv"]),
        working_directory=_text(stated["working_directory"]),
        variables={_text(name): _text(value) for name, value in stated["variables"].items()},
        serves=stated["serves"] is not False,
        files=numbers,
    )


def _file(stated: dict[str, Any]) -> MappedFile:
    digest = stated["sha256"]
    return MappedFile(_text(stated["path"]), None if digest is None else _text(digest), stated["deleted"] is not False)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidReportError("something in it is no text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidReportError("something in it is no number")
    return value
