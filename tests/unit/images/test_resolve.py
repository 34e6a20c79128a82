"""From a tag to one platform's verified image."""

import json
from typing import Any

import pytest

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError, ImagePlatform
from lockstep.images.limits import Limits
from lockstep.images.source import media_type_of
from tests.fakes.images import INDEX, LINUX, MANIFEST, Item, MemorySource, layer, text

ARM = ImagePlatform("linux", "arm64", "v8")
LAYER = layer(Item("x", b"1"))


async def refused(source: MemorySource, platform: ImagePlatform = LINUX, limits: Limits | None = None) -> Reason:
    with pytest.raises(ImageError) as caught:
        await source.resolved("1", platform, limits)
    return caught.value.reason


async def test_a_tag_leads_to_a_verified_image() -> None:
    source = MemorySource()
    digest = source.image(
        [LAYER],
        settings={
            "Entrypoint": ["tini"],
            "Cmd": ["python"],
            "Env": ["A=b=c", "D"],
            "User": "app",
            "WorkingDir": "/app",
            "Volumes": {"/data": {}, "/cache": {}},
            "Labels": {"env": "x", "Env": "y"},
        },
    )
    found = await source.resolved()
    assert (found.digest, found.index_digest) == (digest, None)
    assert found.pinned == f"{source.repository}@{digest}"
    assert found.layers == (LAYER.descriptor,)
    assert found.config.diff_ids == (LAYER.diff_id,)
    assert (found.config.entrypoint, found.config.cmd) == (("tini",), ("python",))
    assert found.config.env == (("A", "b=c"), ("D", ""))
    assert (found.config.user, found.config.working_dir) == ("app", "/app")
    assert found.config.volumes == ("/cache", "/data")


async def test_an_index_leads_to_the_platforms_image() -> None:
    source = MemorySource()
    amd, arm = source.image([LAYER], tag=None), source.image([LAYER], tag=None, platform=ARM)
    index = source.index(source.child(amd, LINUX), source.child(arm, ARM))
    for platform, digest in ((LINUX, amd), (ARM, arm), (ImagePlatform("linux", "arm64"), arm)):
        found = await source.resolved("1", platform)
        assert (found.digest, found.index_digest) == (digest, index)


