"""`log_environment(sign_key=…)` against a real MLflow, read back as the operator reads it and judged."""

import asyncio

import aiohttp
import mlflow
import pytest
from sklearn.linear_model import LogisticRegression

from lockstep.api.environmentspec import EnvironmentSpec
from lockstep.api.reasons import Reason
from lockstep.formats.storage import run_artifact
from lockstep.gates.rules.document_signature import judge
from lockstep.lineage.connection import MLflowCredentials
from lockstep.lineage.lineage import Lineage
from lockstep.lineage.mlflow import MLflowRegistry
from lockstep.training import log_environment
from tests.fakes.signing import key, pem_of, public_pem


def lineage_of(tracking: str, name: str) -> Lineage:
    async def read() -> Lineage:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            return await MLflowRegistry(session, tracking, MLflowCredentials()).lineage(name=name, version="1")

    return asyncio.run(read())


def trained(tracking: str, name: str, *, before: bool, sign_key: str | None) -> Lineage:
    mlflow.set_tracking_uri(tracking)
    mlflow.set_experiment("signing")
    with mlflow.start_run():
        if before:
            log_environment(prove=False, strict=True, sign_key=sign_key)
        mlflow.sklearn.log_model(
            LogisticRegression().fit([[0.0], [1.0]], [0, 1]),
            name="model",
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
            registered_model_name=name,
        )
        if not before:
            log_environment(prove=False, strict=True, sign_key=sign_key)
    return lineage_of(tracking, name)


def reason(lineage: Lineage, signer: str) -> Reason | None:
    rules = EnvironmentSpec.model_validate({"signature": {"keys": [public_pem(key(signer))]}})
    result = judge("environment", lineage, rules)
    return None if result is None else result.reason


@pytest.mark.parametrize("before", [True, False])
def test_a_signed_environment_is_vouched_for_by_its_key_alone(tracking: str, before: bool) -> None:
    lineage = trained(tracking, f"signed-{before}", before=before, sign_key=pem_of("trainer").decode())
    assert reason(lineage, "trainer") is None
    assert reason(lineage, "other") is Reason.DOCUMENT_SIGNATURE_INVALID
    assert lineage.run is not None
    copy = f"runs:/{lineage.run.run_id}/{run_artifact(lineage.model_id or '')}.dsse"
    assert mlflow.artifacts.load_text(copy).encode() == lineage.environment_signature


def test_without_a_key_the_environment_is_self_declared(tracking: str) -> None:
    assert reason(trained(tracking, "unsigned", before=False, sign_key=None), "trainer") is Reason.DOCUMENT_UNSIGNED
