"""Lineage as a real MLflow tells it, and the reason that the lineage gate gives for each."""

import asyncio
import json
from collections.abc import Callable, Sequence

import aiohttp
import mlflow
import pytest
from sklearn.linear_model import LogisticRegression

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.gates import lineage as gate
from lockstep.gates.evidence import LineagePins
from lockstep.lineage.connection import MLflowCredentials
from lockstep.lineage.lineage import Lineage, LineageError
from lockstep.lineage.mlflow import MLflowRegistry
from tests.fakes import builders as build
from tests.fakes.mlflow_server import MLflowServer
from tests.integration.trainer import Trained, World, X, read

NOBODY = "f" * 32


@pytest.fixture(scope="module")
def world(server: MLflowServer) -> World:
    mlflow.set_tracking_uri(server.uri)
    mlflow.set_experiment("lineage")
    return World(server.uri)


@pytest.fixture(scope="module")
def trained(world: World) -> Trained:
    return world.train()


def judged(lineage: Lineage, pins: LineagePins | None = None, require: Sequence[str] = ()) -> tuple[GateOutcome, Reason]:
    # Their files are another test's matter.
    policy = build.policy(lineage={"require": require, "modelFiles": "Ignore"})
    result = gate.GATE.evaluate(build.evidence(lineage=lineage, files=None, pins=pins, policy=policy))
    return result.outcome, result.reason


REJECTED = GateOutcome.REJECTED


def test_a_good_version_has_everything(world: World, trained: Trained) -> None:
    version = world.versioned("good", trained)
    world.client.set_registered_model_alias("good", "champion", version)
    lineage = read(world, "good", version=version)
    assert lineage.run is not None
    assert lineage.logged_model is not None
    ids = {lineage.version_run_id, lineage.run.run_id, lineage.logged_model.source_run_id, lineage.mlmodel_run_id}
    assert ids == {trained.run_id}
    assert lineage.model_id == lineage.mlmodel_model_id == trained.model_id
    assert (lineage.version, lineage.version_status, lineage.run.status) == (version, "READY", "FINISHED")
    assert lineage.run.param("random_state") == "7"
    assert lineage.run.tag("team") == "flowers"
    assert [name for name, digest in lineage.run.datasets if digest] == ["iris"]
    assert lineage.signature_present
    assert json.loads(lineage.input_example or b"") == {"inputs": X}
    assert b"scikit-learn==1.9.1" in (lineage.requirements or b"")
    assert b"python:" in (lineage.python_env or b"")
    everything = ["Dataset", "Parameters", "Seed", "TrainingScript", "Signature", "InputExample"]
    assert judged(lineage, require=everything)[0] is GateOutcome.PASSED
    by_alias = read(world, "good", alias="champion")
    assert (by_alias.version, by_alias.alias, by_alias.run) == (version, "champion", lineage.run)


@pytest.mark.parametrize(
    ("name", "which", "reason"),
    [
        ("reasons", {"version": "99"}, Reason.VERSION_NOT_FOUND),
        ("nothing", {"version": "1"}, Reason.VERSION_NOT_FOUND),
        ("reasons", {"alias": "nobody"}, Reason.ALIAS_NOT_FOUND),
        ("nothing", {"alias": "nobody"}, Reason.ALIAS_NOT_FOUND),
    ],
)
def test_what_does_not_exist_is_a_plain_no(
    world: World, trained: Trained, name: str, which: dict[str, str], reason: Reason
) -> None:
    world.versioned("reasons", trained)
    with pytest.raises(LineageError) as raised:
        read(world, name, **which)
    assert (raised.value.reason, raised.value.retry) == (reason, False)


def deleted_run(world: World) -> tuple[str, str]:
    made = world.train()
    version = world.versioned("deleted", made)
    world.client.delete_run(made.run_id)
    return "deleted", version


def unfinished_run(world: World) -> tuple[str, str]:
    made = world.train()
    world.client.update_run(made.run_id, "RUNNING")
    return "unfinished", world.versioned("unfinished", made)


def failed_run(world: World) -> tuple[str, str]:
    made = world.train()
    world.client.set_terminated(made.run_id, "FAILED")
    return "failed", world.versioned("failed", made)


def invented_run(world: World) -> tuple[str, str]:
    made = world.train()
    return "invented", world.register("invented", f"models:/{made.model_id}", NOBODY)


def other_run(world: World) -> tuple[str, str]:
    made = world.train()
    with mlflow.start_run() as other:
        pass
    return "other", world.register("other", f"models:/{made.model_id}", other.info.run_id)


def outside_a_run(world: World) -> str:
    info = mlflow.sklearn.log_model(
        LogisticRegression().fit(X, [0, 0, 1, 1]),
        name="model",
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn==1.9.1"],
    )
    return f"models:/{info.model_id}"


def invented_run_alone(world: World) -> tuple[str, str]:
    return "alone", world.register("alone", outside_a_run(world), NOBODY)


def no_run(world: World) -> tuple[str, str]:
    return "norun", world.register("norun", outside_a_run(world), None)


def no_document(world: World) -> tuple[str, str]:
    return "undocumented", world.versioned("undocumented", world.train(record=False))


def replaced_document(world: World) -> tuple[str, str]:
    made = world.train()
    world.replace(made, "lockstep/environment.json", build.document(required=True).canonical())
    return "replaced", world.versioned("replaced", made)


