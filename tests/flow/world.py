"""A whole small world around one reconciler: cluster, registries, time; and what must hold after every single write."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Kind, Object, UnavailableError
from lockstep.controller.controller import Parts, build_reconciler
from lockstep.controller.records.store import Records
from lockstep.controller.settings import Settings
from lockstep.gates.gate import Gate
from lockstep.gates.table import GATES
from lockstep.images.scan.analyser import ANALYSER
from lockstep.lineage.lineage import Lineage
from lockstep.observability.metrics import Metrics
from lockstep.rollout.objects import labels
from tests.fakes import builders as build
from tests.fakes.auditor import FakeAuditor
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster, Write
from tests.fakes.connection import Connection, Kill, KilledError
from tests.fakes.images_source import FakeImages
from tests.fakes.model_registry import FakeModelRegistry
from tests.fakes.workers import InProcess
from tests.fakes.workloads import FakeWorkloads

TEAM, SYSTEM, GUARD = "team", "lockstep-system", "lockstep-guards"
OBSERVER = "registry.example.com/lockstep:1"
OWNER = (ports.MODEL_DEPLOYMENT, TEAM, "iris")


class World:
    """The operator, and everything around it."""

    def __init__(self, gates: tuple[Gate, ...] = GATES) -> None:
        self.gates = gates
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.clock)
        self.workloads = FakeWorkloads(self.cluster)
        self.registry = FakeModelRegistry()
        self.images = FakeImages()
        self.auditor = FakeAuditor()
        self.settings = Settings(namespace=SYSTEM, identity="lockstep-1", guard_bindings=(GUARD,), observer_image=OBSERVER)
        self.log: list[Write] = []
        """Every change of an object, whoever made it."""
        self.fence: Callable[[], float] = lambda: float("inf")
        self.due: float | None = None
        self.cluster.watchers += [self.log.append, self._check_traffic]
        self.start()

    # --- the operator's process ------------------------------------------------------------------------------------

    def start(self, kill: Kill | None = None) -> None:
        """Start the operator's process anew: all that it remembered is gone."""
        self.connection = Connection(self.cluster, fence=lambda: self.fence(), kill=kill)
        self.metrics = Metrics(CollectorRegistry())
        self.workers = InProcess()
        ports = (self.connection, self.clock, self.registry, self.auditor, self.images, self.workers, self.metrics)
        self.assembly = build_reconciler(Parts(*ports, chance=random.Random(7), gates=self.gates), self.settings)
        self.reconciler, self.scans = self.assembly.reconciler, self.assembly.scans
        self.woken = asyncio.Event()

    async def reconcile(self) -> float | None:
        """Reconcile once, and let what that began beside it come to its end, as far as that waits for nobody."""
        self.due = await self.reconciler.reconcile(TEAM, "iris", self.woken.set)
        for _ in range(10):
            await asyncio.sleep(0)
        return self.due

    async def scanned(self) -> None:
        """Wait for the end of the scan that is running."""
        async with asyncio.timeout(30):
            await self.woken.wait()
        self.woken.clear()

    async def reconciliations(self, count: int, *, apart: float = 5.0) -> list[Write]:
        """Reconcile some times, with time and the cluster going on in between, and return what the operator wrote."""
        before = len(self.connection.writes)
        for _ in range(count):
            self.workloads.step()
            await self.reconcile()
            self.clock.advance(apart)
        return self.connection.writes[before:]

    async def settle(self, *, most: int = 60) -> None:
        """Go on until a reconciliation writes nothing and nothing else happens either, a few times in a row."""
        quiet = 0
        for _ in range(most):
            before = len(self.log)
            await self.reconciliations(1, apart=1.0)
            quiet = quiet + 1 if len(self.log) == before else 0
            if quiet == 4:
                return
        raise AssertionError(f"it does not settle: {[str(write) for write in self.log[-12:]]}")

    async def settle_all(self) -> None:
        """Settle, let the old revision drain, and settle again."""
        await self.settle()
        self.clock.advance(60)
        await self.settle()

    async def survive(self, kill: Kill) -> bool:
        """Go on with a process that is killed at some write, or gets no answer to it; tell whether it came to that."""
        self.start(kill)
        try:
            await self.settle_all()
        except KilledError:
            # Another replica takes over when the Lease has run out.
            self.clock.advance(20)
            self.start()
        except UnavailableError:
            # The queue tries again later.
            self.clock.advance(2)
        else:
            return self.connection.failed
        await self.settle_all()
        return True

    # --- what people do --------------------------------------------------------------------------------------------

    async def image(
        self,
        tag: str = "2026-11",
        *,
        of: Lineage | None = None,
        scanned: bool = True,
        env: Mapping[str, str] | None = None,
        **packages: str,
    ) -> str:
        """Push an image whose scan is recorded, with the training environment's packages but for those given."""
        lineage = of or build.lineage()
        digest = self.images.push(tag, json.dumps([lineage.version, packages, scanned]), env)
        if scanned:
            names = {name.replace("_", "-"): version for name, version in packages.items()}
            document = build.document({**build.TRAINED, **names})
            found = build.scan(digest=digest, analyser=ANALYSER, document=document, models=(build.held(lineage),))
            await Records(self.cluster, SYSTEM).keep_scan(found)
        return digest

    def version(self, version: str = "3", **changes: Any) -> Lineage:
        """Register a model version; others than 3 have another logged model."""
        lineage = build.lineage(**changes)
        if version != "3":
            model_id = f"m-{version}"
            assert lineage.logged_model is not None
            logged = replace(lineage.logged_model, model_id=model_id)
            lineage = replace(
                lineage,
                version=version,
                model_id=model_id,
                source=f"models:/{model_id}",
                place=build.place(model_id, version),
                artifact_uri=build.place(model_id, version).uri,
                logged_model=logged,
                mlmodel=f"run_id: {build.RUN}\nmodel_id: {model_id}\n".encode(),
                mlmodel_model_id=model_id,
            )
        self.registry.put(lineage)
        return lineage

    def policy(self, name: str = "standard", **spec: Any) -> None:
        """Create a policy, or change one."""
        manifest = {"default": True, "registry": {"trackingURI": "http://mlflow.mlflow.svc:5000"}, **spec}
        if self.cluster.find(ports.PROMOTION_POLICY, None, name) is None:
            self.cluster.add(ports.PROMOTION_POLICY, {"metadata": {"name": name}, "spec": manifest})
        else:
            self.cluster.edit(ports.PROMOTION_POLICY, None, name, lambda policy: policy.update(spec=manifest))

    def guard(self) -> None:
        spec = {"policyName": GUARD, "validationActions": ["Deny", "Audit"]}
        self.cluster.add(ports.ADMISSION_POLICY_BINDING, {"metadata": {"name": GUARD}, "spec": spec})
        self.cluster.add(ports.ADMISSION_POLICY, {"metadata": {"name": GUARD}, "spec": {"validations": []}})

    def deploy(self, **parts: Any) -> None:
        """Create the ModelDeployment."""
        spec = build.spec(**parts).model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
        self.cluster.add(ports.MODEL_DEPLOYMENT, {"metadata": {"name": "iris"}, "spec": spec}, TEAM)

    def change(self, **parts: Any) -> None:
        """Change the ModelDeployment's spec."""
        self.cluster.edit(*OWNER, lambda owner: owner["spec"].update(parts))

    # --- what there is ---------------------------------------------------------------------------------------------

    @property
    def owner(self) -> ModelDeployment:
        return ModelDeployment.from_object(self.get(*OWNER))

    @property
    def active(self) -> str | None:
        return self.owner.status.active.revision if self.owner.status.active else None

    @property
    def candidate(self) -> str | None:
        return self.owner.status.candidate.revision if self.owner.status.candidate else None

    @property
    def served(self) -> str | None:
        """The revision that the Service selects."""
        service = self.cluster.find(ports.SERVICE, TEAM, "iris")
        return str(service["spec"]["selector"][labels.REVISION]) if service else None

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        found = self.cluster.find(kind, namespace, name)
        assert found is not None, f"there is no {kind.kind} {name}"
        return found

    def condition(self, type_: str) -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = next(condition for condition in self.owner.status.conditions if condition.type == type_)
        return found.status, found.reason

    def message(self, type_: str) -> str:
        return next(condition.message for condition in self.owner.status.conditions if condition.type == type_)

    def events(self) -> Counter[str]:
        """Count the events by reason."""
        return Counter(event["reason"] for event in self.cluster.all(ports.EVENT, TEAM))

    def notes(self, reason: str) -> list[str]:
        return [event["note"] for event in self.cluster.all(ports.EVENT, TEAM) if event["reason"] == reason]

    def deployment(self, revision: str | None) -> Object:
        return self.get(ports.DEPLOYMENT, TEAM, f"iris-{revision}")

    def deployments(self) -> dict[str, int]:
        """Return the Deployments' replicas by revision."""
        found = self.cluster.all(ports.DEPLOYMENT, TEAM)
        return {str(d["metadata"]["labels"][labels.REVISION]): int(d["spec"]["replicas"]) for d in found}

    def pods(self, revision: str | None) -> list[Object]:
        return self.cluster.all(ports.POD, TEAM, {labels.REVISION: revision or ""})

    def records(self) -> list[Object]:
        """Return the specs of the PromotionRecords, oldest first."""
        found = [record["spec"] for record in self.cluster.all(ports.PROMOTION_RECORD, SYSTEM)]
        return sorted(found, key=lambda spec: str(spec["decidedAt"]))

    def metric(self, name: str, /, **by: str) -> float:
        return self.metrics.registry.get_sample_value(name, by) or 0.0

    def since(self, mark: int) -> list[str]:
        """Return the changes after a mark (a length of the log)."""
        return [str(write) for write in self.log[mark:]]

    # --- what must hold after every write ---------------------------------------------------------------------------

    def _check_traffic(self, write: Write) -> None:
        """Nothing gets traffic, or is called active, without a record of a passing verdict for exactly it."""
        owner = self.cluster.find(*OWNER)
        service = self.cluster.find(ports.SERVICE, TEAM, "iris")
        if owner is None or write.verb == "edit":
            return
        recorded = {
            record["spec"]["revision"]
            for record in self.cluster.all(ports.PROMOTION_RECORD, SYSTEM)
            if record["spec"]["outcome"] == "Promoted" and record["spec"]["uid"] == owner["metadata"]["uid"]
        }
        ours = service is not None and _owned(service, owner)
        if ours and service is not None and write.kind == "Service":
            selected = service["spec"]["selector"].get(labels.REVISION)
            assert selected in recorded, f"{write}: {selected} gets traffic without a record"
            assert _stated(owner) == selected, f"{write}: the status comes first"
        if write.verb == "patch_status" and write.kind == "ModelDeployment":
            stated = _stated(owner)
            assert stated is None or stated in recorded, f"{write}: {stated} is called active without a record"


def _stated(owner: Object) -> str | None:
    found: str | None = ((owner.get("status") or {}).get("active") or {}).get("revision")
    return found


def _owned(obj: Object, owner: Object) -> bool:
    return any(ref["uid"] == owner["metadata"]["uid"] for ref in obj["metadata"].get("ownerReferences") or [])


async def ready_world(
    *, deploy: bool = True, policy: Mapping[str, Any] | None = None, gates: tuple[Gate, ...] = GATES, **spec: Any
) -> World:
    """Return a world in which model version 3 and a matching image exist, and a ModelDeployment asks for them."""
    world = World(gates)
    world.cluster.add(ports.NAMESPACE, {"metadata": {"name": TEAM}})
    world.cluster.add(ports.NODE, {"metadata": {"name": "node-1", "labels": {"kubernetes.io/arch": "amd64"}}})
    world.guard()
    world.policy(**(policy or {}))
    world.version()
    await world.image()
    if deploy:
        world.deploy(**spec)
    return world


async def serving_world(*, policy: Mapping[str, Any] | None = None, **spec: Any) -> World:
    """Return a world in which the matching image serves and everything is settled."""
    world = await ready_world(policy=policy, **spec)
    await world.settle()
    assert world.active is not None
    return world
