"""The running controller: its parts put together, started in order, stopped in the reverse one."""

import asyncio
import logging
import os
import random
from dataclasses import dataclass, field

import aiohttp
import kopf
from prometheus_client import CollectorRegistry

from lockstep.controller import triggers
from lockstep.controller.asking.observations import PodObservations
from lockstep.controller.asking.pods import PodAudits
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.endpoints import ForeignEndpoints
from lockstep.controller.cluster.guards import Guards
from lockstep.controller.cluster.platforms import Platforms
from lockstep.controller.cluster.policystatus import PolicyStatuses
from lockstep.controller.cluster.ports import Clock, Cluster, ClusterError
from lockstep.controller.cluster.poster import EventPoster
from lockstep.controller.cluster.priorityclasses import PriorityClasses
from lockstep.controller.gauges import measure
from lockstep.controller.lanes import Key
from lockstep.controller.leader import Leader
from lockstep.controller.probes import Health, serve_metrics, serve_probes
from lockstep.controller.queue import WorkQueue
from lockstep.controller.reconcile.activerevision import ActiveRevision
from lockstep.controller.reconcile.candidates import Candidates
from lockstep.controller.reconcile.holds import Holds
from lockstep.controller.reconcile.reconciler import Reconciler
from lockstep.controller.reconcile.report import Reporter
from lockstep.controller.reconcile.servicechecks import ServiceChecks
from lockstep.controller.records.layers import LayerRecords
from lockstep.controller.records.pruner import Pruner
from lockstep.controller.records.store import Records
from lockstep.controller.settings import Settings
from lockstep.controller.sources.gather import Gatherer, Services
from lockstep.controller.sources.gatherings import Gatherings
from lockstep.controller.sources.images import ImagesOf
from lockstep.controller.sources.modelreads import ModelReads
from lockstep.controller.sources.registries import MLflowRegistries
from lockstep.controller.sources.scans import Scans
from lockstep.fairslots import FairSlots
from lockstep.gates.gate import Gate
from lockstep.gates.table import GATES
from lockstep.gathering.asking import Registries
from lockstep.images.reference import repository_of
from lockstep.images.scan.analyser import ANALYSER
from lockstep.images.scan.scan import Scanner
from lockstep.images.scan.worker.port import Workers
from lockstep.images.scan.worker.processes import Processes
from lockstep.lineage.connection import MLflowCredentials
from lockstep.observability.metrics import Metrics
from lockstep.readiness.audit import HttpAuditor
from lockstep.readiness.port import Auditor

_log = logging.getLogger(__name__)
LEASE_NAME = "lockstep-controller"


@dataclass(frozen=True)
class Parts:
    """What a reconciler is made of, so that tests can put fakes at the ports."""

    cluster: Cluster
    clock: Clock
    registries: Registries
    auditor: Auditor
    images: ImagesOf
    workers: Workers
    metrics: Metrics
    chance: random.Random = field(default_factory=random.SystemRandom)
    """What pods and Services are asked, when and in which order, nobody is to foresee."""
    gates: tuple[Gate, ...] = GATES


@dataclass(frozen=True)
class Assembly:
    """A reconciler, and what it has going on in the background."""

    reconciler: Reconciler
    scans: Scans
    reads: ModelReads
    gatherings: Gatherings

    async def stop(self) -> None:
        """End what goes on in the background."""
        await asyncio.gather(self.reconciler.stop(), self.scans.stop(), self.reads.stop(), self.gatherings.stop())


def build_reconciler(parts: Parts, settings: Settings) -> Assembly:
    """Put a reconciler together."""
    cluster, clock = parts.cluster, parts.clock
    events = EventPoster(cluster, instance=settings.identity)
    records = Records(cluster, settings.namespace)
    scans = Scans(records, ANALYSER, parts.metrics.scan_seconds.observe, clock)
    limits = settings.limits
    reads = ModelReads(clock, settings.reading_limits, settings.model_reads)
    servers = FairSlots(
        settings.gatherings, each=settings.gatherings_per_namespace, at_one_place=settings.gatherings_per_server
    )
    gatherings = Gatherings(servers, clock, took=parts.metrics.observe_gathering)
    services = Services(
        registries=parts.registries,
        records=records,
        scanner=Scanner(limits, workers=parts.workers, cache=LayerRecords(cluster, settings.namespace, ANALYSER)),
        scans=scans,
        reads=reads,
        gatherings=gatherings,
        clock=clock,
        limits=limits,
    )
    gatherer = Gatherer(services)
    candidates = Candidates(
        records=records,
        gatherer=gatherer,
        audits=PodAudits(parts.auditor, clock, parts.chance),
        observations=PodObservations(cluster, gatherer, clock, settings.observer_image),
        holds=Holds(
            cluster,
            Guards(cluster, clock, settings.guard_bindings, settings.guard_digests),
            PriorityClasses(cluster, clock),
        ),
        gates=parts.gates,
    )
    reconciler = Reconciler(
        cluster=cluster,
        clock=clock,
        events=events,
        records=records,
        platforms=Platforms(cluster, clock, settings.platform),
        images=parts.images,
        active_revision=ActiveRevision(gatherer, events, parts.gates),
        candidates=candidates,
        endpoints=ForeignEndpoints(cluster, events, clock, parts.metrics.foreign_endpoints.inc),
        services=ServiceChecks(parts.auditor, gatherer, events, clock, parts.chance),
        reporter=Reporter(events, parts.metrics, parts.gates),
        gatherings=gatherings,
        gates=parts.gates,
        observer=repository_of(settings.observer_image),
    )
    return Assembly(reconciler, scans, reads, gatherings)