def broken_document(world: World) -> tuple[str, str]:
    made = world.train()
    world.replace(made, "lockstep/environment.json", b'{"schema": "another"}')
    return "broken", world.versioned("broken", made)


def forged_mlmodel(world: World) -> tuple[str, str]:
    made = world.train()
    world.replace(made, "MLmodel", f"run_id: {made.run_id}\nmodel_id: m-{'0' * 32}\n".encode())
    return "forged", world.versioned("forged", made)


def document_added_by_hand(world: World) -> tuple[str, str]:
    """Who has no run to write to can put a document there, but no digest."""
    made = world.train(record=False)
    world.replace(made, "lockstep/environment.json", build.document(required=True).canonical())
    return "added", world.versioned("added", made)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (deleted_run, Reason.RUN_DELETED),
        (unfinished_run, Reason.RUN_NOT_FINISHED),
        (failed_run, Reason.RUN_NOT_FINISHED),
        (invented_run, Reason.LINEAGE_CONFLICT),
        (other_run, Reason.LINEAGE_CONFLICT),
        (invented_run_alone, Reason.RUN_MISSING),
        (no_run, Reason.RUN_MISSING),
        (no_document, Reason.ENVIRONMENT_NOT_RECORDED),
        (replaced_document, Reason.ENVIRONMENT_DIGEST_CONFLICT),
        (broken_document, Reason.ENVIRONMENT_DOCUMENT_INVALID),
        (forged_mlmodel, Reason.LINEAGE_CONFLICT),
        (document_added_by_hand, Reason.ENVIRONMENT_DIGEST_CONFLICT),
    ],
)
def test_each_broken_lineage_is_refused_for_its_own_reason(
    world: World, make: Callable[[World], tuple[str, str]], reason: Reason
) -> None:
    name, version = make(world)
    assert judged(read(world, name, version=version)) == (REJECTED, reason)


def test_a_copied_version_leads_to_its_logged_model(world: World, trained: Trained) -> None:
    version = world.versioned("original", trained)
    copy = world.client.copy_model_version(f"models:/original/{version}", "copied")
    again = world.client.copy_model_version(f"models:/copied/{copy.version}", "copied-again")
    lineage = read(world, "copied-again", version=str(again.version))
    assert lineage.source.startswith("models:/copied/") or lineage.source == f"models:/{trained.model_id}"
    assert lineage.model_id == trained.model_id
    assert lineage.environment_digest is not None
    assert judged(lineage)[0] is GateOutcome.PASSED


def test_a_document_that_is_replaced_after_it_was_first_seen_is_a_change(world: World) -> None:
    made = world.train()
    version = world.versioned("changing", made)
    pins = build.pins(read(world, "changing", version=version), files=None)
    assert judged(read(world, "changing", version=version), pins)[0] is GateOutcome.PASSED
    world.replace(made, "lockstep/environment.json", build.document(required=True).canonical())
    changed = read(world, "changing", version=version)
    assert judged(changed, pins) == (REJECTED, Reason.LINEAGE_CHANGED)


def test_files_that_are_too_large_are_refused_or_left_out(world: World) -> None:
    made = world.train()
    version = world.versioned("large", made)
    world.replace(made, "serving_input_example.json", bytes(1024 * 1024 + 1))
    assert read(world, "large", version=version).input_example is None
    world.replace(made, "lockstep/environment.json", bytes(16 * 1024 * 1024 + 1))
    with pytest.raises(LineageError) as raised:
        read(world, "large", version=version)
    assert raised.value.reason is Reason.ENVIRONMENT_DOCUMENT_INVALID


def recorded(world: World, **which: str) -> bytes:
    async def asked() -> bytes:
        async with aiohttp.ClientSession() as session:
            registry = MLflowRegistry(session, world.uri, MLflowCredentials(), timeout_seconds=60)
            return await registry.recorded_document(**which)

    return asyncio.run(asked())


def test_a_recorded_document_is_found_by_run_and_by_model(world: World, trained: Trained) -> None:
    of_run, of_model = recorded(world, run_id=trained.run_id), recorded(world, model_id=trained.model_id)
    version = world.versioned("recorded", trained)
    assert of_run == of_model == read(world, "recorded", version=version).environment_document


@pytest.mark.parametrize(
    ("which", "reason"),
    [({"run_id": NOBODY}, Reason.RUN_MISSING), ({"model_id": f"m-{NOBODY}"}, Reason.RUN_MISSING)],
)
def test_a_document_of_nobody_is_not_found(world: World, which: dict[str, str], reason: Reason) -> None:
    with pytest.raises(LineageError) as raised:
        recorded(world, **which)
    assert raised.value.reason is reason


def test_a_recorded_document_that_was_replaced_is_not_given_out(world: World) -> None:
    made = world.train()
    experiment = world.client.get_run(made.run_id).info.experiment_id
    path = f"{experiment}/{made.run_id}/artifacts/lockstep/environment-{made.model_id}.json"
    world.call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", build.document(required=True).canonical())
    with pytest.raises(LineageError) as raised:
        recorded(world, run_id=made.run_id)
    assert raised.value.reason is Reason.ENVIRONMENT_DIGEST_CONFLICT
