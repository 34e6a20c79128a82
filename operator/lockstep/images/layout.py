"""Images on disk: an OCI image layout as a directory or as a tar archive (image-spec image-layout.md)."""

import json
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

from lockstep.api.reasons import Reason
from lockstep.formats.canonical import sha256_of
from lockstep.images.image import Descriptor, ImageError
from lockstep.images.source import Manifest, media_type_of

_CHUNK = 1024 * 1024
_MAX_MANIFEST = 4 * _CHUNK
_INDEX = "application/vnd.oci.image.index.v1+json"
_REF_NAME = "org.opencontainers.image.ref.name"

Opener = Callable[[str], AbstractContextManager[IO[bytes]]]


class LayoutSource:
    """Reads one layout. Nothing is unpacked: an archive's members are read in place, and no file stays open between reads."""

    def __init__(self, path: Path, opener: Opener) -> None:
        self._path = path
        self._open = opener

    @classmethod
    def directory(cls, path: Path) -> "LayoutSource":
        """Open a directory in the form `oci:DIR`."""
        return cls(path, lambda name: (path / name).open("rb"))

    @classmethod
    def archive(cls, path: Path) -> "LayoutSource":
        """Open an uncompressed tar archive in the form `oci-archive:FILE`.

        Raises:
            ImageError: it is no tar archive.
        """
        try:
            tarfile.open(path, "r:").close()
        except (OSError, tarfile.TarError) as error:
            raise ImageError(Reason.IMAGE_NOT_FOUND, f"{path} can't be read as an OCI archive: {error}") from error
        return cls(path, lambda name: _member(path, name))

    @property
    def repository(self) -> str:
        """The path, which stands for a repository."""
        return str(self._path)

    async def manifest(self, wanted: str) -> Manifest:
        """See `ImageSource.manifest`. An empty name or `latest` takes the only image of the layout.

        `index.json` is an index itself (image-spec image-layout.md): with several entries of one name, or of none, each for
        a platform, it leads to the image as every index does.
        """
        if wanted.startswith("sha256:"):
            return self._manifest(wanted)
        entries = self._index()
        named = [entry for entry in entries if _name(entry) == wanted]
        chosen = named or (entries if wanted in ("", "latest") else [])
        digests = {str(entry.get("digest")) for entry in chosen}
        if len(digests) == 1:
            return self._manifest(digests.pop())
        if len({_name(entry) for entry in chosen}) == 1 and all(entry.get("platform") for entry in chosen):
            body = json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": chosen}).encode()
            return Manifest(_INDEX, sha256_of(body), body)
        names = sorted({name for entry in entries if (name := _name(entry)) is not None})
        raise ImageError(Reason.IMAGE_NOT_FOUND, f"{self._path} has not exactly one image {wanted!r}; {_listed(names)}")

    def _index(self) -> list[dict[str, Any]]:
        try:
            with self._open("index.json") as file:
                entries = json.loads(file.read(_MAX_MANIFEST))["manifests"]
            return [dict(entry) for entry in entries]
        except (OSError, KeyError, ValueError, TypeError, tarfile.TarError) as error:
            message = f"{self._path} is no OCI image layout: {error}{self._advice()}"
            raise ImageError(Reason.IMAGE_NOT_FOUND, message) from error

    def _advice(self) -> str:
        """Say what helps where it is what older versions of `docker save` write."""
        try:
            with self._open("manifest.json"):
                command = f"skopeo copy docker-archive:{self._path} oci-archive:image.tar"
                return f"; it is an archive of docker save, which is converted by: {command}"
        except (OSError, KeyError, tarfile.TarError):
            return ""

    def _manifest(self, digest: str) -> Manifest:
        body = b"".join(self._chunks(digest, _MAX_MANIFEST))
        if sha256_of(body) != digest:
            raise ImageError(Reason.DIGEST_MISMATCH, f"{digest} has other content in {self._path}")
        return Manifest(media_type_of(body), digest, body)

    def _chunks(self, digest: str, limit: int) -> list[bytes]:
        try:
            with self._open(f"blobs/sha256/{digest.removeprefix('sha256:')}") as file:
                return [file.read(limit)]
        except (OSError, KeyError, tarfile.TarError) as error:
            raise ImageError(Reason.IMAGE_NOT_FOUND, f"{self._path} lacks {digest}") from error

    @asynccontextmanager
    async def blob(self, descriptor: Descriptor) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `ImageSource.blob`."""
        with ExitStack() as stack:
            try:
                file = stack.enter_context(self._open(f"blobs/sha256/{descriptor.digest.removeprefix('sha256:')}"))
            except (OSError, KeyError, tarfile.TarError) as error:
                raise ImageError(Reason.IMAGE_NOT_FOUND, f"{self._path} lacks {descriptor.digest}") from error
            yield _read(file)

    async def referrers(self, digest: str, artifact_type: str) -> list[Descriptor]:
        """See `ImageSource.referrers`. A layout has no such list; what is tagged as cosign does is found all the same."""
        return []


def _name(entry: dict[str, Any]) -> str | None:
    name = (entry.get("annotations") or {}).get(_REF_NAME)
    return str(name) if name is not None else None


def _listed(names: list[str]) -> str:
    return f"it has: {', '.join(names)}; name one behind a colon" if names else "none of its images has a name"


async def _read(file: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


@contextmanager
def _member(path: Path, name: str) -> Iterator[IO[bytes]]:
    with tarfile.open(path, "r:") as members, _open_member(members, name) as file:
        yield file


def _open_member(members: tarfile.TarFile, name: str) -> IO[bytes]:
    for candidate in (name, f"./{name}"):
        try:
            file = members.extractfile(candidate)
        except KeyError:
            continue
        if file is not None:
            return file
    raise KeyError(name)
