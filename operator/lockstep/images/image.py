"""What is known of one image before its layers are read: its pinned digests and its configuration."""

import re
from dataclasses import dataclass

from lockstep.api.reasons import Reason

_PLATFORM_PART = re.compile(r"[A-Za-z0-9_.-]+")
"""A part of a platform, as containerd takes it (platforms.Parse)."""


CONTENT_REASONS = frozenset(
    (
        Reason.LAYER_CORRUPT,
        Reason.LAYER_AMBIGUOUS,
        Reason.LIMIT_EXCEEDED,
        Reason.INTERPRETER_NOT_FOUND,
        Reason.INTERPRETER_AMBIGUOUS,
        Reason.METADATA_INVALID,
        Reason.SYSTEM_UNVERIFIABLE,
        Reason.FILE_UNREADABLE,
    )
)
"""Why an image's content, which its digest names, could not be determined: no other time and nobody else finds more in it."""


class ImageError(Exception):
    """An image can't be resolved, or its content can't be determined; `retry` says whether waiting may help (a dependency) or
    not (the image).
    """

    def __init__(self, reason: Reason, message: str, *, retry: bool = False, retry_after: float | None = None) -> None:
        # Names in layers are bytes; those that are no UTF-8 must not break the log or the status that shows them.
        message = message.encode("utf-8", "backslashreplace").decode()
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry = retry
        self.retry_after = retry_after
        """Seconds that the registry asked to wait, when it did."""


@dataclass(frozen=True)
class ImagePlatform:
    """The platform of an image in OCI's (Go's) words: `linux`, `amd64`, variant `v8`."""

    os: str
    architecture: str
    variant: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def parse(cls, text: str) -> "ImagePlatform":
        """Read `linux/amd64` or `linux/arm64/v8`.

        Raises:
            ValueError: it is neither; the message says what it has to be like.
        """
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(_PLATFORM_PART.fullmatch(part) for part in parts):
            raise ValueError(f"{text[:100]!r} is not a platform such as linux/amd64 or linux/arm64/v8")
        return cls(*parts)


@dataclass(frozen=True)
class Descriptor:
    """An OCI content descriptor: media type, digest (`sha256:…`) and size in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True)
class ImageConfig:
    """The part of the image configuration that decides what runs (OCI image-spec config.md)."""

    platform: ImagePlatform
    diff_ids: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = "/"
    user: str = ""
    volumes: tuple[str, ...] = ()
    """Directories that the runtime mounts, writable, over those of the image; what the image has there is copied into them."""


@dataclass(frozen=True)
class ResolvedImage:
    """A reference that has been pinned: everything below is named by verified digests."""

    repository: str
    """`registry/repository`, without tag and digest."""
    digest: str
    """Digest of the platform's image manifest: what is scanned, and what runs."""
    index_digest: str | None
    """Digest of the index that the reference led to, when it led to one."""
    config_digest: str
    config: ImageConfig
    layers: tuple[Descriptor, ...]

    @property
    def pinned(self) -> str:
        """The reference that the Deployment runs: `repository@sha256:…`."""
        return f"{self.repository}@{self.digest}"


def digests_of(image: ResolvedImage) -> frozenset[str]:
    """Return every digest that names a pinned image: of its manifest, its configuration, and the index that led to it."""
    return frozenset(digest for digest in (image.digest, image.config_digest, image.index_digest) if digest is not None)
