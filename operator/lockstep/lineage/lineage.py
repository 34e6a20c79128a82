"""The lineage of one model version, as the registry reports it, and the port through which it is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from lockstep.api.reasons import Reason


class LineageError(Exception):
    """The registry did not answer, or answers that there is nothing to report; `retry` distinguishes the two."""

    def __init__(self, reason: Reason, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry = retry


@dataclass(frozen=True)
class Run:
    """An MLflow run as far as lineage needs it."""

    run_id: str
    status: str
    """`FINISHED`, `RUNNING`, `FAILED`, ..."""
    lifecycle_stage: str
    """`active` or `deleted`."""
    params: tuple[tuple[str, str], ...]
    tags: tuple[tuple[str, str], ...]
    datasets: tuple[tuple[str, str], ...]
    """Name and digest of each dataset input."""
    artifact_uri: str = ""
    """Where the run keeps its artifacts."""

    def param(self, key: str) -> str | None:
        """Return a run parameter's value."""
        return dict(self.params).get(key)

    def tag(self, key: str) -> str | None:
        """Return a run tag's value."""
        return dict(self.tags).get(key)


@dataclass(frozen=True)
class LoggedModel:
    """An MLflow 3 LoggedModel."""

    model_id: str
    source_run_id: str | None
    status: str
    artifact_uri: str = ""
    """Where it keeps its files."""


@dataclass(frozen=True)
class Place:
    """Where the files of a version are, and how the registry is asked for them."""

    name: str
    """Of the version that the files were registered with: a copy leads to its original."""
    version: str
    uri: str
    """As the registry names it, such as `mlflow-artifacts:/1/models/m-…/artifacts`."""
    model_id: str | None = None
    """The logged model whose files they are; None where they are artifacts of a run."""
    run_id: str | None = None
    prefix: str = ""
    """Their directory among the run's artifacts."""


@dataclass(frozen=True)
class Lineage:
    """Everything that was read for one model version, undecided: the lineage gate judges it."""

    name: str
    version: str
    alias: str | None
    """The alias that led to the version, when one did."""
    version_status: str
    """`READY`, `PENDING_REGISTRATION`, ..."""
    version_run_id: str | None
    """`run_id` of the version: declared by whoever registered it."""
    source: str
    """The version's source as registered."""
    model_id: str | None
    """The logged model that the source leads to, `copy_model_version` chains followed."""
    logged_model: LoggedModel | None
    run: Run | None
    """The run that the logged model (or, without one, the version) names; None when it does not exist."""
    mlmodel: bytes | None
    """The MLmodel file, verbatim."""
    mlmodel_run_id: str | None
    mlmodel_model_id: str | None
    environment_document: bytes | None
    """The stored environment document, verbatim; None when there is none."""
    environment_digest: str | None
    """The document digest that the run recorded as a parameter for this model; None when it recorded none."""
    requirements: bytes | None = None
    """requirements.txt as stock MLflow stores it."""
    python_env: bytes | None = None
    """python_env.yaml as stock MLflow stores it."""
    environment_signature: bytes | None = None
    """The DSSE envelope that vouches for the document, verbatim; None when there is none or it is too large."""
    signature_present: bool = False
    input_example: bytes | None = None
    """serving_input_example.json: a ready request body for `/invocations`; None when there is none or it is too large."""
    place: Place | None = None
    """Where the files are; None when they lie elsewhere than their logged model or run keeps them, so that none are listed."""
    artifact_uri: str = ""
    """Where the registry says that the version's files are."""
    unreadable: str | None = None
    """Why the registry, which answers otherwise, could not give the version's files: nothing of them is known then."""


class ModelRegistry(Protocol):
    """Reads lineage and models. Every call has a timeout of its own and holds no state between calls."""

    async def lineage(self, *, name: str, version: str | None = None, alias: str | None = None) -> Lineage:
        """Read the lineage of a version, or of the version that an alias names; exactly one of the two is given.

        Raises:
            LineageError: version or alias do not exist, or the registry did not answer (`retry`).
        """
        ...

    async def files(self, place: Place) -> Mapping[str, int]:
        """Return the sizes of a version's files by path, without those that are none of the model's.

        Raises:
            LineageError: the registry did not answer (`retry`), does not list files (ModelFilesUnreadable), or lists such as
                can't be compared (ModelFilesRefused).
        """
        ...

    async def digest(self, place: Place, path: str, took: Callable[[int], None]) -> tuple[str, int]:
        """Read one file, however large, and return digest and size; `took` is called with how many bytes have come.

        Raises:
            LineageError: the file is gone, or the registry did not give it (`retry`).
        """
        ...
