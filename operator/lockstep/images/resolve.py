"""Resolves a reference to one platform's image: tag → digest, index → manifest, configuration; all verified."""

from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from lockstep.api.reasons import Reason
from lockstep.formats.canonical import sha256_of, strict_json
from lockstep.formats.faults import first_fault
from lockstep.images.image import Descriptor, ImageConfig, ImageError, ImagePlatform, ResolvedImage
from lockstep.images.limits import Limits
from lockstep.images.platforms import normalized, runnable
from lockstep.images.source import ImageSource, Manifest

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
ACCEPTED = ", ".join((*MANIFESTS, *_INDEXES))
_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_SAME_PLATFORM = 8
"""Manifests of an index for one platform: an image and what describes it."""
_DIGEST = r"^sha256:[0-9a-f]{64}$"
Model = TypeVar("Model", bound=BaseModel)


class _Object(BaseModel):
    """Go, and so every container runtime, reads keys without regard to case and takes the last of two: neither may matter."""

    @model_validator(mode="before")
    @classmethod
    def _exact_keys(cls, data: Any) -> Any:
        known = {name.casefold(): name for name in ((field.alias or key) for key, field in cls.model_fields.items())}
        for key in data if isinstance(data, dict) else ():
            if known.get(str(key).casefold(), key) != key:
                raise ValueError(f"the key {key!r} is taken for {known[str(key).casefold()]!r} by some")
        return data


class _Platform(_Object):
    os: str
    architecture: str
    variant: str | None = None

    def plain(self) -> ImagePlatform:
        return ImagePlatform(self.os, self.architecture, self.variant or None)


class _Descriptor(_Object):
    media_type: str = Field(alias="mediaType", max_length=255)
    digest: str = Field(pattern=_DIGEST)
    size: int = Field(ge=0)
    platform: _Platform | None = None
    artifact_type: str | None = Field(default=None, alias="artifactType")
    urls: list[str] = Field(default_factory=list)

    def plain(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, self.size)


class _Index(_Object):
    manifests: list[_Descriptor]


class _Manifest(_Object):
    artifact_type: str | None = Field(default=None, alias="artifactType")
    config: _Descriptor
    layers: list[_Descriptor]


class _RootFs(_Object):
    diff_ids: list[str]


class _Settings(_Object):
    entrypoint: list[str] | None = Field(default=None, alias="Entrypoint")
    cmd: list[str] | None = Field(default=None, alias="Cmd")
    env: list[str] | None = Field(default=None, alias="Env")
    working_dir: str | None = Field(default=None, alias="WorkingDir")
    user: str | None = Field(default=None, alias="User")
    volumes: dict[str, Any] | None = Field(default=None, alias="Volumes")


class _Config(_Object):
    os: str
    architecture: str
    variant: str | None = None
    config: _Settings | None = None
    rootfs: _RootFs


async def resolve(source: ImageSource, wanted: str, platform: ImagePlatform, limits: Limits) -> ResolvedImage:
    """Pin a reference for one platform.

    Args:
        source: where the repository is read.
        wanted: the tag or digest.
        platform: whose variant is taken from an index; another platform's image is refused.
        limits: bounds of what is read.

    Raises:
        ImageError: with the reason why it can't be pinned.
    """
    top = await source.manifest(wanted)
    index_digest = None
    if _kind(top) == "index":
        index_digest = top.digest
        top = await _choose(source, _parse(_Index, top.body, "index"), platform, limits)
        if _kind(top) != "manifest":
            raise ImageError(Reason.MANIFEST_INVALID, "the index leads to another index")
    manifest = _parse(_Manifest, top.body, "manifest")
    if manifest.config.media_type not in _CONFIGS:
        kind = manifest.artifact_type or manifest.config.media_type
        raise ImageError(Reason.MANIFEST_INVALID, f"it is no image, but an artifact of the type {kind[:100]!r}")
    _check(manifest, limits)
    config = await _config(source, manifest.config, limits)
    has, needed = normalized(config.platform), normalized(platform)
    if (has.os, has.architecture) != (needed.os, needed.architecture):
        raise ImageError(Reason.PLATFORM_NOT_FOUND, f"the image is for {config.platform}, needed is {platform}")
    if len(config.diff_ids) != len(manifest.layers):
        raise ImageError(
            Reason.MANIFEST_INVALID,
            f"the manifest has {len(manifest.layers)} layers, the configuration {len(config.diff_ids)} diff_ids",
        )
    return ResolvedImage(
        repository=source.repository,
        digest=top.digest,
        index_digest=index_digest,
        config_digest=manifest.config.digest,
        config=config,
        layers=tuple(layer.plain() for layer in manifest.layers),
    )


