"""How a server is talked to, as its ModelDeployment says it."""

from typing import Any

import pytest

from lockstep.api.server import Server, ServerKind


@pytest.mark.parametrize(
    ("server", "kind", "path"),
    [
        ({"mlflow": {}}, ServerKind.MLFLOW, "/ping"),
        ({"openInferenceV2": {"modelName": "iris"}}, ServerKind.OPEN_INFERENCE_V2, "/v2/models/iris/ready"),
        ({"custom": {"readyPath": "/live"}}, ServerKind.CUSTOM, "/live"),
    ],
)
def test_each_server_has_its_kind_and_the_path_that_says_that_its_model_is_loaded(
    server: dict[str, Any], kind: ServerKind, path: str
) -> None:
    found = Server.model_validate(server)
    assert (found.kind, found.ready_path) == (kind, path)
