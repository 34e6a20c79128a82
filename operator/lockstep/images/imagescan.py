"""What the scan of an image's layers found."""

from dataclasses import dataclass, field

from lockstep.environment.document import EnvironmentDocument


@dataclass(frozen=True)
class ImageModel:
    """A logged model found inside an image: one `MLmodel` file."""

    path: str
    """Directory that holds the MLmodel file."""
    sha256: str
    """Digest of the MLmodel file itself."""
    model_id: str | None
    run_id: str | None


@dataclass(frozen=True)
class ImageScan:
    """What the layers of one image digest hold. Derived from nothing else, so it can be recorded for ever."""

    digest: str
    """Image manifest digest."""
    analyser: str
    """Version of the analyser; another version scans again."""
    document: EnvironmentDocument
    models: tuple[ImageModel, ...] = ()
    findings: tuple[str, ...] = field(default=())
    """What a person should know and no gate decides on (an unowned interpreter, an ignored layer annotation)."""
