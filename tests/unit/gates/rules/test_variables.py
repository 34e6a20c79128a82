"""Environment variables, the pods' and the image's own, judged by a policy: a part of the environment gate."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.gates import environment as gate
from lockstep.gates.evidence import Evidence
from lockstep.gates.gate import Result
from lockstep.images.image import ResolvedImage
from lockstep.rollout.status.results import message_of
from tests.fakes import builders as build

OLDER = build.document(build.TRAINED | {"scikit-learn": "1.2.0"})


def image(*env: tuple[str, str]) -> ResolvedImage:
    found = build.image()
    return replace(found, config=replace(found.config, env=env))


def evidence(
    env: Mapping[str, str] | None = None,
    *,
    own: Mapping[str, str] | None = None,
    rules: Mapping[str, Any] | None = None,
    **more: Any,
) -> Evidence:
    """Return evidence with variables of the pods, of the image, and the policy's rules about them."""
    template = {"env": [{"name": name, "value": value} for name, value in (env or {}).items()]}
    policy = build.policy(pods={"variables": dict(rules or {})})
    return build.evidence(spec=build.spec(template=template), image=image(*(own or {}).items()), policy=policy, **more)


def judged(env: Mapping[str, str] | None = None, **more: Any) -> Result:
    return gate.GATE.evaluate(evidence(env, **more))


def passes(env: Mapping[str, str] | None = None, **more: Any) -> bool:
    return judged(env, **more).outcome is GateOutcome.PASSED


def test_variables_that_are_known_to_be_harmless_pass_unasked() -> None:
    assert passes({"LOG_LEVEL": "debug", "OMP_NUM_THREADS": "4", "MLSERVER_HTTP_PORT": "8080"})


def test_a_stranger_is_refused_by_name_with_the_list_that_would_allow_it() -> None:
    result = judged({"DATABASE_URL": "postgres://u:s3cret@db"})
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.VARIABLE_NOT_ALLOWED)
    assert message_of(result) == (
        "spec.template.env sets what the policy standard does not allow: DATABASE_URL is not known to be harmless. "
        "Next step (manifest): set DATABASE_URL in the image instead; "
        "or (platform team): name DATABASE_URL in pods.variables.allowed"
    )
    assert not result.final, "the policy may change"


def test_what_the_policy_lists_may_have_any_value() -> None:
    rules = {"allowed": ["APP_*", "DATABASE_URL"]}
    assert passes({"APP_MODE": "a b /c", "DATABASE_URL": "postgres://db"}, rules=rules)
    assert judged({"app_mode": "a"}, rules=rules).reason is Reason.VARIABLE_NOT_ALLOWED


@pytest.mark.parametrize(
    "name", ["MLSERVER_MODEL_URI", "mlserver_model_uri", "GUNICORN_CMD_ARGS", "UVICORN_LIMIT_MAX_REQUESTS"]
)
def test_no_wildcard_covers_what_is_known_to_choose_code_or_the_model(name: str) -> None:
    for allowed in (["*"], [name]):
        result = judged({name: "--config /x"}, rules={"allowed": allowed})
        assert result.reason is Reason.VARIABLE_NOT_ALLOWED
        assert f"name {name} in pods.variables.dangerous" in message_of(result)
    assert passes({name: "--config /x"}, rules={"dangerous": [name]})


@pytest.mark.parametrize("name", ["SHELLOPTS", "PS4", "PYTHONPATH", "LD_PRELOAD", "BASH_ENV"])
def test_no_list_covers_what_the_schema_refuses(name: str) -> None:
    result = judged({name: "x"}, rules={"allowed": ["*"], "dangerous": [name]})
    assert result.reason is Reason.VARIABLE_NOT_ALLOWED
    assert result.next_step == f"Next step (manifest): remove {name}"


def test_a_harmless_name_with_more_than_a_word_is_refused_and_its_value_is_not_told() -> None:
    result = judged({"LOG_LEVEL": "info --app-dir /tmp"})
    assert "LOG_LEVEL has a value that is not one plain word" in result.message
    assert "app-dir" not in message_of(result)
    assert passes({"LOG_LEVEL": "info --app-dir /tmp"}, rules={"allowed": ["LOG_LEVEL"]})


def test_a_model_is_not_selected_by_a_variable_that_the_image_sets() -> None:
    own = {"MODEL_DIR": "/opt/model"}
    result = judged({"MODEL_DIR": "/opt/model2"}, own=own, rules={"allowed": ["*"]})
    assert "MODEL_DIR may choose another model than the registered one" in result.message
    assert "set MODEL_DIR in the image instead" in message_of(result)
    assert passes(own=own)


def test_a_number_that_the_image_sets_may_be_another_number() -> None:
    own = {"QUEUE_SIZE": "10", "STORE": "/opt/a"}
    assert passes({"QUEUE_SIZE": "20"}, own=own)
    assert not passes({"QUEUE_SIZE": "20"})
    assert not passes({"QUEUE_SIZE": "/opt/b"}, own=own)
    assert not passes({"STORE": "/opt/b"}, own=own)


def test_several_are_told_together_with_who_may_do_what() -> None:
    result = judged({"DATABASE_URL": "x", "HF_HOME": "/x", "OTHER": "x", "FOURTH": "x"})
    assert "; and 1 more" in result.message
    assert result.next_step == (
        "Next step (manifest): set DATABASE_URL, HF_HOME, OTHER, and 1 more in the image instead; or (platform team): "
        "name DATABASE_URL, OTHER, FOURTH in pods.variables.allowed and name HF_HOME in pods.variables.dangerous"
    )


