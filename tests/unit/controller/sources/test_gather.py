"""What one namespace may open tells another nothing: a scan that is known is used only while one's own credentials open it."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.reasons import Reason
from lockstep.controller.cluster import ports
from lockstep.controller.records.store import Records
from lockstep.controller.sources.gather import Gatherer, Services
from lockstep.controller.sources.gatherings import Gatherings
from lockstep.controller.sources.images import ImageAccess
from lockstep.controller.sources.modelreads import ModelReads
from lockstep.controller.sources.scans import Scans
from lockstep.fairslots import FairSlots
from lockstep.gates.evidence import Evidence, Fact, Unknown
from lockstep.gathering.subject import Subject
from lockstep.images.image import ResolvedImage
from lockstep.images.limits import Limits
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.registry.session import registry_session
from lockstep.images.scan.result import ImageScan
from lockstep.images.scan.scan import Scanner
from lockstep.lineage.reading import ReadingLimits
from tests.fakes import builders as build
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.connection import Connection
from tests.fakes.images import LINUX
from tests.fakes.model_registry import FakeModelRegistry
from tests.fakes.registry import FakeRegistry, basic, serving
from tests.fakes.workers import InProcess
from tests.unit.images.reading import LAYER, registry

SYSTEM = "lockstep-system"
FRESH = 31.0
"""Seconds after which an answer is no longer fresh."""


Reported = Mapping[str, Fact[ResolvedImage]]


class Estate:
    """A registry with one private repository, and namespaces that have a password for it or have none."""

    def __init__(self, host: str, fake: FakeRegistry, access: ImageAccess, cluster: FakeCluster, clock: FakeClock) -> None:
        self.host = host
        self.fake = fake
        self.passwords = {"s3cret"}
        self.digest = fake.source.tags["1"]
        self.policy = build.policy()
        self._access = access
        self._cluster = cluster
        self.clock = clock
        records = Records(Connection(cluster), SYSTEM)
        self.scans = Scans(records, "1", lambda seconds: None, clock)
        services = Services(
            registries=FakeModelRegistry(),
            records=records,
            scanner=Scanner(Limits(), workers=InProcess()),
            scans=self.scans,
            reads=ModelReads(clock, ReadingLimits(), at_once=2),
            gatherings=Gatherings(FairSlots(64, each=4), clock),
            clock=clock,
            limits=Limits(),
        )
        self.gatherer = Gatherer(services)
        fake.fault = self._guard

    async def _guard(self, request: web.BaseRequest) -> web.Response | None:
        if request.headers.get("Authorization") in {basic("alice", password) for password in self.passwords}:
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})

    def secret(self, namespace: str, password: str) -> None:
        config = json.dumps({"auths": {self.host: {"username": "alice", "password": password}}}).encode()
        body = {"metadata": {"name": "pull"}, "data": {".dockerconfigjson": base64.b64encode(config).decode()}}
        if self._cluster.find(ports.SECRET, namespace, "pull") is not None:
            self._cluster.remove(ports.SECRET, namespace, "pull")
        self._cluster.add(ports.SECRET, body, namespace)

    def owner(self, namespace: str, *secrets: str, pinned: bool = True) -> ModelDeployment:
        reference = f"{self.host}/team/iris" + (f"@{self.digest}" if pinned else ":1")
        found = build.owner(image=reference, template={"imagePullSecrets": list(secrets)})
        return found.model_copy(update={"namespace": namespace, "uid": f"uid-of-{namespace}"})

    async def ask(self, owner: ModelDeployment) -> Evidence:
        """Gather, and wait for the end of a scan that this starts."""
        ended = asyncio.Event()
        facts = await self._facts(owner, ended)
        if isinstance(facts.scan, Unknown) and facts.scan.reason is Reason.SCANNING:
            async with asyncio.timeout(20):
                await ended.wait()
            facts = await self._facts(owner, ended)
        return facts

    async def _facts(self, owner: ModelDeployment, ended: asyncio.Event) -> Evidence:
        return await self.gatherer.evidence(
            self._subject(owner), ended.set, now=build.NOW, version="3", reference=owner.spec.image, since=None
        )

    def _subject(self, owner: ModelDeployment) -> Subject:
        return Subject(owner, self.policy, self._access.of(owner), LINUX)

    async def reported(
        self, owner: ModelDeployment, image: ResolvedImage, *image_ids: str, unchanged: bool = False
    ) -> Mapping[str, Fact[ResolvedImage]]:
        named = enumerate(image_ids)
        pods = build.candidate(pods=tuple(build.pod(f"iris-{n}", image_id=one, unchanged=unchanged) for n, one in named))
        return await self.gatherer.resolve_reported(self._subject(owner), lambda: None, image, pods)


@asynccontextmanager
async def estate() -> AsyncIterator[Estate]:
    fake, clock = registry(), FakeClock()
    cluster = FakeCluster(clock)
    async with serving(fake.handle) as host:
        options = RegistryOptions(frozenset([host]))
        async with registry_session(options) as session:
            access = ImageAccess(Connection(cluster), session, options, Limits())
            found = Estate(host, fake, access, cluster, clock)
            yield found
            await found.scans.stop()


async def test_who_may_not_open_an_image_learns_nothing_from_who_may() -> None:
    async with estate() as world:
        world.secret("ours", "s3cret")
        known = await world.ask(world.owner("ours", "pull"))
        assert isinstance(known.image, ResolvedImage)
        assert isinstance(known.scan, ImageScan)
        for pinned in (True, False):
            strangers = await world.ask(world.owner("theirs", pinned=pinned))
            for fact in (strangers.image, strangers.scan):
                assert isinstance(fact, Unknown)
                assert (fact.reason, fact.retry) == (Reason.IMAGE_UNAUTHORIZED, False)
                assert "sha256:" not in fact.message


async def test_who_may_open_it_uses_the_scan_that_is_known_and_reads_no_layer() -> None:
    async with estate() as world:
        world.secret("ours", "s3cret")
        first = await world.ask(world.owner("ours", "pull"))
        world.fake.requests.clear()
        world.secret("theirs", "s3cret")
        assert (await world.ask(world.owner("theirs", "pull"))).scan == first.scan
        asked = {request.path for request in world.fake.requests}
        assert asked, "its own credentials have to open the manifest"
        assert not any(path.endswith(LAYER.descriptor.digest) for path in asked)


async def test_a_secret_that_no_longer_opens_the_image_is_found_out_when_the_answer_is_stale() -> None:
    async with estate() as world:
        world.secret("ours", "s3cret")
        owner = world.owner("ours", "pull")
        assert isinstance((await world.ask(owner)).scan, ImageScan)
        world.passwords = {"rotated"}
        assert isinstance((await world.ask(owner)).scan, ImageScan), "a moment ago it did"
        world.clock.advance(FRESH)
        stale = (await world.ask(owner)).scan
        assert isinstance(stale, Unknown)
        assert stale.reason is Reason.IMAGE_UNAUTHORIZED
        world.secret("ours", "rotated")
        assert isinstance((await world.ask(owner)).scan, ImageScan)


async def test_another_secret_is_a_new_question_however_fresh_the_answer_is() -> None:
    async with estate() as world:
        world.secret("ours", "s3cret")
        assert isinstance((await world.ask(world.owner("ours", "pull"))).scan, ImageScan)
        assert isinstance((await world.ask(world.owner("ours"))).scan, Unknown)


async def test_the_operators_own_credentials_open_what_the_policy_lists_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with estate() as world:
        auth = {"auths": {world.host: {"username": "alice", "password": "s3cret"}}}
        (tmp_path / "config.json").write_text(json.dumps(auth))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        world.policy = build.policy(images={"credentials": "Operator", "repositories": [f"{world.host}/shared/*"]})
        refused = (await world.ask(world.owner("ours"))).image
        assert isinstance(refused, Unknown)
        assert (refused.reason, world.fake.requests) == (Reason.REPOSITORY_NOT_ALLOWED, [])
        world.policy = build.policy(images={"credentials": "Operator", "repositories": [f"{world.host}/team/*"]})
        assert isinstance((await world.ask(world.owner("ours"))).scan, ImageScan)
        world.policy = build.policy(images={"repositories": [f"{world.host}/team/*"]})
        own = (await world.ask(world.owner("ours"))).image
        assert isinstance(own, Unknown)
        assert own.reason is Reason.IMAGE_UNAUTHORIZED


async def test_what_nodes_report_is_looked_up_only_when_it_is_not_on_the_way_to_the_image() -> None:
    async with estate() as world:
        world.secret("ours", "s3cret")
        owner = world.owner("ours", "pull")
        image = (await world.ask(owner)).image
        assert isinstance(image, ResolvedImage)
        world.fake.requests.clear()
        assert await world.reported(owner, image, f"x@{image.digest}", image.config_digest, "", "rubbish") == {}
        assert world.fake.requests == []
        source = world.fake.source
        index = source.index(source.child(image.digest, LINUX), tag="2")
        found = await world.reported(owner, image, f"x@{index}")
        assert [fact.config_digest for fact in found.values() if isinstance(fact, ResolvedImage)] == [image.config_digest]
        absent = (await world.reported(owner, image, build.OTHER_DIGEST))[build.OTHER_DIGEST]
        assert isinstance(absent, Unknown)
        assert absent.reason is Reason.IMAGE_NOT_FOUND
        many = await world.reported(owner, image, *(f"sha256:{number:064x}" for number in range(50)))
        assert len(many) == 4


async def test_a_repository_that_the_node_names_is_asked_only_for_a_pod_that_nothing_else_speaks_for() -> None:
    async with estate() as world:
        world.secret("ours", "s3cret")
        owner = world.owner("ours", "pull")
        image = (await world.ask(owner)).image
        assert isinstance(image, ResolvedImage)
        elsewhere = f"{world.host}/byp/tag@{build.OTHER_DIGEST}"

        async def asked(*, unchanged: bool) -> list[str]:
            world.fake.requests.clear()
            found = (await world.reported(owner, image, elsewhere, unchanged=unchanged))[build.OTHER_DIGEST]
            assert isinstance(found, Unknown)
            return [request.path for request in world.fake.requests if build.OTHER_DIGEST in request.path]

        ours, theirs = (f"/v2/{name}/manifests/{build.OTHER_DIGEST}" for name in ("team/iris", "byp/tag"))
        assert set(await asked(unchanged=True)) == {ours}
        assert set(await asked(unchanged=False)) == {ours, theirs}
        world.policy = build.policy(images={"repositories": [f"{world.host}/team/*"]})
        assert set(await asked(unchanged=False)) == {ours}, "the policy lists what may be asked"
