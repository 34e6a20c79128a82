"""What one tenant's load costs the others: time until their verdicts, and until what serves them is put right.

    python -m benchmarks.fairness [flood ...]

Starts a real API server without nodes, an MLflow that knows no model (so that every ModelDeployment is refused for good
reason: VersionNotFound), a server that takes connections and never answers, and the real controller process. One tenant
applies a flood of ModelDeployments at once; two others do what they always do: apply one and wait for its verdict, and scale
a Deployment that serves and wait until it is put right. Ends by itself: no step takes longer than its limit.
"""

import asyncio
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.common import machine, percentile, table
from lockstep.api.modeldeployment import CandidateStatus, ModelDeployment, RevisionStatus
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.records import RecordOutcome
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import Object
from lockstep.controller.records.store import Records
from lockstep.gates.verdict import Verdict
from lockstep.rollout.candidate import activate
from lockstep.rollout.objects.manifests import with_pod_spec
from lockstep.rollout.objects.revision import Snapshot, spec_hash
from tests.api.installation import ADMIN, SYSTEM, Installation, model_deployment
from tests.api.process import Controller, EmptyMLflow
from tests.api.wait import eventually
from tests.cluster.wait import until

SECONDS = 30.0
"""For so long each flood is watched."""
_PAUSE, _POLL, _LIMIT = 0.25, 0.02, 60.0
_RUN, _DIGEST = "0" * 32, "sha256:" + "a" * 64

Row = tuple[str, str]


@dataclass(frozen=True)
class Flood:
    """What one tenant applies at once."""

    objects: int = 0
    image: str | None = None
    """Where the images are; None for a host that does not exist."""
    tracking: str | None = None
    """Which MLflow the tenant's policy names; None for the one that answers."""


@dataclass
class Times:
    """Seconds that the other tenants waited."""

    verdict: list[float] = field(default_factory=list)
    upkeep: list[float] = field(default_factory=list)

    def rows(self, name: str) -> list[Row]:
        """Return the table's rows."""
        return [(f"{name}: apply → verdict", _figures(self.verdict)), (f"{name}: upkeep", _figures(self.upkeep))]


class Bench:
    """Two quiet tenants and a noisy one."""

    def __init__(self, api: Installation, mlflow: EmptyMLflow, folder: Path) -> None:
        self.api = api
        self.mlflow = mlflow
        self.folder = folder
        self.policy = api.policy("bench", mlflow.uri)
        self.asks, self.serves = api.namespace(policy=self.policy), api.namespace(policy=self.policy)

    def measure(self, name: str, flood: Flood, insecure: str) -> list[Row]:
        """Measure under one flood, with a controller of its own."""
        policy = self.policy if flood.tracking is None else self.api.policy(name, flood.tracking)
        namespace = self.api.namespace(policy=policy)
        settings = {"LOCKSTEP_INSECURE_REGISTRIES": insecure, "LOCKSTEP_LOG_FORMAT": "json"}
        with Controller(self.api, self.folder, name, **settings) as controller:
            controller.leading(60)
            times, stated = asyncio.run(self._measured(flood, namespace))
            controller.terminate(15)
        for one in (namespace, self.asks):
            self.api.clear(one)
        until(lambda: not self.api.find("mdep", namespace), _LIMIT, "the flood is gone", every=0.5)
        return [*times.rows(name), *([(f"{name}: every object has a status", stated)] if flood.objects else [])]

    async def _measured(self, flood: Flood, namespace: str) -> tuple[Times, str]:
        times = Times()
        async with self.api.cluster(ADMIN) as cluster, self.api.cluster(ADMIN) as noisy:
            await self._verdict(cluster, "warm")
            deployment = await _deployment(cluster, self.serves)
            ends = time.monotonic() + SECONDS
            stated, _, _ = await asyncio.gather(
                self._flood(noisy, flood, namespace),
                _repeated(ends, times.verdict, lambda turn: self._verdict(cluster, f"iris-{turn}")),
                _repeated(ends, times.upkeep, lambda _: self._upkeep(cluster, deployment)),
            )
        return times, stated

    async def _flood(self, cluster: KubernetesCluster, flood: Flood, namespace: str) -> str:
        """Apply everything, and return how long it took until each object had a status."""
        began = time.monotonic()

        async def apply(number: int) -> None:
            place = flood.image or "registry.example.com"
            body = model_deployment(f"flood-{number}", image=f"{place}/x/y:z{number}", paused=True)
            await cluster.create(ports.MODEL_DEPLOYMENT, namespace, body)

        for first in range(0, flood.objects, 20):
            await asyncio.gather(*(apply(number) for number in range(first, min(first + 20, flood.objects))))
        applied = time.monotonic() - began

        async def all_stated() -> bool:
            found = await cluster.list(ports.MODEL_DEPLOYMENT, namespace)
            return all((one.get("status") or {}).get("conditions") for one in found)

        try:
            await eventually(all_stated, 2 * _LIMIT, every=1.0)
        except TimeoutError:
            return f"not within {2 * _LIMIT:.0f} s"
        return f"{time.monotonic() - began:.1f} s (applied in {applied:.1f} s)"

    async def _verdict(self, cluster: KubernetesCluster, name: str) -> None:
        await cluster.create(ports.MODEL_DEPLOYMENT, self.asks, model_deployment(name))

        async def is_refused() -> bool:
            return _refused(await cluster.get(ports.MODEL_DEPLOYMENT, self.asks, name))

        await eventually(is_refused, _LIMIT, every=_POLL)
        await cluster.delete(ports.MODEL_DEPLOYMENT, self.asks, name)

    async def _upkeep(self, cluster: KubernetesCluster, deployment: str) -> None:
        await cluster.scale(ports.DEPLOYMENT, self.serves, deployment, 0)

        async def is_right() -> bool:
            found = await cluster.get(ports.DEPLOYMENT, self.serves, deployment)
            return found is not None and found["spec"]["replicas"] == 2

        await eventually(is_right, _LIMIT, every=_POLL)

    def serve(self) -> None:
        """Leave behind what an earlier operator left: a recorded promotion, and a status that names it."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        async with self.api.cluster(ADMIN) as admin, self.api.cluster() as operator:
            raw = await admin.create(ports.MODEL_DEPLOYMENT, self.serves, model_deployment("iris"))
            policy = PromotionPolicy.from_object(await operator.get(ports.PROMOTION_POLICY, None, self.policy) or {})
            status = await _promoted(operator, ModelDeployment.from_object(raw), policy)
            await operator.patch_status(
                ports.MODEL_DEPLOYMENT,
                self.serves,
                "iris",
                {"active": status.payload()},
                resource_version=raw["metadata"]["resourceVersion"],
            )


async def _promoted(cluster: KubernetesCluster, owner: ModelDeployment, policy: PromotionPolicy) -> RevisionStatus:
    """Record a promotion of what a ModelDeployment asks for and return the active revision's status."""
    snapshot = with_pod_spec(
        Snapshot(
            name=owner.name,
            model=owner.spec.model.name,
            version=owner.spec.model.version or "",
            run_id=_RUN,
            image=f"{owner.spec.image.partition(':')[0]}@{_DIGEST}",
            architecture="amd64",
            server=owner.spec.server,
            template=owner.spec.template,
            pre_stop_sleep_seconds=policy.spec.rollout.pre_stop_sleep_seconds,
        )
    )
    now = datetime.now(UTC).replace(microsecond=0)
    candidate = CandidateStatus(
        spec_hash=spec_hash(owner.spec),
        revision=snapshot.revision,
        model_version=snapshot.version,
        run_id=_RUN,
        image=snapshot.image,
        image_digest=_DIGEST,
        policy_hash=policy.spec.hash,
        start_time=now,
    )
    record = await Records(cluster, SYSTEM).write_verdict(
        owner,
        candidate=candidate,
        snapshot=snapshot,
        verdict=Verdict(results=(), policy_hash=policy.spec.hash, decided_at=now),
        policy=policy,
        document_digest=None,
        outcome=RecordOutcome.PROMOTED,
    )
    return activate(candidate, record=record, now=now)


