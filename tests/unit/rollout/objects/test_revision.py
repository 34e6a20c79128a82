"""What makes a revision, and what makes pins anew."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.podtemplate import PodTemplate
from lockstep.api.server import Server
from lockstep.rollout.objects.manifests import with_pod_spec
from lockstep.rollout.objects.revision import Snapshot, short_hash, spec_hash
from tests.fakes import builders as build
from tests.fakes.live import snapshot

OTHER: dict[str, Any] = {
    "model": "fraud",
    "version": "4",
    "run_id": "another",
    "image": f"{build.REPOSITORY}@{build.OTHER_DIGEST}",
    "architecture": "arm64",
    "server": Server.model_validate({"port": 8081, "mlflow": {}}),
    "template": PodTemplate.model_validate({"env": [{"name": "WORKERS", "value": "2"}]}),
}
RENDERED: dict[str, Any] = {"pre_stop_sleep_seconds": 99, "fresh_bytecode": True, "tmp_size_limit": "2Gi"}


@pytest.mark.parametrize("part", sorted(OTHER))
def test_another_part_is_another_revision(part: str) -> None:
    assert replace(snapshot(), **{part: OTHER[part]}).revision != snapshot().revision


@pytest.mark.parametrize("part", sorted(RENDERED))
def test_pods_that_the_policy_has_rendered_otherwise_are_another_revision(part: str) -> None:
    changed = replace(snapshot(), **{part: RENDERED[part]})
    assert with_pod_spec(changed).revision != with_pod_spec(snapshot()).revision


def test_what_was_rendered_keeps_its_name_whatever_is_rendered_now() -> None:
    before = with_pod_spec(snapshot())
    assert Snapshot.parse(before.payload()).revision == before.revision
    assert replace(before, **RENDERED).revision == before.revision


def test_the_name_makes_no_other_revision() -> None:
    assert with_pod_spec(replace(snapshot(), name="iris-canary")).revision == with_pod_spec(snapshot()).revision


@pytest.mark.parametrize(
    "template",
    [
        {"labels": {"team": "a"}},
        {"resources": {"limits": {"cpu": "1"}}},
        {"resources": {"requests": {"cpu": "1"}}},
        {"serviceAccountName": "model"},
        {"imagePullSecrets": ["pull"]},
        {"nodeSelector": {"pool": "gpu"}},
        {"tolerations": [{"key": "gpu"}]},
        {"priorityClassName": "high"},
        {"terminationGracePeriodSeconds": 61},
    ],
)
def test_every_part_of_the_users_template_makes_another_revision(template: dict[str, Any]) -> None:
    assert snapshot(template=PodTemplate.model_validate(template)).revision != snapshot().revision


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 9},
        {"paused": True},
        {"service": {"port": 81}},
        {"readiness": {"requests": 9, "deadlineSeconds": 60}},
    ],
)
def test_what_changes_no_process_makes_no_new_pins(change: dict[str, Any]) -> None:
    assert spec_hash(build.spec(**change)) == spec_hash(build.spec())


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"name": "iris", "version": "4"}},
        {"model": {"name": "iris", "alias": "champion"}},
        {"image": f"{build.REPOSITORY}:2026-12"},
        {"server": {"port": 8081, "mlflow": {}}},
        {"server": {"port": 8080, "openInferenceV2": {"modelName": "iris"}}},
        {"template": {"env": [{"name": "WORKERS", "value": "2"}]}},
        {"retry": 1},
    ],
)
def test_what_changes_a_process_and_a_raised_retry_make_new_pins(change: dict[str, Any]) -> None:
    assert spec_hash(build.spec(**change)) != spec_hash(build.spec())


def test_defaults_that_are_written_out_make_no_new_pins() -> None:
    written = {"template": {"env": [], "terminationGracePeriodSeconds": 60}, "retry": 0}
    assert spec_hash(build.spec(**written)) == spec_hash(build.spec())


def test_a_snapshot_is_read_back_as_it_was_written() -> None:
    for found in (snapshot(), replace(snapshot(), **OTHER, **RENDERED), with_pod_spec(replace(snapshot(), **RENDERED))):
        assert Snapshot.parse(found.payload()) == found
        assert Snapshot.parse(found.payload()).revision == found.revision


def test_a_snapshot_knows_its_digest_and_object_name() -> None:
    found = snapshot()
    assert found.digest == build.DIGEST
    assert found.object_name == f"iris-{found.revision}"
    assert len(found.object_name.removeprefix("iris")) == 11, "52 characters of a name and a suffix are a DNS label"


@given(st.dictionaries(st.text(max_size=5), st.integers()))
def test_hashes_do_not_depend_on_the_order_of_keys(value: dict[str, int]) -> None:
    assert short_hash(value) == short_hash(dict(reversed(list(value.items()))))
