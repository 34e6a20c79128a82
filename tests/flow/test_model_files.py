"""The files of a model: pinned at first sight, read again for each candidate, and those of the image."""

import asyncio
from dataclasses import replace
from typing import Any

from lockstep.api.reasons import Reason
from lockstep.controller.cluster import ports
from lockstep.controller.records.store import Records, pin_name
from lockstep.images.scan.analyser import ANALYSER
from lockstep.lineage.lineage import LineageError
from tests.fakes import builders as build
from tests.fakes.connection import Kill
from tests.flow.world import SYSTEM, World, ready_world, serving_world

URI = "http://mlflow.mlflow.svc:5000"
PLACE = build.place().uri


def next_image(tag: str) -> str:
    return f"{build.REPOSITORY}:{tag}"


async def push(world: World, tag: str, **changes: Any) -> None:
    """Push an image whose scan is recorded, with other models in it than the registered one alone."""
    digest = world.images.push(tag, tag)
    await Records(world.cluster, SYSTEM).keep_scan(build.scan(digest=digest, analyser=ANALYSER, **changes))


async def candidate_with(world: World, tag: str, **changes: Any) -> None:
    await push(world, tag, **changes)
    world.change(image=next_image(tag))
    await world.settle()


def pins(world: World) -> list[dict[str, Any]]:
    return [pin["spec"] for pin in world.cluster.all(ports.LINEAGE_PIN, SYSTEM)]


async def test_all_files_are_pinned_when_a_version_is_first_seen() -> None:
    world = await serving_world()
    (pin,) = pins(world)
    assert (pin["modelDigest"], pin["fileCount"]) == (build.files_of(build.contents()).digest, len(build.contents()))
    assert sorted(world.registry.read) == sorted(build.contents())
    assert "files are sha256:" in world.message("LineageVerified")
    assert "holds iris 3 at /opt/model" in world.message("ImageVerified")


async def assert_changed(world: World, *said: str) -> None:
    before = world.served
    await world.image("next", flask="3.0.0")
    world.change(image=next_image("next"))
    await world.settle()
    assert world.condition("Ready") == ("False", "LineageChanged")
    for text in said:
        assert text in world.message("Ready")
    assert world.served == before, "what serves goes on serving"


async def test_weights_that_are_replaced_by_others_of_the_same_size_are_found_before_the_next_candidate_passes() -> None:
    world = await serving_world()
    world.registry.contents[PLACE]["model.skops"] = bytes(len(build.contents()["model.skops"]))
    await assert_changed(world, "model.skops is another file", pin_name(URI, "iris", "3"))


async def test_an_input_example_that_is_replaced_is_found_too() -> None:
    world = await serving_world()
    world.registry.put(build.lineage(input_example=b"[]"))
    await assert_changed(world, "serving_input_example.json is another file")


async def test_files_that_are_added_and_taken_away_are_named() -> None:
    world = await serving_world()
    contents = world.registry.contents[PLACE]
    del contents["model.skops"]
    contents["code/evil.py"] = b""
    await assert_changed(world, "model.skops is missing", "code/evil.py was added")


async def test_a_model_is_read_once_for_a_candidate_and_not_at_all_for_what_is_settled() -> None:
    world = await ready_world()
    world.auditor.unreachable = True
    await world.reconciliations(12)
    assert len(world.registry.read) == len(build.contents())
    world.auditor.unreachable = False
    await world.settle()
    assert await world.reconciliations(20, apart=600) == []
    world.policy(lineage={"require": ["Signature"]})
    await world.settle()
    assert len(world.registry.read) == len(build.contents()), "a changed policy reads no weights either: they are pinned"


async def test_a_large_model_is_waited_for_with_its_progress_and_holds_up_nothing() -> None:
    world = await ready_world()
    world.registry.gate = asyncio.Event()
    async with asyncio.timeout(20):
        await world.reconciliations(3)
    assert world.condition("Ready") == ("False", "ModelReading")
    assert "are being read: 0 bytes of" in world.message("Ready")
    assert world.candidate is not None
    assert pins(world) == []
    assert world.deployments() == {}
    assert world.events()["PromotionBlocked"] == world.events()["PromotionWaiting"] == 0
    world.registry.gate.set()
    await world.scanned()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_version_whose_lineage_is_refused_anyway_is_not_read() -> None:
    world = await ready_world(policy={"lineage": {"require": ["Signature"]}})
    world.registry.put(build.lineage(signature_present=False))
    await world.settle()
    assert world.condition("Ready")[1] == "LineageIncomplete"
    assert world.registry.read == []


