"""`lockstep environment attest | verify` against a registry on the loopback device."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lockstep.api.reasons import Reason
from lockstep.cli.exit import CommandError, Exit
from lockstep.cli.main import parser
from lockstep.environment.statement import ENVIRONMENT, parse_statement
from lockstep.formats.dsse import IN_TOTO, parse_envelope
from tests.fakes.images import MemorySource, layer
from tests.fakes.registry import FakeRegistry, serving
from tests.fakes.roots import debian, items
from tests.fakes.signing import attest, envelope, key, pem_of, public_pem, sign, statement
from tests.unit.images.reading import SETTINGS

RELEASE = key("release")


class World:
    def __init__(self, host: str, source: MemorySource, digest: str, folder: Path) -> None:
        self.host, self.source, self.digest, self._folder = host, source, digest, folder
        (folder / "release.key").write_bytes(pem_of("release"))
        for name in ("release", "other"):
            (folder / f"{name}.pub").write_text(public_pem(key(name)))

    async def run(self, command: str, key_file: str, *more: str, reference: str | None = None) -> Exit:
        where = reference or f"{self.host}/team/iris:1"
        words = ["environment", command, where, "--key", str(self._folder / key_file), "--insecure-registry", self.host, *more]
        arguments = parser().parse_args(words)
        return Exit(await arguments.command()(arguments))


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    for name in ("LOCKSTEP_KEY_PASSWORD", "COSIGN_PASSWORD", "REGISTRY_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    source = MemorySource()
    digest = source.image([layer(*items(debian()))], settings=SETTINGS)
    async with serving(FakeRegistry(source).handle) as host:
        yield World(host, source, digest, tmp_path)


async def test_what_was_attested_is_verified(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert await world.run("attest", "release.key") is Exit.OK
    assert f"{world.host}/team/iris@{world.digest}" in capsys.readouterr().out
    assert await world.run("verify", "release.pub") is Exit.OK
    said = capsys.readouterr().out
    assert f"by {RELEASE.public.fingerprint}: {ENVIRONMENT}: agrees with the layers" in said


async def test_another_key_has_attested_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    await world.run("attest", "release.key")
    assert await world.run("verify", "other.pub") is Exit.DIFFERENT
    assert "by none of the keys" in capsys.readouterr().out


async def test_nothing_signed_is_different(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert await world.run("verify", "release.pub") is Exit.DIFFERENT
    assert "nothing is signed or attested" in capsys.readouterr().out


async def test_a_signature_is_enough(world: World) -> None:
    sign(world.source, world.digest, RELEASE)
    assert await world.run("verify", "release.pub") is Exit.OK


async def test_a_signature_of_another_image_is_not(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    sign(world.source, world.digest, RELEASE, subject="sha256:" + "a" * 64)
    assert await world.run("verify", "release.pub") is Exit.DIFFERENT
    assert "of another image" in capsys.readouterr().out


async def test_an_attestation_that_is_not_true_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    await world.run("attest", "release.key", "--output", "-")
    made = parse_statement(parse_envelope(capsys.readouterr().out.encode(), IN_TOTO).payload).predicate
    made["python"]["version"] = "3.10.0"
    sign(world.source, world.digest, RELEASE)
    attest(world.source, world.digest, envelope(RELEASE, statement(world.digest, made)))
    assert await world.run("verify", "release.pub") is Exit.DIFFERENT
    assert "differs from the layers in: python" in capsys.readouterr().out


async def test_an_attestation_that_can_not_be_read_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    attest(world.source, world.digest, envelope(RELEASE, statement(world.digest, {})))
    assert await world.run("verify", "release.pub") is Exit.DIFFERENT
    assert "can't be read" in capsys.readouterr().out


async def test_an_envelope_goes_to_a_file_and_nothing_to_the_registry(world: World, tmp_path: Path) -> None:
    assert await world.run("attest", "release.key", "--output", str(tmp_path / "out.dsse")) is Exit.OK
    found = parse_envelope((tmp_path / "out.dsse").read_bytes(), IN_TOTO)
    assert found.signers({"k": RELEASE.public}) == {"k"}
    assert parse_statement(found.payload).subjects == {world.digest}
    assert list(world.source.tags) == ["1"]


async def test_an_image_on_disk_is_attested_to_a_file(world: World, tmp_path: Path) -> None:
    world.source.write(tmp_path / "layout")
    reference = f"oci:{tmp_path}/layout:1"
    assert await world.run("attest", "release.key", "--output", str(tmp_path / "o"), reference=reference) is Exit.OK
    assert json.loads((tmp_path / "o").read_bytes())["payloadType"] == IN_TOTO
    with pytest.raises(CommandError, match="--output"):
        await world.run("attest", "release.key", reference=reference)


@pytest.mark.parametrize(("command", "file"), [("attest", "release.pub"), ("attest", "absent"), ("verify", "release.key")])
async def test_a_key_that_can_not_be_used_is_told(world: World, command: str, file: str) -> None:
    with pytest.raises(CommandError, match=str(Reason.KEY_INVALID)):
        await world.run(command, file)
