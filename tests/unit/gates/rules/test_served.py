"""Which model an image serves: files, copies, parts, strangers, what the command line and variables name."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.formats.modelfiles import ModelFiles
from lockstep.gates import image as gate
from lockstep.gates.gate import Result
from lockstep.images.scan.result import ImageModel
from tests.fakes import builders as build

RIGHT = build.held()
COPY = build.held(path="/srv/copy")
OTHER = replace(build.held(path="/opt/evil"), model_id="m-other", run_id="other", sha256="sha256:2")
REQUIRED = build.policy(images={"modelInImage": "Required"})


def with_files(model: ImageModel = RIGHT, /, **changed: bytes | None) -> ImageModel:
    """Return a model with some files changed, added, or (None) taken away; dots are written `__`."""
    bodies = build.contents()
    for name, body in changed.items():
        path = name.replace("_in_", "/").replace("__", ".")
        bodies = {key: value for key, value in bodies.items() if key != path} | ({path: body} if body is not None else {})
    return replace(model, files=build.files_of(bodies))


def judged(
    *models: ImageModel,
    start: str | None = None,
    server: str | None = None,
    env: dict[str, str] | None = None,
    **changes: Any,
) -> Result:
    """Judge an image that holds these models; `start` is what it says that `server` serves, `env` what the manifest sets."""
    document = build.document().model_copy(update={"start": build.start(model=start, server=server)})
    variables = [{"name": name, "value": value} for name, value in (env or {}).items()]
    spec = build.spec(template={"env": variables})
    return gate.GATE.evaluate(build.evidence(scan=build.scan(models=models, document=document), spec=spec, **changes))


def refused(result: Result) -> Reason:
    assert result.outcome is GateOutcome.REJECTED, result
    assert result.next_step
    return result.reason


def test_the_registered_model_alone_passes_and_the_verdict_says_where_it_is() -> None:
    result = judged(RIGHT)
    assert result.outcome is GateOutcome.PASSED
    assert "holds iris 3 at /opt/model" in result.message


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model__skops": b"others"}, "model.skops in /opt/model is another file than the one of iris 3"),
        ({"MLmodel": build.MLMODEL + b"\n"}, "MLmodel in /opt/model is another file than the one of iris 3"),
        ({"model__skops": None}, "model.skops is missing"),
        ({"code_in_evil__py": b"x"}, "code/evil.py was added"),
        ({"serving_input_example__json": b"[1]"}, "serving_input_example.json in /opt/model is another file"),
        ({"registered_model_meta_in_x": b""}, "registered_model_meta/x was added"),
        ({"lockstep_in_evil__py": b""}, "lockstep/evil.py was added"),
    ],
)
@pytest.mark.parametrize("policy", [build.policy(), REQUIRED])
def test_a_model_with_other_files_is_refused_by_name(changed: dict[str, bytes | None], says: str, policy: Any) -> None:
    result = judged(with_files(**changed), policy=policy)
    assert refused(result) is Reason.MODEL_FILES_DIFFER
    assert says in result.message
    assert "mlflow artifacts download" in (result.next_step or "")


@given(st.sampled_from(sorted(build.contents())), st.binary(max_size=40), st.booleans())
def test_any_other_content_of_any_file_is_named_whichever_side_changed(path: str, body: bytes, in_image: bool) -> None:
    bodies = build.contents()
    if bodies[path] == body:
        return
    changed = build.files_of(bodies | {path: body})
    model = replace(RIGHT, files=changed) if in_image else RIGHT
    registered = build.pins() if in_image else build.pins(files=changed)
    result = gate.GATE.evaluate(build.evidence(scan=build.scan(models=(model,)), pins=registered))
    assert refused(result) is Reason.MODEL_FILES_DIFFER
    assert path in result.message


def test_the_files_that_were_pinned_decide_and_not_those_that_there_are_now() -> None:
    evil = build.files_of(build.contents(model__skops=b"others"))
    assert refused(judged(replace(RIGHT, files=evil), files=evil)) is Reason.MODEL_FILES_DIFFER
    assert judged(RIGHT, files=evil).outcome is GateOutcome.PASSED
    assert judged(RIGHT, files=build.unknown(Reason.MODEL_READING)).outcome is GateOutcome.PASSED


def test_a_version_that_was_never_seen_is_compared_with_what_there_is() -> None:
    assert judged(RIGHT, pins=None).outcome is GateOutcome.PASSED
    assert refused(judged(with_files(model__skops=b"x"), pins=None)) is Reason.MODEL_FILES_DIFFER


@pytest.mark.parametrize("reason", [Reason.MODEL_READING, Reason.WAITING])
def test_files_that_are_still_being_read_are_waited_for(reason: Reason) -> None:
    result = judged(RIGHT, pins=None, files=build.unknown(reason))
    assert (result.outcome, result.reason) == (GateOutcome.PENDING, reason)


def test_files_that_could_not_be_read_are_no_pass() -> None:
    for retry, outcome in ((True, GateOutcome.RETRY), (False, GateOutcome.REJECTED)):
        result = judged(RIGHT, pins=None, files=build.unknown(Reason.MODEL_FILES_REFUSED, retry=retry))
        assert (result.outcome, result.reason) == (outcome, Reason.MODEL_FILES_REFUSED)


UNLISTED = build.unknown(Reason.MODEL_FILES_UNREADABLE, retry=False)


@pytest.mark.parametrize(
    ("rule", "files", "passes"), [("IfReadable", UNLISTED, True), ("Required", UNLISTED, False), ("Ignore", None, True)]
)
def test_without_a_list_of_the_files_the_mlmodel_decides_where_the_policy_lets_it(rule: str, files: Any, passes: bool) -> None:
    facts = {"pins": None, "files": files, "policy": build.policy(lineage={"modelFiles": rule})}
    result = judged(with_files(model__skops=b"others"), **facts)
    assert (result.outcome is GateOutcome.PASSED) is passes
    assert not passes or "by its MLmodel file alone" in result.message
    edited = replace(RIGHT, sha256=build.OTHER_DIGEST)
    assert judged(edited, **facts).outcome is GateOutcome.REJECTED
    # What has been pinned before is compared all the same.
    known = facts | {"pins": build.pins()}
    assert refused(judged(with_files(model__skops=b"others"), **known)) is Reason.MODEL_FILES_DIFFER


def test_what_serving_adds_is_fine_and_only_as_an_addition() -> None:
    added = replace(with_files(model_settings__json=b"{}"), harmless=("model_settings.json",))
    assert judged(added).outcome is GateOutcome.PASSED
    registered = build.files_of(build.contents() | {"model_settings.json": b"{1}"})
    assert refused(judged(added, pins=build.pins(files=registered))) is Reason.MODEL_FILES_DIFFER


def test_cached_byte_code_is_an_addition_unless_pods_compile_anew() -> None:
    cached = replace(RIGHT, caches=("code/__pycache__/a.cpython-311.pyc",))
    result = judged(cached)
    assert refused(result) is Reason.MODEL_FILES_DIFFER
    assert "code/__pycache__/a.cpython-311.pyc was added" in result.message
    assert judged(cached, policy=build.policy(environment={"bytecodeCache": "Fresh"})).outcome is GateOutcome.PASSED


def test_cached_byte_code_that_an_image_leaves_out_is_no_loss() -> None:
    registered = build.files_of(build.contents() | {"code/__pycache__/a.cpython-311.pyc": b"x"})
    assert judged(RIGHT, pins=build.pins(files=registered)).outcome is GateOutcome.PASSED


def test_a_model_whose_files_can_not_be_told_is_refused_with_where_to_put_it() -> None:
    model = replace(RIGHT, path="/usr/share/model", files=None, undetermined="w is /usr/share/model/w, and it was not hashed")
    result = judged(model)
    assert refused(result) is Reason.FILE_UNREADABLE
    assert "could not be determined: w is /usr/share/model/w" in result.message
    assert "below /opt" in (result.next_step or "")


# --- several models -------------------------------------------------------------------------------------------------------


def test_copies_of_the_registered_model_pass() -> None:
    assert judged(RIGHT, COPY).outcome is GateOutcome.PASSED


def test_of_several_models_nobody_knows_which_one_is_served() -> None:
    for policy in (build.policy(), REQUIRED):
        result = judged(OTHER, RIGHT, policy=policy)
        assert refused(result) is Reason.SERVED_MODEL_UNKNOWN
        assert "another model at /opt/evil" in result.message
        assert "name it on the command line" in (result.next_step or "")


def test_a_copy_with_other_weights_is_another_model() -> None:
    assert refused(judged(RIGHT, with_files(COPY, model__skops=b"x"))) is Reason.SERVED_MODEL_UNKNOWN


@pytest.mark.parametrize("named", ["/opt/model", "/opt/model/model.skops", "/srv", "/srv/copy"])
def test_of_several_models_the_one_that_is_named_counts(named: str) -> None:
    assert judged(OTHER, RIGHT, COPY, start=named).outcome is GateOutcome.PASSED


@pytest.mark.parametrize("models", [(RIGHT,), (RIGHT, OTHER), (OTHER, RIGHT, COPY)])
@pytest.mark.parametrize("named", ["/opt/evil", "/opt/evil/x", "/elsewhere", "/opt/model2", "/opt/models", "/mnt"])
def test_the_registered_model_that_is_not_the_one_that_is_served_proves_nothing(
    models: tuple[ImageModel, ...], named: str
) -> None:
    for policy in (build.policy(), REQUIRED):
        result = judged(*models, start=named, policy=policy)
        assert refused(result) is Reason.SERVED_MODEL_DIFFERS
        assert named in result.message


def test_a_directory_above_several_models_names_none_of_them() -> None:
    assert refused(judged(RIGHT, OTHER, start="/opt")) is Reason.SERVED_MODEL_DIFFERS
    assert judged(RIGHT, start="/opt").outcome is GateOutcome.PASSED


def inner(**changes: Any) -> ImageModel:
    return replace(OTHER, path="/opt/model/artifacts/inner", **changes)


def test_a_model_within_the_registered_one_is_a_part_of_it_and_is_not_to_be_served_alone() -> None:
    assert judged(RIGHT, inner()).outcome is GateOutcome.PASSED
    assert judged(RIGHT, inner(), start="/opt/model").outcome is GateOutcome.PASSED
    assert refused(judged(RIGHT, inner(), start="/opt/model/artifacts/inner")) is Reason.SERVED_MODEL_DIFFERS


def test_the_registered_model_within_another_one_is_one_of_two() -> None:
    around = replace(OTHER, path="/opt")
    assert refused(judged(around, RIGHT)) is Reason.SERVED_MODEL_UNKNOWN
    assert judged(around, RIGHT, start="/opt/model").outcome is GateOutcome.PASSED


def test_without_the_registered_model_the_one_that_claims_to_be_it_is_told() -> None:
    assert refused(judged(OTHER, with_files(model__skops=b"x"))) is Reason.MODEL_FILES_DIFFER
    assert refused(judged(OTHER)) is Reason.IMAGE_LACKS_VERSION


@pytest.mark.parametrize("models", [(RIGHT,), (RIGHT, COPY)])
def test_a_server_of_models_that_does_not_tell_which_one_it_serves_may_serve_another(models: tuple[ImageModel, ...]) -> None:
    """MLServer with several settings: one may name a bare pickle, which is no model that the scan knows."""
    for server in ("mlserver", "mlflow"):
        result = judged(*models, server=server)
        assert refused(result) is Reason.SERVED_MODEL_UNKNOWN
        assert f"which model {server} serves could not be determined" in result.message
    assert judged(*models, server="mlserver", start="/opt/model").outcome is GateOutcome.PASSED
    assert judged(*models, server="uvicorn").outcome is GateOutcome.PASSED, "a server of one's own"


# --- what variables name --------------------------------------------------------------------------------------------------


def configured(**env: str) -> Any:
    image = build.image()
    return replace(image, config=replace(image.config, env=tuple(env.items()), working_dir="/opt"))


@pytest.mark.parametrize("value", ["/opt/evil", "/opt/evil/", "/opt/./evil", "/srv/../opt/evil/w", "evil", "./evil"])
def test_a_variable_that_leads_to_another_model_is_refused_even_where_the_command_line_names_the_right_one(value: str) -> None:
    """What the image's command line names may itself come from a variable that the manifest changes."""
    result = judged(RIGHT, OTHER, start="/opt/model", env={"MODEL_DIR": value}, image=configured())
    assert refused(result) is Reason.SERVED_MODEL_DIFFERS
    assert "the variable MODEL_DIR names /opt/evil" in result.message
    assert refused(judged(RIGHT, OTHER, start="/opt/model", image=configured(MODEL_DIR=value))) is Reason.SERVED_MODEL_DIFFERS


