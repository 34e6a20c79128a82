"""One real MLflow server for all integration tests."""

from collections.abc import Iterator

import pytest

from tests.fakes.mlflow_server import MLflowServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    with MLflowServer(tmp_path_factory.mktemp("mlflow")) as started:
        yield started


@pytest.fixture
def tracking(server: MLflowServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point MLflow's client in this process to the server, with short patience."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    return server.uri