def _kind(manifest: Manifest) -> str:
    if manifest.media_type in _INDEXES:
        return "index"
    if manifest.media_type in MANIFESTS:
        return "manifest"
    raise ImageError(Reason.MANIFEST_INVALID, f"{manifest.media_type[:100]!r} is no image manifest and no index")


def _parse(model: type[Model], body: bytes, what: str) -> Model:
    try:
        return model.model_validate(strict_json(body))
    except ValidationError as error:
        raise ImageError(Reason.MANIFEST_INVALID, f"the {what} is malformed: {first_fault(error, what)}") from error
    except ValueError as error:
        raise ImageError(Reason.MANIFEST_INVALID, f"the {what} is no JSON that all read alike: {error}") from error


async def _choose(source: ImageSource, index: _Index, platform: ImagePlatform, limits: Limits) -> Manifest:
    """Return the manifest of the image for a platform, past what is no image (image-spec manifest.md, "artifactType").

    Attestations, signatures and indexes for lazy pulling stand beside the image, some of them under its platform.
    """
    if len(index.manifests) > limits.children:
        raise ImageError(Reason.LIMIT_EXCEEDED, f"the index has more than {limits.children} manifests")
    images = [child for child in index.manifests if child.media_type in MANIFESTS and not child.artifact_type]
    stated = [(child.digest, normalized(child.platform.plain())) for child in images if child.platform is not None]
    for wanted in runnable(platform):
        fitting = list(dict.fromkeys(digest for digest, stands_for in stated if stands_for == wanted))
        if len(fitting) > _SAME_PLATFORM:
            raise ImageError(Reason.LIMIT_EXCEEDED, f"the index has more than {_SAME_PLATFORM} manifests for {platform}")
        manifests = [await source.manifest(digest) for digest in fitting]
        found = [manifest for manifest in manifests if _is_image(manifest)] if len(manifests) > 1 else manifests
        if len(found) > 1:
            raise ImageError(Reason.MANIFEST_INVALID, f"the index has {len(found)} different images for {platform}")
        if found:
            return found[0]
    others = ", ".join(sorted({str(one) for _, one in stated if one.os != "unknown"}))
    raise ImageError(Reason.PLATFORM_NOT_FOUND, f"the index has no image for {platform}; it has {others or 'none at all'}")


def _is_image(manifest: Manifest) -> bool:
    return _kind(manifest) == "manifest" and _parse(_Manifest, manifest.body, "manifest").config.media_type in _CONFIGS


def _check(manifest: _Manifest, limits: Limits) -> None:
    if len(manifest.layers) > limits.layers:
        raise ImageError(Reason.LIMIT_EXCEEDED, f"the image has {len(manifest.layers)} layers, the limit is {limits.layers}")
    size = sum(layer.size for layer in manifest.layers)
    if size > limits.compressed:
        raise ImageError(Reason.LIMIT_EXCEEDED, f"the layers have {size} bytes, the limit is {limits.compressed}")
    if any(layer.urls for layer in manifest.layers):
        raise ImageError(Reason.MANIFEST_INVALID, "a layer is to be fetched from elsewhere (urls), which is not done")


async def _config(source: ImageSource, descriptor: _Descriptor, limits: Limits) -> ImageConfig:
    if descriptor.size > limits.config:
        raise ImageError(Reason.LIMIT_EXCEEDED, f"the configuration has {descriptor.size} bytes, the limit is {limits.config}")
    body = bytearray()
    async with source.blob(descriptor.plain()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > descriptor.size:
                break
    if sha256_of(bytes(body)) != descriptor.digest:
        raise ImageError(Reason.DIGEST_MISMATCH, f"the configuration does not have the digest {descriptor.digest}")
    parsed = _parse(_Config, bytes(body), "configuration")
    settings = parsed.config or _Settings()
    stated = ImagePlatform(parsed.os, parsed.architecture, parsed.variant or None)
    return ImageConfig(
        # By the name that nodes have in their labels.
        platform=replace(stated, architecture=normalized(stated).architecture),
        diff_ids=tuple(parsed.rootfs.diff_ids),
        entrypoint=tuple(settings.entrypoint or ()),
        cmd=tuple(settings.cmd or ()),
        env=tuple(_variable(line) for line in settings.env or ()),
        working_dir=settings.working_dir or "/",
        user=settings.user or "",
        volumes=tuple(sorted(settings.volumes or {})),
    )


def _variable(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name, value
