"""Whose credentials open an image, and that nothing of a secret is ever said."""

import base64
import json
from typing import Any

import aiohttp
import pytest

from lockstep.api.podtemplate import PodTemplate
from lockstep.api.reasons import Reason
from lockstep.controller.cluster import ports
from lockstep.controller.sources.pullsecrets import NamespaceImages
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.source import ImageSource
from tests.fakes import builders as build
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.connection import Connection

TEAM = "team"
REFERENCE = f"{build.REPOSITORY}:1"


def docker_config(password: str = "hunter2") -> str:
    auth = base64.b64encode(f"robot:{password}".encode()).decode()
    return base64.b64encode(json.dumps({"auths": {"registry.example.com": {"auth": auth}}}).encode()).decode()


class Namespace:
    def __init__(self) -> None:
        self.cluster = FakeCluster(FakeClock())
        self.connection = Connection(self.cluster)

    def secret(self, name: str, data: Any) -> None:
        self.cluster.add(ports.SECRET, {"metadata": {"name": name}, "data": data}, TEAM)

    def account(self, name: str, *secrets: str) -> None:
        body = {"metadata": {"name": name}, "imagePullSecrets": [{"name": secret} for secret in secrets]}
        self.cluster.add(ports.SERVICE_ACCOUNT, body, TEAM)

    async def open(self, reference: str = REFERENCE, **template: Any) -> tuple[ImageSource, str]:
        async with aiohttp.ClientSession() as session:
            images = NamespaceImages(
                self.connection, session, RegistryOptions(), Limits(), TEAM, PodTemplate.model_validate(template)
            )
            return await images.open(reference, build.policy())


async def test_without_secrets_the_registry_is_asked_as_anybody() -> None:
    source, wanted = await Namespace().open()
    assert (source.repository, wanted) == (build.REPOSITORY, "1")


async def test_the_secrets_of_the_template_and_of_its_service_account_are_read() -> None:
    namespace = Namespace()
    namespace.secret("own", {".dockerconfigjson": docker_config()})
    namespace.secret("account", {".dockerconfigjson": docker_config()})
    namespace.account("server", "account", "never-made")
    source, _ = await namespace.open(imagePullSecrets=["own"], serviceAccountName="server")
    assert source.repository == build.REPOSITORY


async def test_a_secret_of_the_template_that_does_not_exist_is_named() -> None:
    with pytest.raises(ImageError, match="the pull secret missing does not exist") as caught:
        await Namespace().open(imagePullSecrets=["missing"])
    assert (caught.value.reason, caught.value.retry) == (Reason.PULL_SECRET_INVALID, False)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {"other": "aHVudGVyMg=="},
        {".dockerconfigjson": "hunter2 is no base64!"},
        {".dockerconfigjson": base64.b64encode(b"hunter2").decode()},
        {".dockerconfigjson": base64.b64encode(b'{"auths": {"r": {"auth": "hunter2"}}}').decode()},
        {".dockerconfigjson": base64.b64encode(b'{"auths": "hunter2"}').decode()},
    ],
    ids=["empty", "another type", "no base64", "no JSON", "no credentials", "no map"],
)
async def test_a_secret_that_can_not_be_read_is_named_and_nothing_of_it_is_said(data: Any) -> None:
    namespace = Namespace()
    namespace.secret("broken", data)
    with pytest.raises(ImageError) as caught:
        await namespace.open(imagePullSecrets=["broken"])
    assert caught.value.reason is Reason.PULL_SECRET_INVALID
    assert "broken" in caught.value.message
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_an_api_server_that_does_not_answer_is_waited_for() -> None:
    namespace = Namespace()
    namespace.connection.down = True
    with pytest.raises(ImageError) as caught:
        await namespace.open()
    assert caught.value.retry


@pytest.mark.parametrize("reference", ["oci:/etc", "oci-archive:/etc/passwd", "../etc", ""])
async def test_a_path_on_the_operators_disk_is_no_image(reference: str) -> None:
    with pytest.raises(ImageError) as caught:
        await Namespace().open(reference)
    assert caught.value.reason is Reason.REFERENCE_INVALID