async def _deployment(cluster: KubernetesCluster, namespace: str) -> str:
    """Wait for the Deployment that serves and return its name."""
    found: list[str] = []

    async def is_there() -> bool:
        found[:] = [one["metadata"]["name"] for one in await cluster.list(ports.DEPLOYMENT, namespace)]
        return bool(found)

    await eventually(is_there, _LIMIT)
    return found[0]


async def _repeated(ends: float, times: list[float], act: Callable[[int], Awaitable[None]]) -> None:
    """Do something again and again, and note how long it took each time; what does not end within the limit took that long."""
    while time.monotonic() < ends:
        began = time.monotonic()
        try:
            await act(len(times))
        except TimeoutError:
            times.append(_LIMIT)
            return
        times.append(time.monotonic() - began)
        await asyncio.sleep(_PAUSE)


def _refused(obj: Object | None) -> bool:
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["reason"] == "VersionNotFound" for one in conditions)


def _figures(seconds: list[float]) -> str:
    def figure(value: float) -> str:
        return f"over {_LIMIT:.0f} s" if value >= _LIMIT else f"{value:.2f} s"

    middle, last, most = percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds)
    return f"p50 {figure(middle)}, p99 {figure(last)}, longest {figure(most)} (of {len(seconds)})"


@contextmanager
def tarpit() -> Iterator[str]:
    """Take connections on loopback and never answer; gives `host:port`."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:

        def accept() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for connection in kept:
        connection.close()


def floods(silent: str) -> dict[str, Flood]:
    """Return the floods by name."""
    return {
        "quiet": Flood(),
        "tarpit-40": Flood(40, image=silent),
        "tarpit-500": Flood(500, image=silent),
        "mlflow-40": Flood(40, tracking=f"http://{silent}"),
        "ordinary-200": Flood(200),
    }


def main() -> None:
    """Print the table."""
    print(machine(), flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lockstep-bench-")))
        silent = stack.enter_context(tarpit())
        api = stack.enter_context(Installation.started())
        bench = Bench(api, stack.enter_context(EmptyMLflow.started()), folder)
        bench.serve()
        known = floods(silent)
        for name in sys.argv[1:] or known:
            print(table(bench.measure(name, known[name], silent)), flush=True)


if __name__ == "__main__":
    main()
