"""Reads images from a registry on the loopback device, for the tests of the client."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.reference import parse_reference
from lockstep.images.registry.client import RegistrySource
from lockstep.images.registry.credentials import Credentials, parse_docker_config
from lockstep.images.registry.egress import ANYWHERE
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.registry.session import registry_session
from lockstep.images.resolve import resolve
from tests.fakes.images import LINUX, MemorySource, layer
from tests.fakes.registry import FakeRegistry
from tests.fakes.roots import debian, items
from tests.fakes.workers import scan

SETTINGS = {"Entrypoint": ["python3"]}
LAYER = layer(*items(debian()))


def registry() -> FakeRegistry:
    source = MemorySource()
    source.image([LAYER], settings=SETTINGS)
    return FakeRegistry(source)


def login(host: str, user: str = "alice", **more: str) -> Credentials:
    return parse_docker_config(json.dumps({"auths": {host: {"username": user, "password": "s3cret"} | more}}).encode())


@asynccontextmanager
async def client(
    host: str,
    credentials: Credentials | None = None,
    limits: Limits | None = None,
    options: RegistryOptions | None = None,
) -> AsyncIterator[RegistrySource]:
    options = options or RegistryOptions(frozenset([host]), egress=ANYWHERE)
    async with registry_session(options) as session:
        reference = parse_reference(f"{host}/team/iris:1")
        yield RegistrySource(session, reference, credentials or Credentials(), options, limits or Limits())


async def read(
    host: str,
    credentials: Credentials | None = None,
    limits: Limits | None = None,
    options: RegistryOptions | None = None,
) -> str:
    """Resolve and scan; return the interpreter's version."""
    async with client(host, credentials, limits, options) as source:
        image = await resolve(source, "1", LINUX, limits or Limits())
        return (await scan(source, image, limits or Limits())).document.python.version


async def refused(
    host: str,
    credentials: Credentials | None = None,
    limits: Limits | None = None,
    options: RegistryOptions | None = None,
) -> ImageError:
    with pytest.raises(ImageError) as caught:
        await read(host, credentials, limits, options)
    assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r}"
    return caught.value


def answering(status: int, **headers: str) -> Any:
    async def fault(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, headers={key.replace("_", "-"): value for key, value in headers.items()})

    return fault