async def test_an_image_is_compared_although_its_lineage_is_only_reported_on() -> None:
    world = await ready_world(policy={"lineage": {"require": ["Signature"]}, "gates": [{"name": "lineage", "mode": "Audit"}]})
    world.registry.put(build.lineage(signature_present=False))
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    evil = build.held(files=build.files_of(build.contents(model__skops=b"others")))
    await candidate_with(world, "evil", models=(evil,))
    assert world.condition("Ready") == ("False", "ModelFilesDiffer")


async def test_an_outage_while_a_model_is_read_refuses_nothing_and_ends_by_itself() -> None:
    world = await ready_world()
    world.registry.broken.add("model.skops")
    await world.reconciliations(5)
    assert world.condition("Ready") == ("False", "RegistryUnreachable")
    assert "model.skops did not come" in world.message("Ready")
    world.registry.broken.clear()
    await world.settle_all()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_pin_of_an_older_version_is_completed_and_never_a_mismatch() -> None:
    world = await ready_world()
    await Records(world.cluster, SYSTEM).pin(URI, "iris", "3", build.pins(files=None, files_first_seen=None))
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert [pin.get("fileCount") for pin in pins(world)] == [None, len(build.contents())]
    world.registry.contents[PLACE]["model.skops"] = b"others"
    await assert_changed(world, "model.skops is another file")


async def test_what_served_before_an_upgrade_gets_its_files_pinned_when_its_policy_is_evaluated_anew() -> None:
    world = await serving_world()
    for pin in world.cluster.all(ports.LINEAGE_PIN, SYSTEM):
        world.cluster.remove(ports.LINEAGE_PIN, SYSTEM, pin["metadata"]["name"])
    await Records(world.cluster, SYSTEM).pin(URI, "iris", "3", build.pins(files=None, files_first_seen=None))
    world.start()
    world.policy(lineage={"require": ["Signature"]})
    await world.settle()
    assert [pin.get("fileCount") for pin in pins(world)] == [None, len(build.contents())]
    assert world.condition("Ready") == ("True", "Promoted")


async def test_where_files_are_not_listed_the_policy_decides_and_the_verdict_says_so() -> None:
    world = await ready_world()
    world.registry.refuses = LineageError(Reason.MODEL_FILES_UNREADABLE, "MLflow does not list the files of iris 3")
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    [record] = world.records()
    assert "its files could not be listed and are not compared" in record["gates"][0]["message"]
    assert "by its MLmodel file alone" in record["gates"][1]["message"]
    world.policy(lineage={"modelFiles": "Required"})
    await world.image("next", flask="3.0.0")
    world.change(image=next_image("next"))
    await world.settle()
    assert world.condition("Ready") == ("False", "ModelFilesUnreadable")


async def test_where_files_are_ignored_none_is_read() -> None:
    world = await ready_world(policy={"lineage": {"modelFiles": "Ignore"}})
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.registry.read == []
    assert "fileCount" not in pins(world)[0]


async def test_a_registry_that_can_not_read_files_itself_leaves_what_is_only_reported_on_alive() -> None:
    """As on day one with the policy `starter` and a tracking server that has no access to its clients' storage."""
    blind = build.lineage(
        mlmodel=None,
        mlmodel_run_id=None,
        mlmodel_model_id=None,
        environment_document=None,
        input_example=None,
        unreadable="MLflow answered 500",
    )
    world = await ready_world()
    world.registry.put(blind)
    await world.settle()
    assert world.condition("Ready") == ("False", "ModelFilesUnreadable")
    audit = [{"name": name, "mode": "Audit"} for name in ("lineage", "image", "environment")]
    world.policy(gates=audit)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert pins(world) == [], "what could not be read is not pinned"


# --- the image ------------------------------------------------------------------------------------------------------------


async def test_other_weights_under_the_registered_mlmodel_are_refused_while_the_good_revision_serves() -> None:
    world = await serving_world()
    before = world.served
    evil = build.held(files=build.files_of(build.contents(model__skops=b"others")))
    await candidate_with(world, "evil", models=(evil,))
    assert world.condition("Ready") == ("False", "ModelFilesDiffer")
    assert "model.skops in /opt/model is another file than the one of iris 3" in world.message("Ready")
    assert world.served == before
    assert world.records()[-1]["outcome"] == "Refused"


