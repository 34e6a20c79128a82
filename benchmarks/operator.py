"""What the operator costs: its memory, its writes, and how long a person waits for a verdict.

    python -m benchmarks.operator [objects]

Starts a real API server without nodes, an MLflow that knows no model (so that every ModelDeployment is refused for
good reason: VersionNotFound) and the real controller process. Ends by itself within a few minutes.
"""

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import machine, percentile, table
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import Object
from tests.api.installation import ADMIN, Installation, Write, model_deployment
from tests.api.process import Controller, EmptyMLflow
from tests.api.wait import eventually
from tests.cluster.wait import until

OBJECTS = 1000
SINGLE = 50
SETTLED_SECONDS = 60.0
_POLL = 0.01
_LIMIT = 300.0
"""No step may take longer, in seconds."""

Row = tuple[str, str]


@dataclass(frozen=True)
class Usage:
    """What the kernel says of a process."""

    resident: float
    """MB."""
    peak: float
    cpu: float
    """Seconds."""

    @classmethod
    def of(cls, controller: Controller) -> "Usage":
        """Ask now."""
        process = Path(f"/proc/{controller.pid}")
        lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        ticks = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
        return cls(_megabytes(lines["VmRSS"]), _megabytes(lines["VmHWM"]), sum(map(int, ticks)) / 100)


def _megabytes(text: str) -> float:
    return int(text.split()[0]) / 1024


