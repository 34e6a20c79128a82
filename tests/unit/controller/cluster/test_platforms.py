"""The platform of a cluster's nodes."""

from typing import Any

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.platforms import Platforms
from lockstep.images.image import ImagePlatform
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster


def nodes(*architectures: str | None) -> FakeCluster:
    found = FakeCluster(FakeClock())
    for number, architecture in enumerate(architectures):
        marks = {"kubernetes.io/arch": architecture} if architecture else {}
        found.add(ports.NODE, {"metadata": {"name": f"node-{number}", "labels": marks}})
    return found


@pytest.mark.parametrize(
    ("architectures", "selector", "expected"),
    [
        ((), {}, "amd64"),
        (("arm64",), {}, "arm64"),
        (("arm64", "amd64", "arm64", None), {}, "arm64"),
        (("amd64", "arm64"), {}, "amd64"),
        (("amd64",), {"kubernetes.io/arch": "arm64"}, "arm64"),
    ],
)
async def test_the_platform_is_that_of_the_nodes(architectures: Any, selector: dict[str, str], expected: str) -> None:
    platforms = Platforms(nodes(*architectures), FakeClock(), None)
    assert await platforms.of(selector) == ImagePlatform("linux", expected)


async def test_a_configured_platform_is_the_platform() -> None:
    fixed = ImagePlatform("linux", "s390x")
    assert await Platforms(nodes("amd64"), FakeClock(), fixed).of({}) == fixed


async def test_nodes_are_listed_at_most_once_a_minute() -> None:
    found, clock = nodes("amd64"), FakeClock()
    platforms = Platforms(found, clock, None)
    await platforms.of({})
    for number in (7, 8):
        found.add(ports.NODE, {"metadata": {"name": f"node-{number}", "labels": {"kubernetes.io/arch": "arm64"}}})
    assert (await platforms.of({})).architecture == "amd64"
    clock.advance(61)
    assert (await platforms.of({})).architecture == "arm64"
