"""What is signed of one image digest, read from its repository and verified, but not judged: the image gate does that."""

from dataclasses import dataclass

from lockstep.environment.document import EnvironmentDocument


@dataclass(frozen=True)
class Signature:
    """One signature of an image."""

    signers: frozenset[str]
    """Fingerprints of the known keys that made it; empty for a stranger's, and for one that can't be read."""
    subjects: frozenset[str]
    """Digests of the images that it is about. Only to be believed where there are signers."""


@dataclass(frozen=True)
class Attestation:
    """One attestation of an image."""

    signers: frozenset[str]
    """Fingerprints of the known keys that made it."""
    subjects: frozenset[str] = frozenset()
    predicate_type: str | None = None
    document: EnvironmentDocument | None = None
    """The environment, where a known key states one of the image."""
    problem: str | None = None
    """Why it can't be read; None when it can."""


@dataclass(frozen=True)
class Signed:
    """All that was found of one image digest."""

    digest: str
    signatures: tuple[Signature, ...] = ()
    attestations: tuple[Attestation, ...] = ()
