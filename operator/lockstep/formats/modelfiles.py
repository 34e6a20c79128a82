"""The files of a model: each one's path, digest and size, and one digest that names them all.

The form is that of the OpenSSF Model Signing specification (OMS) 1.0, so that its digest means the same elsewhere:

- a file's path is relative to the model's directory, with `/`, without `.` and `..`, valid UTF-8 (section 6.1.2);
- links are followed, each file stands under the path at which a loader finds it (6.1.1, `allow_symlinks`);
- files are ordered by the code points of their paths (5.2.1). The tool model-signing orders by the parts of a path instead,
  which is the same unless a name goes on where another one has its `/` (`model.pkl` beside `model/…`);
- a file's digest is the SHA-256 of its bytes (6.3.1, method `files`);
- the root digest is the SHA-256 of these digests, 32 bytes each, in that order (6.5.1).

The root digest does not cover the paths, so it names a model and never decides whether two are equal: the files do.

What is left out (6.2, `ignore_paths`) is `NOT_THE_MODEL`, and nothing else: neither Git's files nor byte code.
"""

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lockstep.formats.canonical import canonical_json
from lockstep.formats.storage import ARTIFACT_PATH, SIGNATURE_PATH

NOT_THE_MODEL = frozenset({ARTIFACT_PATH, SIGNATURE_PATH, "registered_model_meta"})
"""Files in a model's directory that are none of the model's: MLflow's client writes `registered_model_meta` into each copy
that it downloads by a registered name, and the environment document and its signature are pinned by digests of their own.
"""
MAX_FILES = 10_000
MAX_PATH_BYTES = 1024
"""Of one path: what object stores take as a key."""
MAX_PACKED = 1_200_000
"""Characters of a packed list: etcd takes objects of 1.5 MB."""
_MAX_TEXT = MAX_FILES * (2 * MAX_PATH_BYTES + 100)
_DIGEST_CHARACTERS = len("sha256:") + 64


class InvalidModelFilesError(ValueError):
    """There is no such list of files; the message says why."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file."""

    sha256: str
    """Digest of its bytes, `sha256:…`."""
    size: int
    """In bytes."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model, by path, in OMS's order. Equal where every path, digest and size is."""

    files: Mapping[str, ModelFile] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Mapping[str, ModelFile]) -> "ModelFiles":
        """Make the list of what was found in a model's directory.

        Raises:
            InvalidModelFilesError: there are too many files or none, or one has a path that OMS does not know.
        """
        kept = {path: found[path] for path in sorted(found) if path not in NOT_THE_MODEL}
        if len(kept) > MAX_FILES:
            raise InvalidModelFilesError(f"it has more than {MAX_FILES} files")
        if not kept:
            raise InvalidModelFilesError("it has no files")
        for path in kept:
            check_path(path)
        return cls(kept)

    @property
    def digest(self) -> str:
        """The root digest, `sha256:…`."""
        total = hashlib.sha256()
        for file in self.files.values():
            total.update(bytes.fromhex(file.sha256.removeprefix("sha256:")))
        return f"sha256:{total.hexdigest()}"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def pack(self) -> str:
        """Write the list down to be kept in an object of the cluster: JSON, compressed with zlib, in base64."""
        plain = {path: [file.sha256.removeprefix("sha256:"), file.size] for path, file in self.files.items()}
        return base64.b64encode(zlib.compress(canonical_json(plain), 9)).decode()

    @classmethod
    def unpack(cls, text: str) -> "ModelFiles":
        """Read a list back.

        Raises:
            InvalidModelFilesError: `pack` did not write it.
        """
        try:
            plain = json.loads(zlib.decompressobj().decompress(base64.b64decode(text, validate=True), _MAX_TEXT))
            found = {path: ModelFile(f"sha256:{sha256}", int(size)) for path, (sha256, size) in plain.items()}
        except (ValueError, TypeError, AttributeError, zlib.error, binascii.Error) as error:
            raise InvalidModelFilesError(f"it can't be read: {error}") from error
        if any(len(file.sha256) != _DIGEST_CHARACTERS for file in found.values()):
            raise InvalidModelFilesError("it holds what is no digest")
        return cls.of(found)


def check_path(path: str) -> None:
    """Refuse a path that can't stand in a list.

    Raises:
        InvalidModelFilesError: it is absolute, not normalised, too long, no UTF-8, or has control characters.
    """
    try:
        size = len(path.encode())
    except UnicodeEncodeError as error:
        raise InvalidModelFilesError(f"the name {path[:100]!r} is no UTF-8") from error
    if size > MAX_PATH_BYTES:
        raise InvalidModelFilesError(f"the path {path[:100]!r} has more than {MAX_PATH_BYTES} bytes")
    if any(part in ("", ".", "..") for part in path.split("/")) or not path.isprintable():
        raise InvalidModelFilesError(f"the path {path[:100]!r} is not one of a file in a directory")


@dataclass(frozen=True)
class FileChanges:
    """What is different about a model's files, each by path and in order."""

    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.added)

    def describe(self, other: str, most: int = 5) -> str:
        """Say what is different, the first few by name; `other` says of a changed file what it is (`is another file …`)."""
        said = list(self._sentences(other))
        more = f" and {len(said) - most} more" if len(said) > most else ""
        return f"{', '.join(said[:most])}{more}"

    def _sentences(self, other: str) -> Iterator[str]:
        yield from (f"{path} {other}" for path in self.changed)
        yield from (f"{path} is missing" for path in self.missing)
        yield from (f"{path} was added" for path in self.added)


def changes(before: ModelFiles, after: ModelFiles) -> FileChanges:
    """Return what differs between a model's files and those that they should be."""
    return FileChanges(
        changed=tuple(path for path, file in after.files.items() if path in before.files and before.files[path] != file),
        missing=tuple(path for path in before.files if path not in after.files),
        added=tuple(path for path in after.files if path not in before.files),
    )
