"""One real API server with the chart installed for all tests of this folder."""

from collections.abc import AsyncIterator, Iterator

import pytest

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from tests.api.guarded import Serving, serve
from tests.api.installation import Installation, model_deployment


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


@pytest.fixture
async def owner(api: Installation, cluster: KubernetesCluster, team: str) -> ModelDeployment:
    """A ModelDeployment that the API server holds."""
    api.apply(model_deployment() | {"metadata": {"name": "iris", "namespace": team}})
    found = await cluster.get(ports.MODEL_DEPLOYMENT, team, "iris")
    assert found is not None
    return ModelDeployment.from_object(found)


@pytest.fixture
async def serving(api: Installation, cluster: KubernetesCluster, owner: ModelDeployment) -> Serving:
    """All that belongs to it."""
    return await serve(api, cluster, owner)


@pytest.fixture(scope="session")
def granted(api: Installation) -> tuple[str, ...]:
    """Somebody to whom RBAC allows everything, without being in system:masters."""
    group = "rbac.authorization.k8s.io"
    binding = {"apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "granted"}}
    to = {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"}
    api.apply(binding | {"roleRef": to, "subjects": [{"apiGroup": group, "kind": "User", "name": "granted"}]})
    return ("--as", "granted")
