"""What the scan of an image's layers found."""

from dataclasses import dataclass
from typing import Any

from lockstep.api.reasons import Reason
from lockstep.environment.candidate import Candidate
from lockstep.environment.document import EnvironmentDocument
from lockstep.formats.modelfiles import InvalidModelFilesError, ModelFiles
from lockstep.images.image import ImageError


@dataclass(frozen=True)
class ImageModel:
    """A logged model found inside an image: a directory with an `MLmodel` file."""

    path: str
    """Directory that holds the MLmodel file."""
    sha256: str
    """Digest of the MLmodel file itself."""
    model_id: str | None
    run_id: str | None
    files: ModelFiles | None = None
    """All files below the directory, links followed; None where they can't be determined."""
    undetermined: str = ""
    """Why they can't be determined."""
    harmless: tuple[str, ...] = ()
    """Those of the files, by path, that serving adds and that change nothing about what is loaded."""
    caches: tuple[str, ...] = ()
    """Cached byte code below the directory, by path; it is none of the files."""

    def payload(self) -> dict[str, Any]:
        """Return plain JSON data, without what is empty."""
        stated = {
            "path": self.path,
            "sha256": self.sha256,
            "model_id": self.model_id,
            "run_id": self.run_id,
            "files": self.files.pack() if self.files is not None else None,
            "untold": self.undetermined,
            "harmless": list(self.harmless),
            "caches": list(self.caches),
        }
        return {key: value for key, value in stated.items() if value}

    @classmethod
    def parse(cls, stated: dict[str, Any]) -> "ImageModel":
        """Read what `payload` gave.

        Raises:
            ValueError, KeyError, TypeError: it is none of it.
        """
        packed = stated.get("files")
        try:
            files = ModelFiles.unpack(packed) if packed is not None else None
        except InvalidModelFilesError as error:
            raise ValueError(str(error)) from error
        return cls(
            path=stated["path"],
            sha256=stated["sha256"],
            model_id=stated.get("model_id"),
            run_id=stated.get("run_id"),
            files=files,
            undetermined=stated.get("untold", ""),
            harmless=tuple(stated.get("harmless", ())),
            caches=tuple(stated.get("caches", ())),
        )


class UndeterminedImageError(ImageError):
    """What an image starts is not to be seen from its files: the environments that it could run, and its models."""

    def __init__(self, message: str, digest: str, models: tuple[ImageModel, ...], candidates: tuple[Candidate, ...]) -> None:
        super().__init__(Reason.INTERPRETER_AMBIGUOUS, message)
        self.digest = digest
        self.models = models
        self.candidates = candidates


@dataclass(frozen=True)
class ImageScan:
    """What the layers of one image digest hold. Derived from nothing else, so it can be recorded for ever."""

    digest: str
    """Image manifest digest."""
    analyser: str
    """Version of the analyser; another version scans again."""
    document: EnvironmentDocument
    models: tuple[ImageModel, ...] = ()
