"""Images on disk: which one of a layout is meant."""

import json
import tarfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lockstep.images.image import ImageError, ImagePlatform
from lockstep.images.layout import LayoutSource
from lockstep.images.limits import Limits
from lockstep.images.open import open_image
from lockstep.images.registry.credentials import Credentials
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.resolve import resolve
from tests.fakes.images import LINUX, Item, MemorySource, layer

ARM = ImagePlatform("linux", "arm64")
NAME = "org.opencontainers.image.ref.name"


def written(folder: Path, *entries: tuple[ImagePlatform | None, str | None]) -> dict[ImagePlatform | None, str]:
    """Write a layout whose index.json has these entries, each of a platform and a name; return their digests."""
    source, listed, digests = MemorySource(), [], {}
    for platform, name in entries:
        made = source.image([layer(Item("x", str(platform).encode()))], tag=None, platform=platform or LINUX)
        digests[platform] = made
        entry: dict[str, Any] = source.child(made, platform or LINUX)
        if platform is None:
            del entry["platform"]
        listed.append(entry | ({"annotations": {NAME: name}} if name else {}))
    source.tags["1"] = next(iter(digests.values()))
    source.write(folder)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": listed}))
    return digests


@pytest.mark.parametrize("name", [None, "latest", "1"])
async def test_of_one_image_a_platform_the_platform_decides(tmp_path: Path, name: str | None) -> None:
    digests = written(tmp_path, (LINUX, name), (ARM, name))
    for platform in (LINUX, ARM):
        image = await resolve(LayoutSource.directory(tmp_path), name or "", platform, Limits())
        assert image.digest == digests[platform]


async def test_one_image_under_two_names_is_one_image(tmp_path: Path) -> None:
    digests = written(tmp_path, (LINUX, "1"), (LINUX, "latest"))
    image = await resolve(LayoutSource.directory(tmp_path), "", LINUX, Limits())
    assert image.digest == digests[LINUX]


async def test_of_several_names_one_has_to_be_given(tmp_path: Path) -> None:
    written(tmp_path, (LINUX, "b"), (ARM, "a"))
    with pytest.raises(ImageError, match="has not exactly one image ''; it has: a, b; name one behind a colon"):
        await LayoutSource.directory(tmp_path).manifest("")


async def test_several_without_a_name_and_a_platform_can_not_be_distinguished(tmp_path: Path) -> None:
    written(tmp_path, (None, None), (ARM, None))
    with pytest.raises(ImageError, match="none of its images has a name"):
        await LayoutSource.directory(tmp_path).manifest("")


async def test_an_archive_of_docker_save_says_how_it_is_converted(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    (tmp_path / "manifest.json").write_text("[]")
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "manifest.json", "manifest.json")
    with pytest.raises(ImageError, match=f"skopeo copy docker-archive:{path} oci-archive:image.tar"):
        await LayoutSource.archive(path).manifest("")
    async with aiohttp.ClientSession() as session:
        parts: dict[str, Any] = {"credentials": Credentials(()), "options": RegistryOptions(), "limits": Limits()}
        with pytest.raises(ImageError, match=f"skopeo copy docker-archive:{path} oci-archive:image.tar"):
            open_image(f"docker-archive:{path}", session=session, **parts)