async def test_of_two_models_the_manifest_can_not_choose_the_other_one() -> None:
    world = await serving_world()
    stranger = replace(build.held(path="/opt/model2"), model_id="m-2", run_id="2", sha256=build.OTHER_DIGEST)
    document = build.document()
    unnamed = document.model_copy(update={"start": build.start()})
    await candidate_with(world, "both", models=(build.held(), stranger), document=unnamed)
    assert world.condition("Ready") == ("False", "ServedModelUnknown")
    named = document.model_copy(update={"start": build.start(model="/opt/model")})
    await candidate_with(world, "named", models=(build.held(), stranger), document=named)
    assert world.condition("Ready") == ("True", "Promoted")
    world.change(template={"env": [{"name": "MODEL_DIR", "value": "/opt/model2"}]})
    await world.settle()
    assert world.condition("Ready") == ("False", "ServedModelDiffers")


async def test_an_image_that_fetches_another_version_is_refused() -> None:
    world = await serving_world()
    document = build.document().model_copy(update={"start": build.start(model="models:/iris/2")})
    await candidate_with(world, "fetching", models=(), document=document)
    assert world.condition("Ready") == ("False", "ServedModelDiffers")
    assert "models:/iris/2; the ModelDeployment asks for version 3 of iris" in world.message("Ready")


# --- a name that was given to another model -------------------------------------------------------------------------------


async def burnt() -> World:
    """Return a world in which the registered model was deleted and made anew, with another run as its version 3."""
    world = await serving_world()
    model_id = "m-" + "1" * 32
    anew = world.version("3", run=build.run(run_id="f" * 32), version_run_id="f" * 32, mlmodel_run_id="f" * 32)
    assert anew.logged_model is not None
    anew = replace(
        anew,
        model_id=model_id,
        mlmodel_model_id=model_id,
        mlmodel=f"run_id: {'f' * 32}\nmodel_id: {model_id}\n".encode(),
        logged_model=replace(anew.logged_model, model_id=model_id, source_run_id="f" * 32),
        place=build.place(model_id),
    )
    world.registry.put(anew)
    await world.image("anew", of=anew, flask="3.0.0")
    world.change(image=next_image("anew"))
    await world.settle()
    assert world.condition("Ready") == ("False", "LineageChanged")
    return world


def lift(world: World, pin: str, namespace: str = SYSTEM) -> None:
    spec = {"by": "alice", "reason": "iris was registered anew by another team"}
    world.cluster.add(ports.LINEAGE_RELEASE, {"metadata": {"name": pin}, "spec": spec}, namespace)


async def test_a_burnt_name_is_lifted_by_the_platform_team_and_the_new_pin_says_by_whom() -> None:
    world = await burnt()
    first = pin_name(URI, "iris", "3")
    lift(world, first)
    world.clock.advance(60)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    old, new = world.cluster.all(ports.LINEAGE_PIN, SYSTEM)
    assert (old["metadata"]["name"], new["metadata"]["name"]) == (first, f"{first}-2")
    assert (old["spec"]["runID"], new["spec"]["runID"]) == (build.RUN, "f" * 32)
    assert (new["spec"]["replaces"], new["spec"]["releasedBy"]) == (first, "alice")
    assert new["spec"]["releaseReason"] == "iris was registered anew by another team"


async def test_a_release_of_ones_own_namespace_lifts_nothing() -> None:
    world = await burnt()
    lift(world, pin_name(URI, "iris", "3"), "team")
    world.clock.advance(60)
    await world.settle()
    assert world.condition("Ready") == ("False", "LineageChanged")


async def test_a_lifted_name_is_pinned_again_whatever_happens_between_two_writes() -> None:
    for number in range(40):
        world = await burnt()
        lift(world, pin_name(URI, "iris", "3"))
        world.clock.advance(60)
        if not await world.survive(Kill(write=number, after=True)):
            break
        await world.settle_all()
        assert world.condition("Ready") == ("True", "Promoted")
        assert len(world.cluster.all(ports.LINEAGE_PIN, SYSTEM)) == 2
    else:
        raise AssertionError("it writes without end")
    assert number > 3