class Bench:
    """One run of the benchmark."""

    def __init__(self, api: Installation, mlflow: EmptyMLflow, folder: Path, objects: int) -> None:
        self.api = api
        self.mlflow = mlflow
        self.folder = folder
        self.objects = objects
        self.team = api.namespace(policy=api.policy("bench", mlflow.uri))

    def start(self, identity: str) -> Controller:
        """Start a controller."""
        return Controller(self.api, self.folder, identity, LOCKSTEP_LOG_FORMAT="json")

    def idle_and_single(self) -> list[Row]:
        """Measure the memory with nothing to do, then one object at a time."""
        with self.start("first") as controller:
            began = time.monotonic()
            controller.leading(60)
            leads = time.monotonic() - began
            self.quiet()
            idle = Usage.of(controller)
            seconds = asyncio.run(self._singles())
            controller.terminate(15)
        self.api.clear(self.team)
        return [
            ("start until it leads", f"{leads:.1f} s"),
            ("resident memory, idle", f"{idle.resident:.0f} MB"),
            (f"apply → verdict, one at a time, p50 of {SINGLE}", f"{percentile(seconds, 0.5) * 1000:.0f} ms"),
            (f"apply → verdict, one at a time, p99 of {SINGLE}", f"{percentile(seconds, 0.99) * 1000:.0f} ms"),
        ]

    async def _singles(self) -> list[float]:
        async with self.api.cluster(ADMIN) as cluster:
            return [await self._single(cluster, f"single-{number}") for number in range(SINGLE)]

    async def _single(self, cluster: KubernetesCluster, name: str) -> float:
        began = time.monotonic()
        await cluster.create(ports.MODEL_DEPLOYMENT, self.team, model_deployment(name))

        async def is_refused() -> bool:
            return _refused(await cluster.get(ports.MODEL_DEPLOYMENT, self.team, name))

        await eventually(is_refused, _LIMIT, every=_POLL)
        return time.monotonic() - began

    def many(self) -> list[Row]:
        """Measure a start with many objects that have no status yet, and the settled state after it."""
        asyncio.run(self._create())
        mark = self.api.mark()
        with self.start("second") as controller:
            began = time.monotonic()
            controller.leading(60)
            leads = time.monotonic() - began
            until(lambda: self._stated(mark) >= self.objects, _LIMIT, "every object has a status", every=0.5)
            stated = time.monotonic() - began
            asyncio.run(self._check())
            self.quiet()
            busy = Usage.of(controller).cpu / self.objects
            writes = [one for one in self.api.writes(mark) if one.namespace == self.team]
            settled = self._settled(controller)
            controller.terminate(15)
        each = Counter(f"{one.verb} {one.resource}" for one in writes)
        return [
            (f"start until {self.objects} objects have a status", f"{stated:.1f} s (it leads after {leads:.1f} s)"),
            ("API writes for each refusal", f"{len(writes) / self.objects:.2f} ({_shares(each, self.objects)})"),
            ("processor time for each refusal", f"{busy * 1000:.0f} ms"),
            *settled,
        ]

    def _settled(self, controller: Controller) -> list[Row]:
        mark, before, reconciled, asked = self.api.mark(), Usage.of(controller), _reconciliations(controller), self.mlflow.asked
        began = time.monotonic()
        until(lambda: time.monotonic() - began >= SETTLED_SECONDS, SETTLED_SECONDS + 5, "the minute is over", every=1)
        after, lasted = Usage.of(controller), time.monotonic() - began
        writes = self.api.writes(mark)
        return [
            (f"resident memory, {self.objects} objects", f"{after.resident:.0f} MB (peak {after.peak:.0f} MB)"),
            (f"API writes in {lasted:.0f} s of settled state, Leases left out", _counted(writes)),
            ("reconciliations in that time", f"{_reconciliations(controller) - reconciled:.0f}"),
            ("questions to MLflow in that time", str(self.mlflow.asked - asked)),
            ("processor in that time", f"{(after.cpu - before.cpu) / lasted * 100:.0f} % of one core"),
        ]

    async def _create(self) -> None:
        async with self.api.cluster(ADMIN) as cluster:
            for first in range(0, self.objects, 20):
                names = [f"many-{number}" for number in range(first, min(first + 20, self.objects))]
                await asyncio.gather(
                    *(cluster.create(ports.MODEL_DEPLOYMENT, self.team, model_deployment(name)) for name in names)
                )

    def _stated(self, mark: int) -> int:
        """Count the objects with a status in the audit log, which costs the API server nothing."""
        writes = self.api.writes(mark, matching=lambda one: one.resource == "modeldeployments/status" and one.status == 200)
        return len({one.name for one in writes})

    async def _check(self) -> None:
        async with self.api.cluster(ADMIN) as cluster:
            found = await cluster.list(ports.MODEL_DEPLOYMENT, self.team)
        missing = [one["metadata"]["name"] for one in found if not _refused(one)]
        if missing or len(found) != self.objects:
            raise RuntimeError(f"{len(missing)} of {len(found)} objects are not refused, such as {missing[:3]}")

    def quiet(self) -> None:
        """Wait until nothing has been written for five seconds."""
        last, since = len(self.api.writes()), time.monotonic()

        def so() -> bool:
            nonlocal last, since
            if (now := len(self.api.writes())) != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since >= 5

        until(so, _LIMIT, "the operator writes nothing more", every=0.5)


def _refused(obj: Object | None) -> bool:
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["reason"] == "VersionNotFound" for one in conditions)


def _reconciliations(controller: Controller) -> float:
    return sum(value for name, value in controller.metrics().items() if name.startswith("lockstep_reconcile_total"))


def _shares(each: Counter[str], objects: int) -> str:
    return ", ".join(f"{count / objects:.2f} {what}" for what, count in each.most_common())


def _counted(writes: Sequence[Write]) -> str:
    return f"{len(writes)}" + (f", such as {writes[0]}" if writes else "")


def main() -> None:
    """Print the table."""
    objects = int(sys.argv[1]) if len(sys.argv) > 1 else OBJECTS
    print(machine(), flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lockstep-bench-")))
        api = stack.enter_context(Installation.started())
        bench = Bench(api, stack.enter_context(EmptyMLflow.started()), folder, objects)
        rows = bench.idle_and_single()
        print(table(rows + bench.many()))


if __name__ == "__main__":
    main()
