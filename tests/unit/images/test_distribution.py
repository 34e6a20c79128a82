"""The client against the real docker-registry."""

import os
import tarfile
from pathlib import Path

import aiohttp
import pytest

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.layout import LayoutSource
from lockstep.images.limits import Limits
from lockstep.images.open import is_local, open_image
from lockstep.images.registry.credentials import Credentials
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.resolve import resolve
from lockstep.images.scan.result import ImageScan
from tests.fakes.distribution import BINARY, WHY_ABSENT, docker_registry, push
from tests.fakes.images import LINUX, Item, MemorySource, layer
from tests.fakes.roots import VENV_SITE, debian, distribution, items, venv
from tests.fakes.workers import scan

SETTINGS = {"Entrypoint": ["/opt/venv/bin/python"]}
REAL = pytest.mark.skipif(BINARY is None, reason=WHY_ABSENT)


def iris() -> MemorySource:
    source = MemorySource()
    base = layer(*items(debian() | venv()), kind="gzip")
    more = layer(*items(distribution(VENV_SITE, "numpy", "1.26.4")), Item("usr/share/.wh.doc"), kind="zstd")
    child = source.image([base, more], tag=None, settings=SETTINGS)
    source.index(source.child(child, LINUX))
    return source


async def read(reference: str, host: str = "") -> ImageScan:
    async with aiohttp.ClientSession() as session:
        options = RegistryOptions(frozenset([host]))
        source, wanted = open_image(reference, session=session, credentials=Credentials(), options=options, limits=Limits())
        return await scan(source, await resolve(source, wanted, LINUX, Limits()), Limits())


@REAL
async def test_an_image_is_read_from_the_real_registry(tmp_path: Path) -> None:
    source = iris()
    expected = await scan(source, await source.resolved(), Limits())
    async with docker_registry(tmp_path) as host:
        await push(host, "team/iris", source, "1")
        for reference in (
            f"{host}/team/iris:1",
            f"{host}/team/iris@{expected.digest}",
            f"{host}/team/iris:2@{source.tags['1']}",
        ):
            assert await read(reference, host) == expected
        for absent in (f"{host}/team/iris:2", f"{host}/team/other:1", f"{host}/team/iris@sha256:{'0' * 64}"):
            with pytest.raises(ImageError) as caught:
                await read(absent, host)
            assert caught.value.reason is Reason.IMAGE_NOT_FOUND


@REAL
async def test_a_real_registry_that_lost_a_layer_is_no_verdict_on_the_image(tmp_path: Path) -> None:
    source = iris()
    async with docker_registry(tmp_path) as host:
        await push(host, "team/iris", source, "1")
        image = await source.resolved()
        digest = image.layers[0].digest.removeprefix("sha256:")
        (tmp_path / "data/docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data").write_bytes(b"lost")
        with pytest.raises(ImageError) as caught:
            await read(f"{host}/team/iris:1", host)
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert caught.value.retry


async def test_a_layout_is_opened_by_its_name(tmp_path: Path) -> None:
    source = iris()
    source.write(tmp_path / "layout")
    expected = await scan(source, await source.resolved(), Limits())
    reference = f"oci:{tmp_path}/layout:1"
    assert is_local(reference)
    assert await read(reference) == expected
    with pytest.raises(ImageError) as caught:
        await read(f"oci:{tmp_path}/absent")
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND
    with pytest.raises(ImageError) as caught:
        await read(f"oci-archive:{tmp_path}/absent.tar")
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND


async def test_an_archive_of_a_layout_is_read_in_place(tmp_path: Path) -> None:
    source = iris()
    source.write(tmp_path / "layout")
    for prefix in (".", ""):
        with tarfile.open(tmp_path / "layout.tar", "w") as archive:
            for file in sorted((tmp_path / "layout").rglob("*")):
                name = file.relative_to(tmp_path / "layout")
                archive.add(file, f"{prefix}/{name}" if prefix else str(name), recursive=False)
        assert (await read(f"oci-archive:{tmp_path}/layout.tar")).document.packages[0].name == "numpy"


def archived(folder: Path) -> Path:
    """Write the image as an OCI archive."""
    iris().write(folder / "layout")
    path = folder / "layout.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder / "layout", ".")
    return path


async def test_an_archive_is_closed_when_it_has_been_read(tmp_path: Path) -> None:
    path = archived(tmp_path)
    kept = LayoutSource.archive(path)
    image = await resolve(kept, "1", LINUX, Limits())
    async with kept.blob(image.layers[0]) as chunks:
        assert await anext(chunks)
        assert str(path) in open_files()
    assert str(path) not in open_files()


async def test_an_archive_that_is_replaced_on_the_way_is_no_crash(tmp_path: Path) -> None:
    path = archived(tmp_path)
    kept = LayoutSource.archive(path)
    image = await resolve(kept, "1", LINUX, Limits())
    path.write_bytes(b"no archive" * 100)
    with pytest.raises(ImageError) as caught:
        async with kept.blob(image.layers[0]):
            pass
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND
    with pytest.raises(ImageError) as caught:
        await kept.manifest("1")
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND


def open_files() -> set[str]:
    """Return the paths that this process has open."""
    return {os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}


def test_references_to_registries_are_not_local() -> None:
    assert not is_local("registry.example.com/iris:1")