class Controller:
    """Watches, waits for the Lease, works, and stops."""

    def __init__(
        self,
        *,
        settings: Settings,
        cluster: Cluster,
        leader: Leader,
        clock: Clock,
        session: aiohttp.ClientSession,
        images: ImagesOf,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._leader = leader
        self._metrics = Metrics(CollectorRegistry())
        self._health = Health()
        self._stop = asyncio.Event()
        self._pending: set[asyncio.Task[None]] = set()
        registries = MLflowRegistries(session, MLflowCredentials.from_environment(os.environ))
        workers = Processes(settings.limits.record, at_once=settings.scan_processes)
        parts = Parts(cluster, clock, registries, HttpAuditor(), images, workers, self._metrics)
        self._assembly = build_reconciler(parts, settings)
        keep = {ports.LAYER_RECORD: settings.layer_records, ports.ENVIRONMENT_RECORD: settings.environment_records}
        self._pruner = Pruner(cluster, settings.namespace, keep, clock=clock, retention=settings.retention)
        self._policies = PolicyStatuses(cluster, clock)
        self._queue = WorkQueue(self._work, workers=settings.workers, done=self._metrics.reconciled)

    def stop(self) -> None:
        """Ask for an orderly end: what is being written is finished, the Lease given up."""
        self._health.alive = False
        self._stop.set()

    async def run(self) -> None:
        """Run until stopped.

        Raises:
            LostError: the Lease was lost; the process has to end, since another replica may be working already.
        """
        settings = self._settings
        runners = [
            await serve_probes(self._health, settings.probes_port),
            await serve_metrics(self._metrics.registry, self._update, settings.metrics_port),
        ]
        tasks = [
            asyncio.create_task(self._stop.wait(), name="stop"),
            asyncio.create_task(self._lead(), name="lead"),
            asyncio.create_task(self._watch(), name="watch"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._health.alive = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._assembly.stop()
            await self._leader.release()
            for runner in runners:
                await runner.cleanup()

    async def _watch(self) -> None:
        ready = asyncio.Event()
        announced = asyncio.create_task(self._announce(ready))
        namespaces = self._settings.watch_namespaces
        try:
            await kopf.operator(
                registry=triggers.registry(self._queue.add, self._wake_all),
                settings=triggers.settings(self._settings.identity),
                clusterwide=not namespaces,
                namespaces=namespaces,
                standalone=True,
                # By default kopf asks for the name of the user, and a container's number has none.
                identity=self._settings.identity,  # type: ignore[arg-type]  # a NewType of str that kopf does not export
                ready_flag=ready,
                stop_flag=self._stop,
            )
        finally:
            announced.cancel()

    async def _announce(self, ready: asyncio.Event) -> None:
        await ready.wait()
        self._health.ready.set()
        _log.info("watching")

    async def _lead(self) -> None:
        await self._leader.acquire()
        self._metrics.leader.set(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._leader.hold())
            group.create_task(self._queue.run())
            group.create_task(self._policies.run())
            group.create_task(self._resync())

    async def _resync(self) -> None:
        """Reconcile everything now and then: whatever event was lost, nothing stays wrong for ever."""
        while True:
            self._policies.wake()
            try:
                await self._add_all()
                await self._pruner.prune()
                pause = self._settings.resync_seconds
            except ClusterError as error:
                _log.warning("not everything could be queued for reconciliation: %s", error)
                pause = 5.0
            await asyncio.sleep(pause)

    async def _add_all(self) -> None:
        for raw in await self._cluster.list(ports.MODEL_DEPLOYMENT, None):
            namespace, name = raw["metadata"]["namespace"], raw["metadata"]["name"]
            if not self._settings.watch_namespaces or namespace in self._settings.watch_namespaces:
                self._queue.add((namespace, name))

    def _wake_all(self) -> None:
        self._policies.wake()
        task = asyncio.create_task(self._add_all_or_wait())
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _add_all_or_wait(self) -> None:
        try:
            await self._add_all()
        except ClusterError as error:
            _log.warning("the ModelDeployments could not be listed: %s", error)

    async def _work(self, key: Key) -> float | None:
        return await self._assembly.reconciler.reconcile(*key, lambda: self._queue.add(key))

    def _update(self) -> None:
        self._metrics.leader.set(1 if self._leader.remaining() > 0 else 0)
        measure(self._metrics, self._queue, self._assembly.gatherings)
