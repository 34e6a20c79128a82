"""Archives on a `sys.path`: zipped eggs, of which the metadata is read, and others, whose content can't be determined."""

import io
import struct
import zipfile
import zlib

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.tree import FileTree, UnreadableFileError

MAX_ARCHIVE = 16 * 1024 * 1024
"""Bytes of an archive that is read."""
_MAX_DIRECTORY = 1024 * 1024
"""Bytes of an archive's central directory: all its names."""
_MAX_METADATA = 1024 * 1024
_END = struct.Struct("<4s4H2LH")
_METADATA = "EGG-INFO/PKG-INFO"
_ENCRYPTED = 0x1
# What zipfile raises for archives that are none.
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError, OSError, RuntimeError)


def read_metadata(tree: FileTree, path: str) -> bytes | None:
    """Return the PKG-INFO of a zipped egg that is on the path; None for a file that brings nothing.

    Python takes no file for a path entry but a zip archive (zipimport), so any other file brings nothing.

    Raises:
        CatalogueError: InterpreterAmbiguous for an archive that is no egg and is not empty, or was not kept;
            MetadataInvalid for one that readers read differently.
    """
    try:
        body = tree.read(path) or b""
    except UnreadableFileError as error:
        raise _undetermined_error(path, f"and can't be read: {error.why}") from error
    end = _find_end(body, path)
    if end is None:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            members = _checked_members(archive, path)
            if path.lower().endswith(".egg"):
                if _METADATA not in members:
                    raise _undetermined_error(path, f"and has no {_METADATA}")
                return _read_member(archive, members[_METADATA], path)
    except _BROKEN as error:
        raise _malformed_error(path, str(error) or type(error).__name__) from error
    if any(not name.endswith("/") for name in members):
        raise _undetermined_error(path, "and what archives other than eggs bring is not read")
    return None


def _find_end(body: bytes, path: str) -> int | None:
    """Find the end of the central directory and bound it before anything reads it (APPNOTE 4.3.16)."""
    at = body.rfind(b"PK\x05\x06", max(0, len(body) - _END.size - 65535))
    if at < 0 or len(body) > MAX_ARCHIVE:
        if at < 0:
            return None
        raise _undetermined_error(path, f"and has {len(body)} bytes, the limit is {MAX_ARCHIVE}")
    if len(body) - at < _END.size:
        raise _malformed_error(path, "it ends in the middle of a record")
    _, _, _, _, _, size, offset, comment = _END.unpack_from(body, at)
    if at + _END.size + comment != len(body) or size == 0xFFFFFFFF or offset == 0xFFFFFFFF:
        raise _malformed_error(path, "its end is read differently by different programs")
    if size > _MAX_DIRECTORY:
        raise _undetermined_error(path, f"and its list of names has {size} bytes, the limit is {_MAX_DIRECTORY}")
    return at


def _checked_members(archive: zipfile.ZipFile, path: str) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    after = 0
    for member in sorted(archive.infolist(), key=lambda one: one.header_offset):
        if member.filename in members:
            raise _malformed_error(path, f"it holds {member.filename[:100]!r} twice")
        if member.flag_bits & _ENCRYPTED:
            raise _malformed_error(path, f"{member.filename[:100]!r} is encrypted")
        if member.header_offset < after:
            raise _malformed_error(path, f"{member.filename[:100]!r} overlaps another member")
        # A local header has 30 bytes, the name and the content behind it.
        after = member.header_offset + 30 + len(member.filename) + member.compress_size
        members[member.filename] = member
    return members


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str) -> bytes:
    with archive.open(member) as file:
        body = file.read(_MAX_METADATA + 1)
    if len(body) > _MAX_METADATA:
        raise _malformed_error(path, f"its {_METADATA} has more than {_MAX_METADATA} bytes")
    return body


def _undetermined_error(path: str, why: str) -> CatalogueError:
    message = f"the archive {path} is on the path {why}; install what it holds, or take it off the path"
    return CatalogueError(Reason.INTERPRETER_AMBIGUOUS, message)


def _malformed_error(path: str, why: str) -> CatalogueError:
    return CatalogueError(Reason.METADATA_INVALID, f"the archive {path} can't be read: {why[:200]}")
