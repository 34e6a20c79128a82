"""Policies that demand signatures: nothing is promoted without them, and what serves goes on serving."""

from typing import Any

from lockstep.environment.statement import training_statement
from lockstep.formats.dsse import IN_TOTO, seal
from tests.fakes import builders as build
from tests.fakes.signing import attest, envelope, key, public_pem, sign, statement
from tests.flow.world import World, ready_world, serving_world

RELEASE, STRANGER = key("release"), key("stranger")


def rules(**more: Any) -> dict[str, Any]:
    return {"images": {"signatures": [{"name": "release", "keys": [public_pem(RELEASE)]} | more]}}


def digest(world: World) -> str:
    return world.images.memory.tags["2026-11"]


async def blocked(world: World, reason: str) -> None:
    await world.settle()
    assert world.condition("Ready") == ("False", reason)
    assert world.deployments() == {}


async def promoted(world: World) -> None:
    world.clock.advance(120)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_an_unsigned_image_gets_no_pods_until_it_is_signed() -> None:
    world = await ready_world()
    world.policy(**rules())
    await blocked(world, "SignatureMissing")
    sign(world.images.memory, digest(world), STRANGER)
    world.clock.advance(120)
    await blocked(world, "SignatureInvalid")
    sign(world.images.memory, digest(world), RELEASE)
    await promoted(world)


async def test_an_attested_environment_has_to_be_the_one_in_the_layers() -> None:
    world = await ready_world()
    world.policy(**rules(signature="Ignore", attestation="Required"))
    wrong = build.document({**build.TRAINED, "numpy": "1.25.0"}).payload()
    attest(world.images.memory, digest(world), envelope(RELEASE, statement(digest(world), wrong)))
    await blocked(world, "AttestationMismatch")
    attest(world.images.memory, digest(world), envelope(RELEASE, statement(digest(world), build.document().payload())))
    await promoted(world)


async def test_a_policy_that_comes_to_demand_signatures_takes_nothing_down() -> None:
    world = await serving_world()
    serving = world.served
    world.policy(**rules())
    await world.settle_all()
    assert world.served == serving
    assert any("not signed" in note for note in world.notes("ActiveDegraded"))


async def test_a_policy_with_a_key_that_can_not_be_read_is_none() -> None:
    world = await ready_world()
    world.policy(**rules(keys=["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]))
    await blocked(world, "PolicyInvalid")
    assert "can't be read" in world.message("Ready")


async def test_a_training_environment_has_to_be_signed_where_the_policy_says_so() -> None:
    world = await ready_world()
    world.policy(environment={"signature": {"keys": [public_pem(RELEASE)]}})
    await blocked(world, "DocumentUnsigned")
    recorded = training_statement(build.document(required=True), model_id=build.MODEL_ID, run_id=build.RUN)
    world.version(environment_signature=seal(IN_TOTO, recorded, RELEASE))
    await promoted(world)
