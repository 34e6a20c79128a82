"""One real API server with the chart installed for all tests of this folder."""

from collections.abc import AsyncIterator, Iterator

import pytest

from lockstep.controller.cluster import KubernetesCluster
from tests.api.installation import Installation


@pytest.fixture(scope="session")
def api() -> Iterator[Installation]:
    with Installation.started() as installed:
        yield installed


@pytest.fixture
def team(api: Installation) -> Iterator[str]:
    """A namespace of the test's own."""
    name = api.namespace()
    yield name
    api.clear(name)


@pytest.fixture
async def cluster(api: Installation) -> AsyncIterator[KubernetesCluster]:
    """The controller's client with the operator's identity."""
    async with api.cluster() as connected:
        yield connected
