"""The cache of layers in the operator's namespace, and its pruning."""

import base64

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import UnavailableError
from lockstep.controller.records.layers import LayerRecords
from lockstep.controller.records.pruner import Pruner
from lockstep.controller.records.retention import Retention
from lockstep.images.limits import Limits
from lockstep.images.scan.layers import LayerKey
from lockstep.images.scan.scan import Scanner
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.connection import Connection
from tests.fakes.images import Item, MemorySource, layer
from tests.fakes.roots import debian, items
from tests.fakes.workers import InProcess

SYSTEM = "lockstep-system"
KEY = LayerKey("sha256:" + "1" * 64, "application/vnd.oci.image.layer.v1.tar+gzip", "sha256:" + "2" * 64)
LARGE = bytes(range(256)) * 10_000


class Cached:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.clock)
        self.connection = Connection(self.cluster)
        self.layers = LayerRecords(self.connection, SYSTEM, "analyser 1")

    def parts(self) -> list[ports.Object]:
        return self.cluster.all(ports.LAYER_RECORD, SYSTEM)


@pytest.mark.parametrize(("record", "parts"), [(b"x", 1), (LARGE, 3)])
async def test_a_record_comes_back_as_it_was_kept_to_any_replica(record: bytes, parts: int) -> None:
    cached = Cached()
    await cached.layers.put(KEY, record)
    assert len(cached.parts()) == parts
    assert await LayerRecords(Connection(cached.cluster), SYSTEM, "analyser 1").get(KEY) == record


async def test_no_object_is_larger_than_etcd_takes() -> None:
    cached = Cached()
    await cached.layers.put(KEY, LARGE)
    assert max(len(part["spec"]["data"]) for part in cached.parts()) <= 1_200_000


async def test_another_analyser_and_another_claim_about_the_layer_find_nothing() -> None:
    cached = Cached()
    await cached.layers.put(KEY, b"x")
    assert await LayerRecords(cached.connection, SYSTEM, "analyser 2").get(KEY) is None
    for other in (
        LayerKey(KEY.digest, KEY.media_type, "sha256:" + "3" * 64),
        LayerKey(KEY.digest, "other", KEY.diff_id),
        LayerKey("sha256:" + "4" * 64, KEY.media_type, KEY.diff_id),
    ):
        assert await cached.layers.get(other) is None


async def test_a_record_of_which_a_part_is_missing_or_damaged_is_read_anew() -> None:
    cached = Cached()
    await cached.layers.put(KEY, LARGE)
    first, second, _ = cached.parts()
    await cached.cluster.delete(ports.LAYER_RECORD, SYSTEM, second["metadata"]["name"])
    assert await cached.layers.get(KEY) is None
    broken = {"metadata": {"name": second["metadata"]["name"]}, "spec": second["spec"]}
    for data in (base64.b64encode(b"other").decode(), "no base64!", None):
        cached.cluster.add(ports.LAYER_RECORD, broken | {"spec": second["spec"] | {"data": data}}, SYSTEM)
        assert await cached.layers.get(KEY) is None
        await cached.cluster.delete(ports.LAYER_RECORD, SYSTEM, second["metadata"]["name"])
    assert first["spec"]["part"] == 0


async def test_a_record_that_was_written_in_part_is_completed() -> None:
    cached = Cached()
    await cached.layers.put(KEY, LARGE)
    await cached.cluster.delete(ports.LAYER_RECORD, SYSTEM, cached.parts()[0]["metadata"]["name"])
    await cached.layers.put(KEY, LARGE)
    assert await cached.layers.get(KEY) == LARGE


async def test_what_is_too_large_is_not_kept() -> None:
    cached = Cached()
    await cached.layers.put(KEY, bytes(20_000_000))
    assert not cached.parts()


async def test_a_cluster_that_does_not_answer_costs_time_and_nothing_else() -> None:
    cached = Cached()
    cached.connection.down = True
    await cached.layers.put(KEY, b"x")
    assert await cached.layers.get(KEY) is None
    with pytest.raises(UnavailableError):
        await cached.connection.get(ports.LAYER_RECORD, SYSTEM, "x")


async def test_an_image_on_a_known_base_costs_only_its_new_layers() -> None:
    cached = Cached()
    base = layer(*items(debian()))
    images = MemorySource()
    images.image([base], tag="1", settings={"Entrypoint": ["python3"]})
    images.image([base, layer(Item("app/x.py"))], tag="2", settings={"Entrypoint": ["python3"]})

    async def scan(tag: str) -> set[str]:
        """Return what was read, by another process each time."""
        image = await images.resolved(tag)
        images.read.clear()
        scanner = Scanner(Limits(), workers=InProcess(), cache=cached.layers)
        await scanner.scan(images, image)
        await scanner.wait_for_cache()
        return set(images.read)

    assert await scan("1") == {base.descriptor.digest}
    second = await scan("2")
    assert base.descriptor.digest not in second
    assert len(second) == 1
    assert await scan("2") == set()


async def test_the_oldest_records_are_deleted_beyond_the_number() -> None:
    cached = Cached()
    for number in range(5):
        cached.clock.advance(60)
        await cached.layers.put(LayerKey(f"sha256:{number}", "", ""), b"x")
    pruner = Pruner(cached.connection, SYSTEM, {ports.LAYER_RECORD: 3}, clock=cached.clock, retention=Retention())
    await pruner.prune()
    assert sorted(part["spec"]["layerDigest"] for part in cached.parts()) == ["sha256:2", "sha256:3", "sha256:4"]
    writes = len(cached.connection.writes)
    await pruner.prune()
    assert len(cached.connection.writes) == writes, "what is settled costs no write"
