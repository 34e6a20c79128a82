"""A version whose lineage is missing, broken or changed is refused on the real MLflow, each fault with its own reason."""

from examples.demo import kube
from tests.cluster.wait import until
from tests.e2e.conftest import Served
from tests.e2e.models import Models, changed
from tests.e2e.stage import Stage

NO_RUN = "f" * 32
ALIAS_FOLLOWED = 120.0
"""Seconds: an alias is asked for about once a minute."""


def assert_refused(stage: Stage, model: str, version: str, image: str, reason: str, *fragments: str) -> None:
    """Deploy a version, and check that the lineage gate refuses it and that nothing runs."""
    stage.deploy(model, version, image)
    message = stage.refused("lineage", reason)
    for fragment in fragments:
        assert fragment in message
    condition = stage.condition("LineageVerified")
    assert (condition["status"], condition["reason"]) == ("False", reason)
    assert stage.condition("Ready")["reason"] == reason
    assert stage.pods() == []
    assert "active" not in stage.status()


def test_a_version_that_names_a_run_that_does_not_exist_is_refused(stage: Stage, models: Models, first: Served) -> None:
    made = models.register("lineage-vanished", first.document)
    version = models.claim("lineage-vanished", models.artifacts(made.model_id), run_id=NO_RUN, model_id=made.model_id)
    said = f"names the run {NO_RUN}, which does not exist"
    assert_refused(stage, "lineage-vanished", version, first.reference, "RunMissing", said)


def test_a_version_that_names_no_run_is_refused(stage: Stage, models: Models, first: Served) -> None:
    model_id = models.runless()
    version = models.claim("lineage-runless", f"models:/{model_id}", model_id=model_id)
    assert_refused(stage, "lineage-runless", version, first.reference, "RunMissing", "names no run")


def test_a_version_whose_run_has_been_deleted_is_refused_with_how_to_restore_it(
    stage: Stage, models: Models, first: Served
) -> None:
    made = models.register("lineage-deleted", first.document)
    models.client.delete_run(made.run_id)
    restore = f"mlflow runs restore --run-id {made.run_id}"
    assert_refused(stage, "lineage-deleted", made.version, first.reference, "RunDeleted", "has been deleted", restore)


def test_a_version_whose_run_has_not_ended_is_refused(stage: Stage, models: Models, first: Served) -> None:
    made = models.register("lineage-running", first.document, finished=False)
    assert_refused(
        stage, "lineage-running", made.version, first.reference, "RunNotFinished", "is RUNNING, not FINISHED", "let the run end"
    )


def test_a_version_whose_run_recorded_no_environment_is_refused(stage: Stage, models: Models, first: Served) -> None:
    made = models.register("lineage-bare", None)
    said = f"recorded no environment for logged model {made.model_id}"
    step = "call lockstep.training.log_environment()"
    assert_refused(stage, "lineage-bare", made.version, first.reference, "EnvironmentNotRecorded", said, step)


def test_a_document_that_is_not_the_one_that_the_run_recorded_is_refused(stage: Stage, models: Models, first: Served) -> None:
    digest = "sha256:" + "0" * 64
    made = models.register("lineage-other-digest", first.document, digest=digest)
    said = f"the environment document is {first.document.digest[:19]}, the run recorded {digest[:19]}"
    assert_refused(stage, "lineage-other-digest", made.version, first.reference, "EnvironmentDigestConflict", said)


def test_a_document_whose_digest_the_run_never_recorded_is_refused(stage: Stage, models: Models, first: Served) -> None:
    made = models.register("lineage-no-digest", first.document, parameter=False)
    said = "the run recorded no digest for the environment document"
    assert_refused(stage, "lineage-no-digest", made.version, first.reference, "EnvironmentDigestConflict", said)


def test_a_version_that_names_another_run_than_its_logged_model_is_refused(stage: Stage, models: Models, first: Served) -> None:
    made = models.register("lineage-conflict", first.document)
    other = models.register("lineage-conflict", first.document)
    version = models.claim("lineage-conflict", f"models:/{made.model_id}", run_id=other.run_id, model_id=made.model_id)
    said = f"run {made.run_id} made lineage-conflict {version}, but the model version names {other.run_id}"
    assert_refused(stage, "lineage-conflict", version, first.reference, "LineageConflict", said)


def test_a_document_that_was_replaced_after_the_version_was_first_seen_is_refused_even_of_a_new_modeldeployment(
    stage: Stage, models: Models, first: Served
) -> None:
    made = models.register("lineage-replaced", first.document)
    stage.deploy("lineage-replaced", made.version, first.reference)
    stage.promoted()
    stage.kubectl("delete", "mdep", "model", "--cascade=foreground", "--timeout=60s")
    models.attach(made.model_id, changed(first.document, "acme-features", "2.0.0"))
    said = f"lineage-replaced {made.version} declares another environment document than when first seen"
    assert_refused(stage, "lineage-replaced", made.version, first.reference, "LineageChanged", said, "register a new version")


def test_a_copied_version_is_followed_to_its_logged_model_and_promoted(stage: Stage, models: Models, first: Served) -> None:
    made = models.register("lineage-origin", first.document)
    copy = models.client.copy_model_version(f"models:/lineage-origin/{made.version}", "lineage-copy")
    stage.deploy("lineage-copy", str(copy.version), first.reference)
    active = stage.promoted()
    assert active["runID"] == made.run_id
    record = kube.get("promotionrecord", active["record"], "lockstep-system")
    assert record is not None
    assert (record["spec"]["model"], record["spec"]["version"]) == ("lineage-copy", str(copy.version))


def test_an_alias_is_followed_when_it_moves(stage: Stage, models: Models, first: Served) -> None:
    model = f"lineage-alias-{stage.namespace}"
    old = models.register(model, first.document)
    new = models.register(model, first.document)
    models.client.set_registered_model_alias(model, "champion", old.version)
    stage.deploy(model, "", first.reference, alias="champion")
    before = stage.promoted()
    assert (before["modelVersion"], before["runID"]) == (old.version, old.run_id)
    models.client.set_registered_model_alias(model, "champion", new.version)
    until(
        lambda: (stage.status().get("active") or {}).get("modelVersion") == new.version,
        ALIAS_FOLLOWED,
        "the version that the alias names now is active",
    )
    after = stage.promoted()
    assert after["runID"] == new.run_id
    assert after["revision"] != before["revision"]
    assert stage.status()["model"] == f"{model}/champion={new.version}"
