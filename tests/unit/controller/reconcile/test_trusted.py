"""Which status is believed."""

from typing import Any

import pytest
from pydantic import ValidationError

from lockstep.api.modeldeployment import ModelDeploymentStatus
from lockstep.controller.cluster.ports import Object
from lockstep.controller.reconcile.trusted import TrustedStatus
from tests.fakes import builders as build


def raw(status: Any) -> Object:
    spec = build.spec().model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"metadata": {"name": "iris", "namespace": "team", "uid": build.UID}, "spec": spec, "status": status}


WRITTEN = ModelDeploymentStatus(replicas=2)


def test_a_status_is_believed_until_we_have_written_another() -> None:
    trusted = TrustedStatus()
    owner, foreign = trusted.read(raw({"replicas": 7}))
    assert (owner.status.replicas, foreign) == (7, False)
    trusted.keep(build.UID, WRITTEN)
    owner, foreign = trusted.read(raw({"replicas": 7}))
    assert (owner.status, foreign) == (WRITTEN, True)
    assert trusted.read(raw(WRITTEN.payload()))[1] is False
    trusted.forget(build.UID)
    assert trusted.read(raw({"replicas": 7}))[1] is False


def test_a_status_that_can_not_be_read_is_none() -> None:
    owner, _ = TrustedStatus().read(raw({"conditions": "none"}))
    assert owner.status == ModelDeploymentStatus()


def test_a_spec_that_can_not_be_read_is_an_error_whatever_the_status() -> None:
    with pytest.raises(ValidationError):
        TrustedStatus().read({"metadata": {"uid": build.UID}, "spec": {}, "status": {}})
