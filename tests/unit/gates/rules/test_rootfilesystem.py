"""What lies where pods can write: a part of the environment gate, and what a failing server may want to write."""

from dataclasses import replace
from typing import Any

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.environment.document import EnvironmentDocument
from lockstep.gates import environment as gate
from lockstep.gates.gate import Result
from lockstep.gates.rules.rootfilesystem import says_read_only
from lockstep.images.scan.result import ImageModel
from lockstep.rollout.status.results import message_of
from tests.fakes import builders as build

WRITABLE = build.policy(pods={"rootFilesystem": "Writable"})


def started(**changes: Any) -> EnvironmentDocument:
    return build.document().model_copy(update={"start": build.START.model_copy(update=changes)})


def judged(document: EnvironmentDocument, **more: Any) -> Result:
    return gate.GATE.evaluate(build.evidence(scan=build.scan(document=document, **more)))


def at(path: str) -> ImageModel:
    return ImageModel(path=path, sha256="x", model_id=build.MODEL_ID, run_id=build.RUN)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"path": ("/opt/lib", "/tmp")}, "the server imports from /tmp, and pods can write to /tmp"),
        ({"path": ("/tmp/.local/lib/python3.11/site-packages",)}, "imports from /tmp/.local/lib/python3.11/site-packages, and"),
        ({"path": ("/dev/shm/code",)}, "imports from /dev/shm/code, and pods can write to /dev/shm"),
        ({"program": "/tmp/serve.py"}, "the program is /tmp/serve.py, and pods can write to /tmp"),
        ({"executable": "/tmp/venv/bin/python3"}, "the interpreter is /tmp/venv/bin/python3, and"),
        ({"model": "/tmp/model"}, "the model is /tmp/model, and"),
    ],
)
def test_what_is_served_from_where_pods_can_write_is_refused_with_what_to_do(changes: dict[str, Any], says: str) -> None:
    result = judged(started(**changes))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.WRITABLE_PATH)
    assert says in result.message
    assert result.next_step is not None
    assert result.next_step.startswith("Next step (image): ")
    assert result.next_step.endswith("or (platform team): pods.rootFilesystem: Writable")
    permitted = gate.GATE.evaluate(build.evidence(scan=build.scan(document=started(**changes)), policy=WRITABLE))
    assert permitted.outcome is GateOutcome.PASSED


@pytest.mark.parametrize("volume", ["/app", "/app/", "/opt/venv", "/"])
def test_a_volume_of_the_image_is_writable_too(volume: str) -> None:
    pinned = replace(build.image(), config=replace(build.image().config, volumes=("/data", volume)))
    result = gate.GATE.evaluate(build.evidence(image=pinned))
    assert result.reason is Reason.WRITABLE_PATH
    assert f"pods can write to {volume}" in result.message
    assert f"take the VOLUME {volume} out of the image" in message_of(result)


def test_a_volume_for_data_is_nobodys_business() -> None:
    pinned = replace(build.image(), config=replace(build.image().config, volumes=("/data", "/application")))
    assert gate.GATE.evaluate(build.evidence(image=pinned)).outcome is GateOutcome.PASSED


def test_the_step_names_the_lines_of_the_dockerfile() -> None:
    step = judged(started(path=("/tmp",))).next_step
    assert step is not None
    assert "name another WORKDIR, such as /app, and another HOME than /tmp" in step


@pytest.mark.parametrize("path", ["/tmpfiles", "/opt/tmp", "/var/tmp", "/dev/shmem"])
def test_what_only_sounds_alike_passes(path: str) -> None:
    assert judged(started(path=(path,))).outcome is GateOutcome.PASSED


def test_models_that_the_pods_will_not_see_are_refused_unless_there_is_another() -> None:
    unsaid = started(model=None)
    assert judged(unsaid, models=(at("/tmp/model"),)).reason is Reason.WRITABLE_PATH
    assert judged(unsaid, models=(at("/opt/model"), at("/tmp/left-over"))).outcome is GateOutcome.PASSED
    assert judged(unsaid, models=()).outcome is GateOutcome.PASSED


def test_a_start_that_could_not_be_determined_never_passes() -> None:
    unknown = build.document().model_copy(update={"start": None})
    result = judged(unknown)
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.WRITABLE_PATH)
    assert "could not be determined" in result.message
    assert gate.GATE.evaluate(build.evidence(scan=build.scan(document=unknown), policy=WRITABLE)).outcome is GateOutcome.PASSED


def test_another_scikit_learn_is_told_first() -> None:
    differing = build.document(build.TRAINED | {"scikit-learn": "1.2.0"})
    start = build.START.model_copy(update={"path": ("/tmp",)})
    result = judged(differing.model_copy(update={"start": start}))
    assert result.reason is Reason.ENVIRONMENT_MISMATCH
    assert result.message == (
        "scikit-learn: trained with 1.4.2, image has 1.2.0; the server imports from /tmp, and pods can write to /tmp"
    )
    assert "environment lock" in message_of(result)


@pytest.mark.parametrize(
    "text",
    [
        "OSError: [Errno 30] Read-only file system: '/app/cache'",
        "mkdir: cannot create directory '/x': Read-only file system",
        "java.io.IOException: Read-only file system",
        "open /x: read-only filesystem",
        "Error: EROFS: read-only file system",
        "failed: errno=30",
    ],
)
def test_a_complaint_of_a_read_only_file_system_is_recognised(text: str) -> None:
    assert says_read_only(text)


@pytest.mark.parametrize(
    "text", ["", "OSError: [Errno 13] Permission denied", "errno 305", "exit code 30", "ModuleNotFoundError"]
)
def test_another_complaint_is_not(text: str) -> None:
    assert not says_read_only(text)