def test_they_are_refused_before_the_layers_are_read() -> None:
    scanning = build.unknown(Reason.SCANNING)
    assert judged({"DATABASE_URL": "x"}, scan=scanning).reason is Reason.VARIABLE_NOT_ALLOWED
    assert judged({"LOG_LEVEL": "info"}, scan=scanning).reason is Reason.SCANNING


def test_how_the_environments_differ_is_told_with_it() -> None:
    result = gate.GATE.evaluate(evidence({"DATABASE_URL": "x"}, scan=build.scan(document=OLDER)))
    assert result.reason is Reason.VARIABLE_NOT_ALLOWED
    assert result.message.endswith("; scikit-learn: trained with 1.4.2, image has 1.2.0")
    assert [difference.subject for difference in result.differences] == ["scikit-learn"]
    assert result.environment_digest is not None


def test_without_the_image_it_is_waited_for() -> None:
    found = replace(evidence({"DATABASE_URL": "x"}), image=build.unknown(), scan=build.unknown())
    assert gate.GATE.evaluate(found).outcome is GateOutcome.RETRY


@pytest.mark.parametrize("name", ["WEB_CONCURRENCY", "UVICORN_WORKERS"])
def test_more_processes_must_not_import_from_where_one_does_not(name: str) -> None:
    found = evidence({name: "2"})
    for working_dir, passed in (("/app", True), ("/app/", True), ("/opt/e", False), ("/", False)):
        pinned = replace(build.image(), config=replace(build.image().config, working_dir=working_dir))
        result = gate.GATE.evaluate(replace(found, image=pinned))
        assert (result.outcome is GateOutcome.PASSED) is passed
        assert passed or "import from the working directory" in result.message
    elsewhere = replace(build.image(), config=replace(build.image().config, working_dir="/opt/e"))
    for alone in (evidence({name: "1"}), evidence({name: "2"}, rules={"dangerous": [name]})):
        assert gate.GATE.evaluate(replace(alone, image=elsewhere)).outcome is GateOutcome.PASSED


# --- the image's own variables ---------------------------------------------------------------------------------------------


def test_an_image_that_makes_its_shells_run_code_is_refused_by_name() -> None:
    result = judged(own={"SHELLOPTS": "xtrace", "PS4": "$(/opt/s3cret)+"})
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.IMAGE_VARIABLE_NOT_ALLOWED)
    assert message_of(result) == (
        "the image sets what the scan does not follow: SHELLOPTS makes shells run or read other commands; "
        "PS4 makes shells run or read other commands. Next step (image): take SHELLOPTS, PS4 out of its ENV; "
        "or (platform team): name SHELLOPTS, PS4 in pods.variables.inImages"
    )


def test_where_uvicorn_looks_for_the_application_is_followed_only_where_the_scan_knows_the_server() -> None:
    own = {"UVICORN_APP_DIR": "/opt/e"}
    for server, passed in (("mlflow", True), ("uvicorn", True), (None, False)):
        start = build.START.model_copy(update={"server": server})
        scan = build.scan(document=build.document().model_copy(update={"start": start}))
        assert passes(own=own, scan=scan) is passed


def test_the_policy_may_make_an_exception_for_images_that_pods_do_not_get() -> None:
    rules = {"inImages": ["UVICORN_LOG_CONFIG"]}
    assert passes(own={"UVICORN_LOG_CONFIG": "/app/logging.json"}, rules=rules)
    assert not passes({"UVICORN_LOG_CONFIG": "/app/other.json"}, own={"UVICORN_LOG_CONFIG": "/app/logging.json"}, rules=rules)
    assert not passes(
        own={"UVICORN_LOG_CONFIG": "/app/logging.json"}, rules={"allowed": ["*"], "dangerous": ["UVICORN_LOG_CONFIG"]}
    )


def test_variables_of_the_application_are_the_images_own() -> None:
    assert passes(own={"DATABASE_URL": "postgres://db", "MODEL_DIR": "/opt/model", "PYTHONUNBUFFERED": "1"})


def test_a_shell_may_activate_the_environment_that_serves_and_no_other() -> None:
    assert passes(own={"BASH_ENV": "/opt/venv/bin/activate"})
    assert judged(own={"BASH_ENV": "/opt/other/bin/activate"}).reason is Reason.IMAGE_VARIABLE_NOT_ALLOWED
    unknown = build.scan(document=build.document().model_copy(update={"start": None}))
    assert judged(own={"BASH_ENV": "/opt/venv/bin/activate"}, scan=unknown).reason is Reason.IMAGE_VARIABLE_NOT_ALLOWED


def test_a_variable_with_two_values_is_refused_since_programs_differ_in_which_they_take() -> None:
    twice = image(("PYTHONPATH", "/app"), ("PYTHONPATH", "/opt/e"))
    result = gate.GATE.evaluate(build.evidence(image=twice))
    assert result.reason is Reason.IMAGE_VARIABLE_NOT_ALLOWED
    assert "the image sets PYTHONPATH to several values" in result.message
    same = image(("PYTHONPATH", "/app"), ("PYTHONPATH", "/app"))
    assert gate.GATE.evaluate(build.evidence(image=same)).outcome is GateOutcome.PASSED
