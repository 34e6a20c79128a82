"""Image references: `registry/repository[:tag][@digest]` (grammar of distribution/reference)."""

import re
from dataclasses import dataclass

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError

_REFERENCE = re.compile(
    r"(?P<registry>[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?)"
    r"/(?P<repository>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[a-f0-9]{64}))?",
    re.ASCII,
)
_MAX_LENGTH = 512
_MAX_PORT = 65535
_REPORTED = re.compile(r"(?:(?:[a-z-]+://)?(?:[^@]*@)?sha256:)?(?P<hex>[a-f0-9]{64})", re.ASCII)


@dataclass(frozen=True)
class Reference:
    """A parsed reference. Where a digest is given, the tag is for people only."""

    registry: str
    """Host, with the port where one was written."""
    repository: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """`registry/repository`."""
        return f"{self.registry}/{self.repository}"

    @property
    def wanted(self) -> str:
        """What the registry is asked for: the digest, else the tag."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{'@' + self.digest if self.digest else ''}"


def parse_reference(text: str) -> Reference:
    """Parse a reference; the registry has to be written out, so that nobody's default decides where an image comes from.

    Raises:
        ImageError: ReferenceInvalid.
    """
    match = _REFERENCE.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None or not _is_host(match["registry"]):
        raise ImageError(
            Reason.REFERENCE_INVALID,
            f"{text[:200]!r} is no image reference with registry and repository, such as registry.example.com/team/iris:1",
        )
    return Reference(match["registry"], match["repository"], match["tag"], match["digest"])


def repository_of(text: str) -> str:
    """Return `registry/repository` of a reference, without tag and digest, whether it can be parsed or not."""
    head, slash, last = text.partition("@")[0].rpartition("/")
    return head + slash + last.partition(":")[0]


def reported_digest(image_id: str) -> str | None:
    """Return the digest in what a node reports to run (`ContainerStatus.imageID`); None where there is none.

    Runtimes report `repository@sha256:…` or `docker-pullable://repository@sha256:…` (a manifest or index), `sha256:…` or
    the bare hexadecimal number (the image's ID, which is the digest of its configuration).
    """
    match = _REPORTED.fullmatch(image_id) if len(image_id) <= _MAX_LENGTH else None
    return f"sha256:{match['hex']}" if match else None


def reported_repository(image_id: str) -> str:
    """Return the repository in what a node reports to run; empty where it names none (the image's ID alone)."""
    name, at, _ = image_id.partition("://")[2].rpartition("@") if "://" in image_id else image_id.rpartition("@")
    return name if at else ""


def _is_host(registry: str) -> bool:
    """Return whether it is a host and not the first part of a path: it has a dot or a port, or is localhost (as in
    distribution/reference).
    """
    port = registry.partition(":")[2]
    if port and not 0 < int(port) <= _MAX_PORT:
        return False
    return "." in registry or ":" in registry or registry == "localhost"
