"""The environment document (`lockstep.dev/environment/v1`): all that is known of the environment of one process.

Written by the training side and by the image scan, read by the environment gate and by people. Design section 4.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lockstep.formats.canonical import canonical_json, sha256_of
from lockstep.formats.faults import first_fault

SCHEMA: Literal["lockstep.dev/environment/v1"] = "lockstep.dev/environment/v1"
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""A document larger than this is refused unread."""

UNDETERMINED = "?"
"""Stands, among missing libraries, before the name of a file whose needs can't be determined."""
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
"""No control characters: documents are shown on terminals and written into requirements files, line by line."""
Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=512, pattern=_PRINTABLE)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Interpreter(_Frozen):
    """The interpreter that runs: implementation in lower case (`cpython`, `pypy`) and its full version (`3.11.2`)."""

    implementation: Name
    version: Name


class Platform(_Frozen):
    """Operating system, machine as `uname -m` prints it (`x86_64`, `aarch64`) and libc (`glibc 2.36`, `musl 1.2.4`)."""

    os: Name
    machine: Name
    libc: Name | None = None


class Origin(_Frozen):
    """Where a distribution came from when it did not come from an index by name (PEP 610 `direct_url.json`)."""

    kind: Literal["vcs", "archive", "directory", "editable"]
    url: str = Field(max_length=2048, pattern=_PRINTABLE)
    commit: str | None = Field(default=None, max_length=512, pattern=_PRINTABLE)
    """VCS commit id."""
    hash: str | None = Field(default=None, max_length=512, pattern=_PRINTABLE)
    """Archive hash as `algorithm=hex`."""


class Package(_Frozen):
    """One installed distribution on the effective `sys.path`."""

    name: Name
    """PEP 503 normalised name."""
    version: Name
    """The version as the metadata states it, verbatim."""
    content: Sha256 | None = None
    """Digest of the wheel's files as they are there: the same wheel gives the same value whichever installer put it there."""
    changed: tuple[Name, ...] | None = None
    """Files that are not those of the RECORD or are missing, sorted, the first 20; None when all are."""
    changed_count: int | None = Field(default=None, ge=1, alias="changedCount")
    """How many files are not those of the RECORD."""
    edited: tuple[Name, ...] | None = None
    """In an image: files, its commands among them, that are other ones than it brought, or missing so that something else runs
    in their place, sorted, the first 20; None when there are none."""
    edited_count: int | None = Field(default=None, ge=1, alias="editedCount")
    """How many."""
    files: Sha256 | None = None
    """Digest of what its RECORD states of the wheel's files, its metadata left out, whether or not it is true of them."""
    plugs: tuple[Name, ...] | None = None
    """First parts of its entry point groups, which name what it plugs into; None when it has none."""
    startup: tuple[Name, ...] | None = None
    """Start-up hooks that it brings, by file name; None when it brings none."""
    origin: Origin | None = None
    tags: tuple[str, ...] = ()
    """The wheel's compatibility tags (WHEEL `Tag:`), sorted; contents are comparable only between equal tags."""
    missing: tuple[Name, ...] = Field(default=(), exclude_if=lambda names: not names)
    """Sonames (`libgomp.so.1`), sorted, that its shared objects need and nothing provides; `?` and a file's name where a
    file's needs can't be determined. Left out of the JSON text when there are none, as in documents of older versions."""


class Shadow(_Frozen):
    """A module that runs instead of another distribution's of its name: one outside any distribution, or of one that comes
    before it on the path or beside it."""

    file: Name
    """Where it is: `/app/numpy.py`."""
    module: Name
    """Its import path: `numpy.py`."""
    sha256: Sha256
    package: Name | None = None
    """The distribution that would run otherwise; None for the standard library."""


class BytecodeKind(StrEnum):
    """Why byte code runs instead of its source."""

    SOURCELESS = "Sourceless"
    """There is no source."""
    UNCHECKED = "Unchecked"
    """Its header instructs the interpreter not to check the source (PEP 552)."""
    STALE = "Stale"
    """The source came in a later layer with other content, and has the time and size of the one that was compiled."""


class LibraryKind(StrEnum):
    """Why a module of the interpreter's library is not its own."""

    ADDED = "Added"
    """The package that brought the library does not name it."""
    CHANGED = "Changed"
    """It has another content than its package states."""
    LATER = "Later"
    """A later layer than the one that brought the library added or changed it."""