async def test_attestations_in_an_index_are_no_images() -> None:
    source = MemorySource()
    amd, other = source.image([LAYER], tag=None), source.put(b"{}")
    note = {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    source.index(source.child(other, ImagePlatform("unknown", "unknown"), **note), source.child(amd, LINUX))
    assert (await source.resolved()).digest == amd


async def test_an_index_without_the_platform_is_refused() -> None:
    source = MemorySource()
    source.index(source.child(source.image([LAYER], tag=None), LINUX))
    assert await refused(source, ARM) is Reason.PLATFORM_NOT_FOUND


async def test_two_images_for_one_platform_are_refused() -> None:
    source = MemorySource()
    one, two = source.image([LAYER], tag=None), source.image([], tag=None)
    source.index(source.child(one, LINUX), source.child(two, LINUX))
    assert await refused(source) is Reason.MANIFEST_INVALID


async def test_the_variant_decides_where_it_is_asked_for() -> None:
    source = MemorySource()
    one, two = source.image([LAYER], tag=None, platform=ARM), source.image([], tag=None, platform=ARM)
    source.index(source.child(one, ARM), source.child(two, ImagePlatform("linux", "arm64", "v9")))
    assert (await source.resolved("1", ARM)).digest == one


async def test_an_index_for_lazy_pulling_beside_the_image_is_no_second_image() -> None:
    soci = "application/vnd.amazon.soci.index.v2+json"
    for mark in ({"artifactType": soci}, {}):
        source = MemorySource()
        image = source.image([LAYER], tag=None)
        config = source.describe(b"{}", soci)
        artifact = source.image([], tag=None, manifest={"artifactType": soci, "config": config})
        source.index(source.child(image, LINUX), source.child(artifact, LINUX, **mark))
        assert (await source.resolved()).digest == image


async def test_what_is_no_image_is_refused_as_what_it_is() -> None:
    source = MemorySource()
    source.image([], manifest={"config": source.describe(b"{}", "application/vnd.cncf.helm.config.v1+json")})
    with pytest.raises(ImageError, match="an artifact of the type 'application/vnd"):
        await source.resolved()


@pytest.mark.parametrize(
    ("node", "offered", "taken"),
    [
        ("linux/amd64", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"], "linux/amd64"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/amd64", ["linux/amd64/v1"], "linux/amd64/v1"),
        ("linux/arm64", ["linux/arm64/v9", "linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/arm64/v8", ["linux/arm64"], "linux/arm64"),
        ("linux/arm64", ["linux/arm64/v9"], None),
        ("linux/arm", ["linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"),
        ("linux/arm/v6", ["linux/arm/v7"], None),
    ],
)
async def test_the_nearest_level_that_a_node_runs_is_taken(node: str, offered: list[str], taken: str | None) -> None:
    source = MemorySource()
    platforms = [ImagePlatform.parse(one) for one in offered]
    # Equal images would be one digest.
    made = {str(p): source.image([LAYER], tag=None, platform=p, config={"env": [f"P={p}"]}) for p in platforms}
    source.index(*(source.child(made[str(p)], p) for p in platforms))
    if taken is None:
        assert await refused(source, ImagePlatform.parse(node)) is Reason.PLATFORM_NOT_FOUND
    else:
        assert (await source.resolved("1", ImagePlatform.parse(node))).digest == made[taken]


async def test_an_architecture_is_called_as_nodes_call_it() -> None:
    source = MemorySource()
    source.image([LAYER], config={"architecture": "x86_64"})
    assert (await source.resolved()).config.platform.architecture == "amd64"


async def test_an_index_inside_an_index_is_refused() -> None:
    source = MemorySource()
    inner = source.index(tag="inner")
    source.index(source.child(inner, LINUX))
    assert await refused(source) is Reason.MANIFEST_INVALID


async def test_the_configurations_platform_has_to_be_the_right_one() -> None:
    source = MemorySource()
    source.image([LAYER], platform=ARM)
    assert await refused(source) is Reason.PLATFORM_NOT_FOUND
    lying = MemorySource()
    lying.index(lying.child(lying.image([LAYER], tag=None, platform=ARM), LINUX))
    assert await refused(lying) is Reason.PLATFORM_NOT_FOUND


async def test_other_content_than_asked_for_is_refused() -> None:
    source = MemorySource()
    digest = source.image([LAYER], tag=None)
    source.index(source.child(digest, LINUX))
    source.blobs[digest] += b" "
    assert await refused(source) is Reason.DIGEST_MISMATCH
    configured = MemorySource()
    configured.image([LAYER])
    config = json.loads(configured.blobs[configured.tags["1"]])["config"]["digest"]
    for body in (configured.blobs[config] + b" ", b"{}"):
        configured.blobs[config] = body
        assert await refused(configured) is Reason.DIGEST_MISMATCH


@pytest.mark.parametrize(
    "manifest",
    [
        {"layers": None},
        {"layers": [{}]},
        {"config": {}},
        {"mediaType": "application/vnd.docker.distribution.manifest.v1+json"},
        {"mediaType": "text/html"},
        {"layers": []},
        {"layers": [{"mediaType": "x", "digest": "md5:1", "size": 1}]},
        {"layers": [{"mediaType": "x", "digest": LAYER.diff_id, "size": -1}]},
        {"layers": [{"mediaType": "x", "digest": LAYER.diff_id, "size": 1, "urls": ["http://10.0.0.1/"]}]},
        {"manifests": []},
        {"Layers": []},
        {"LAYERS": []},
        {"layer\u017f": []},
        {"Config": {}},
        {"MediaType": INDEX},
    ],
)
async def test_malformed_manifests_are_refused(manifest: dict[str, Any]) -> None:
    source = MemorySource()
    source.image([LAYER], manifest=manifest)
    assert await refused(source) is Reason.MANIFEST_INVALID


@pytest.mark.parametrize(
    "config",
    [
        {"rootfs": {"diff_ids": []}},
        {"rootfs": None},
        {"os": None},
        {"config": {"Env": "x"}},
        {"config": {"entrypoint": ["/evil"], "Entrypoint": ["python"]}},
        {"config": {"env": ["PYTHONPATH=/evil"]}},
        {"Config": {"Entrypoint": ["/evil"]}},
        {"RootFS": {"diff_ids": [LAYER.diff_id]}},
        {"rootfs": {"diff_ids": [LAYER.diff_id], "Diff_IDs": []}},
        {"OS": "linux"},
    ],
)
async def test_malformed_configurations_are_refused(config: dict[str, Any]) -> None:
    source = MemorySource()
    source.image([LAYER], config=config)
    assert await refused(source) is Reason.MANIFEST_INVALID


async def test_a_key_that_stands_twice_is_refused() -> None:
    source = MemorySource()
    body = source.blobs[source.image([LAYER], tag=None)]
    source.put(body[:-1] + b', "layers": []}', "1")
    assert await refused(source) is Reason.MANIFEST_INVALID


async def test_keys_that_stand_twice_in_a_configuration_are_refused() -> None:
    source = MemorySource()
    config = text({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [LAYER.diff_id]}})
    twice = config[:-1] + b', "config": {"Env": ["A=1"]}, "config": {"Cmd": ["python"]}}'
    source.image([LAYER], manifest={"config": source.describe(twice, "application/vnd.oci.image.config.v1+json")})
    assert await refused(source) is Reason.MANIFEST_INVALID


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"[" * 100_000, b'{"a": 1, "a": 2}'])
def test_what_is_no_manifest_is_refused(body: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        media_type_of(body)
    assert caught.value.reason is Reason.MANIFEST_INVALID


def test_a_manifest_may_leave_its_type_out() -> None:
    assert media_type_of(b'{"manifests": []}') == INDEX
    assert media_type_of(b'{"layers": []}') == MANIFEST


async def test_numbers_and_sizes_are_bounded() -> None:
    source = MemorySource()
    source.image([LAYER] * 3)
    assert await refused(source, limits=Limits(layers=2)) is Reason.LIMIT_EXCEEDED
    assert await refused(source, limits=Limits(compressed=10)) is Reason.LIMIT_EXCEEDED
    assert await refused(source, limits=Limits(config=10)) is Reason.LIMIT_EXCEEDED
    assert source.read == []
    child = source.child(source.tags["1"], LINUX)
    source.index(*([child] * 65))
    assert await refused(source) is Reason.LIMIT_EXCEEDED
