"""Resolves a reference to one platform's image: tag → digest, index → manifest, configuration; all verified."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from lockstep.api.reasons import Reason
from lockstep.formats.canonical import sha256_of
from lockstep.images.image import Descriptor, ImageConfig, ImageError, ImagePlatform, ResolvedImage
from lockstep.images.limits import Limits
from lockstep.images.source import ImageSource, Manifest, refuse_duplicate_keys

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
ACCEPTED = ", ".join((*MANIFESTS, *_INDEXES))
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


class _Descriptor(_Object):
    media_type: str = Field(alias="mediaType", max_length=255)
    digest: str = Field(pattern=_DIGEST)
    size: int = Field(ge=0)
    platform: _Platform | None = None
    urls: list[str] = Field(default_factory=list)

    def plain(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, self.size)


class _Index(_Object):
    manifests: list[_Descriptor]


class _Manifest(_Object):
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
    labels: dict[str, str] | None = Field(default=None, alias="Labels")


class _Config(_Object):
    os: str
    architecture: str
    variant: str | None = None
    config: _Settings | None = None
    rootfs: _RootFs


async def resolve(source: ImageSource, reference: str, wanted: str, platform: ImagePlatform, limits: Limits) -> ResolvedImage:
    """Pin a reference for one platform.

    Args:
        source: where the repository is read.
        reference: the reference as the user wrote it, for people.
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
        child = _choose(_parse(_Index, top.body, "index"), platform, limits)
        top = await source.manifest(child.digest)
        if _kind(top) != "manifest":
            raise ImageError(Reason.MANIFEST_INVALID, "the index leads to another index")
    manifest = _parse(_Manifest, top.body, "manifest")
    _check(manifest, limits)
    config = await _config(source, manifest.config, limits)
    if (config.platform.os, config.platform.architecture) != (platform.os, platform.architecture):
        raise ImageError(Reason.PLATFORM_NOT_FOUND, f"the image is for {config.platform}, needed is {platform}")
    if len(config.diff_ids) != len(manifest.layers):
        raise ImageError(
            Reason.MANIFEST_INVALID,
            f"the manifest has {len(manifest.layers)} layers, the configuration {len(config.diff_ids)} diff_ids",
        )
    return ResolvedImage(
        reference=reference,
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
        return model.model_validate(json.loads(body, object_pairs_hook=refuse_duplicate_keys))
    except RecursionError as error:
        raise ImageError(Reason.MANIFEST_INVALID, f"the {what} is nested too deeply") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or what
        raise ImageError(Reason.MANIFEST_INVALID, f"the {what} is malformed: {where}: {first['msg']}") from error
    except ValueError as error:
        raise ImageError(Reason.MANIFEST_INVALID, f"the {what} is no JSON, or has a key twice") from error


def _choose(index: _Index, platform: ImagePlatform, limits: Limits) -> _Descriptor:
    if len(index.manifests) > limits.children:
        raise ImageError(Reason.LIMIT_EXCEEDED, f"the index has more than {limits.children} manifests")
    fitting = [
        child
        for child in index.manifests
        if child.media_type in MANIFESTS
        and child.platform is not None
        and (child.platform.os, child.platform.architecture) == (platform.os, platform.architecture)
    ]
    if platform.variant is not None:
        exact = [child for child in fitting if child.platform is not None and child.platform.variant == platform.variant]
        fitting = exact or fitting
    digests = {child.digest for child in fitting}
    if not digests:
        raise ImageError(Reason.PLATFORM_NOT_FOUND, f"the index has no image for {platform}")
    if len(digests) > 1:
        raise ImageError(Reason.MANIFEST_INVALID, f"the index has {len(digests)} different images for {platform}")
    return fitting[0]


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
    return ImageConfig(
        platform=ImagePlatform(parsed.os, parsed.architecture, parsed.variant or None),
        diff_ids=tuple(parsed.rootfs.diff_ids),
        entrypoint=tuple(settings.entrypoint or ()),
        cmd=tuple(settings.cmd or ()),
        env=tuple(_variable(line) for line in settings.env or ()),
        working_dir=settings.working_dir or "/",
        user=settings.user or "",
        volumes=tuple(sorted(settings.volumes or {})),
        labels=tuple(sorted((settings.labels or {}).items())),
    )


def _variable(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name, value