class System(_Frozen):
    """The distribution (`debian 12`, os-release ID and VERSION_ID) and its installed packages, name to version."""

    distribution: Name | None = None
    packages: dict[Name, Name] = Field(default_factory=dict)
    """A package that is installed in several architectures stands once for each, as `name:architecture`."""
    conda: dict[Name, Name] | None = None
    """`version build` by name of the conda environment whose interpreter runs; None where it is not conda's."""


class Cuda(_Frozen):
    """The CUDA libraries that frameworks find; several versions are parted by commas."""

    runtime: Name | None = None
    """`12.4.127`, the CUDA runtime's own version and not the toolkit's."""
    cudnn: Name | None = None
    """`9.1.0`"""


class Start(_Frozen):
    """In an image: what its configuration starts, and where that imports from. For people and gates, never compared."""

    executable: Name
    """The interpreter as it is called: `/opt/venv/bin/python3`."""
    program: Name | None = None
    """The script or module that it runs: `/opt/venv/bin/uvicorn`, `/app/serve.py`; None where it runs none."""
    server: Name | None = None
    """The known server that the program is: `uvicorn`, `gunicorn`, `mlflow`, ...; None for anything else."""
    path: tuple[Name, ...] = ()
    """`sys.path` of the process that serves, in order, with directories that are not there and would count if they were."""
    model: Name | None = None
    """Directory of the model that the command line or the image's configuration says is served; None where none says so."""


class RequiredProof(StrEnum):
    """How far the `required` set is proven."""

    PROVEN = "Proven"
    """The model was reloaded in a fresh process and predicted its input example."""
    UNPROVEN = "Unproven"
    """No successful reload and prediction stands behind the set."""
    INCOMPLETE = "Incomplete"
    """The set lacks the framework of one of the model's flavors."""


class EnvironmentDocument(_Frozen):
    """All that is known of one environment. Both sides write the same form; an image scan leaves `required` out."""

    schema_: Literal["lockstep.dev/environment/v1"] = Field(default=SCHEMA, alias="schema")
    python: Interpreter
    platform: Platform
    packages: tuple[Package, ...]
    """Sorted by name, one entry a name."""
    system: System = Field(default_factory=System)
    cuda: Cuda | None = None
    required: tuple[Name, ...] | None = None
    """Names (PEP 503) of the distributions that the model needs, sorted; None where nothing says so (an image)."""
    required_proof: RequiredProof | None = Field(default=None, alias="requiredProof")
    code: dict[str, Sha256] = Field(default_factory=dict)
    """Digests of the modules outside any distribution by import path (`fraud/features.py`): of those that the model needs, or
    in an image of those that can be imported."""
    shadows: dict[str, Shadow] | None = None
    """In an image: modules outside any distribution that run instead of installed ones, by import name."""
    unowned: dict[Name, Sha256] | None = None
    """In an image: modules in site directories that no distribution brought, by import path."""
    bytecode: dict[Name, BytecodeKind] | None = None
    """In an image: compiled files that run instead of their source, by path, the first 100."""
    library: dict[Name, LibraryKind] | None = None
    """In an image: modules in the interpreter's library that are not its own, by path, the first 100."""
    start: Start | None = None
    """In an image: what is started."""
    startup: dict[Name, Sha256] | None = None
    """Digests of the start-up hooks that no distribution brought, by file name; None where nothing says so."""
    hardware: dict[str, str | None] = Field(default_factory=dict)
    """Recorded for people, never compared."""
    collector: str

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a document from its JSON text.

        Raises:
            InvalidDocumentError: not JSON, not this schema, duplicate or unsorted packages, or too large.
        """
        if len(raw) > MAX_DOCUMENT_BYTES:
            raise InvalidDocumentError(f"the document has {len(raw)} bytes, the limit is {MAX_DOCUMENT_BYTES}")
        try:
            document = cls.model_validate_json(raw)
        except ValidationError as error:
            raise InvalidDocumentError(first_fault(error, "document")) from error
        names = [package.name for package in document.packages]
        if names != sorted(set(names)):
            raise InvalidDocumentError("packages are not sorted by name or name a distribution twice")
        return document

    def payload(self) -> dict[str, Any]:
        """Return the document as plain JSON data; keys without a value are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def canonical(self) -> bytes:
        """Return the canonical JSON text: sorted keys, no white space, UTF-8."""
        return canonical_json(self.payload())

    @property
    def digest(self) -> str:
        """The document digest (`sha256:…`): the identity of the document, whatever the policy."""
        return sha256_of(self.canonical())


class InvalidDocumentError(ValueError):
    """The text is no environment document; the message says what is wrong and where."""