def test_the_manifests_value_of_a_variable_counts() -> None:
    image = configured(MODEL_DIR="/opt/evil")
    right = judged(RIGHT, OTHER, start="/opt/model", env={"MODEL_DIR": "/opt/model"}, image=image)
    assert right.outcome is GateOutcome.PASSED


def test_variables_that_name_no_other_model_do_not_count() -> None:
    harmless = {"HOME_PAGE": "https://example.com/", "LEVEL": "info", "EMPTY": "", "DIR": "/opt/model", "WORK": "/opt"}
    assert judged(RIGHT, env=harmless).outcome is GateOutcome.PASSED
    assert judged(RIGHT, OTHER, start="/opt/model", env=harmless).outcome is GateOutcome.PASSED


# --- fetched at start -----------------------------------------------------------------------------------------------------


SAME = ["models:/iris/3", "models:/iris/3/", f"models:/{build.MODEL_ID}", build.place().uri]


@pytest.mark.parametrize("uri", SAME)
@pytest.mark.parametrize("by_variable", [True, False])
def test_the_same_version_may_be_fetched_at_start_and_the_verdict_says_that_it_is_not_checked(
    uri: str, by_variable: bool
) -> None:
    said: dict[str, Any] = {"env": {"MODEL_URI": uri}} if by_variable else {"start": uri}
    for models in ((), (RIGHT,)):
        result = judged(*models, **said)
        assert result.outcome is GateOutcome.PASSED
        assert "is not checked" in result.message
        assert uri in result.message
        assert refused(judged(*models, policy=REQUIRED, **said)) is Reason.MODEL_NOT_IN_IMAGE


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("models:/iris/2", Reason.SERVED_MODEL_DIFFERS),
        ("models:/other/3", Reason.SERVED_MODEL_DIFFERS),
        ("models:/iris@champion", Reason.SERVED_MODEL_UNKNOWN),
        ("models:/iris/latest", Reason.SERVED_MODEL_UNKNOWN),
        ("models:/iris/Production", Reason.SERVED_MODEL_UNKNOWN),
        (f"models:/m-{'0' * 32}", Reason.SERVED_MODEL_UNKNOWN),
        (f"runs:/{build.RUN}/model", Reason.SERVED_MODEL_UNKNOWN),
        ("mlflow-artifacts:/1/models/m-0/artifacts", Reason.SERVED_MODEL_UNKNOWN),
    ],
)
@pytest.mark.parametrize("models", [(), (RIGHT,)])
def test_another_version_or_a_name_that_moves_is_not_fetched(uri: str, reason: Reason, models: tuple[ImageModel, ...]) -> None:
    for said in ({"start": uri}, {"env": {"MODEL_URI": uri}}, {"image": configured(MODEL_URI=uri)}):
        result = judged(*models, **said)
        assert refused(result) is reason
        assert uri in result.message
        assert "models:/iris/3" in (result.next_step or "")


@pytest.mark.parametrize("uri", ["s3://bucket/iris", "https://example.com/m.tgz", "hf://team/iris", "gs://b/iris"])
def test_other_places_are_refused_where_the_command_line_names_them(uri: str) -> None:
    assert refused(judged(start=uri)) is Reason.SERVED_MODEL_UNKNOWN


def test_an_image_without_a_model_says_that_what_it_serves_is_not_checked() -> None:
    result = judged()
    assert result.outcome is GateOutcome.PASSED
    assert "no model is in the image: what it serves is not checked" in result.message
    assert judged(start="/mnt/models").outcome is GateOutcome.PASSED


def test_files_of_a_list_never_decide_by_the_root_digest() -> None:
    """Renamed files can have the same root digest, which covers no names."""
    before = build.files_of({"MLmodel": build.MLMODEL, "a.py": b"1", "b.py": b"2"})
    after = build.files_of({"MLmodel": build.MLMODEL, "c.py": b"1", "d.py": b"2"})
    assert before.digest == after.digest
    assert isinstance(before, ModelFiles)
    assert refused(judged(replace(RIGHT, files=after), pins=build.pins(files=before))) is Reason.MODEL_FILES_DIFFER
