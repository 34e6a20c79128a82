"""in-toto statements (Statement v1, and v0.1 which cosign writes), and the two that Lockstep makes itself."""

from dataclasses import dataclass
from typing import Any

from lockstep.environment.document import EnvironmentDocument
from lockstep.formats.canonical import canonical_json, strict_json

ENVIRONMENT = "https://lockstep.dev/attestations/environment/v1"
"""Predicate type: the environment document of the image that is the subject."""
TRAINING = "https://lockstep.dev/attestations/training-environment/v1"
"""Predicate type: the subject is the environment document that was recorded for `modelID`, made by run `runID`."""
COSIGN_SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
"""Predicate type of a plain image signature in cosign's bundle form."""
_TYPES = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")
_MAX_SUBJECTS = 64


class InvalidStatementError(ValueError):
    """The payload is no in-toto statement."""


@dataclass(frozen=True)
class Statement:
    """A statement about whatever has one of the digests."""

    subjects: frozenset[str]
    """Digests (`sha256:…`) of the subjects. Their names are not evidence."""
    predicate_type: str
    predicate: Any


def parse_statement(payload: bytes) -> Statement:
    """Read a statement.

    Raises:
        InvalidStatementError: it is none.
    """
    try:
        stated = strict_json(payload)
    except ValueError as error:
        raise InvalidStatementError("the statement is no JSON, or has a key twice") from error
    if not isinstance(stated, dict) or stated.get("_type") not in _TYPES:
        raise InvalidStatementError("the payload is no in-toto statement of version 1 or 0.1")
    subjects, kind = stated.get("subject"), stated.get("predicateType")
    if not isinstance(kind, str) or not isinstance(subjects, list) or not 1 <= len(subjects) <= _MAX_SUBJECTS:
        raise InvalidStatementError(f"a statement needs a predicateType and 1 to {_MAX_SUBJECTS} subjects")
    digests = [one.get("digest") if isinstance(one, dict) else None for one in subjects]
    hexes = [str(digest["sha256"]) for digest in digests if isinstance(digest, dict) and "sha256" in digest]
    return Statement(frozenset(f"sha256:{one}" for one in hexes), kind, stated.get("predicate"))


def environment_statement(repository: str, digest: str, document: EnvironmentDocument) -> bytes:
    """State that the image `digest` of `repository` has the environment of a document."""
    return _statement(repository, digest, ENVIRONMENT, document.payload())


def training_statement(document: EnvironmentDocument, *, model_id: str, run_id: str | None) -> bytes:
    """State that a document was recorded for a logged model of a run, so that it can't be passed off as another's."""
    return _statement("environment.json", document.digest, TRAINING, {"modelID": model_id, "runID": run_id})


def _statement(name: str, digest: str, kind: str, predicate: dict[str, Any]) -> bytes:
    subject = {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
    return canonical_json({"_type": _TYPES[0], "subject": [subject], "predicateType": kind, "predicate": predicate})
