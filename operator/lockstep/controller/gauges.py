"""What is measured when somebody asks: how much waits, and for whom."""

from lockstep.controller.lanes import Lane
from lockstep.controller.queue import WorkQueue
from lockstep.controller.reconcile.report import DEPENDENCIES
from lockstep.controller.sources.gatherings import Asked, Gatherings
from lockstep.observability.metrics import Metrics


def measure(metrics: Metrics, queue: WorkQueue, gatherings: Gatherings) -> None:
    """Set the gauges of the queue and of what is being asked."""
    for lane in Lane:
        metrics.queue_depth.labels(lane).set(queue.depth(lane))
        metrics.queue_oldest.labels(lane).set(queue.oldest(lane))
    running, waiting = gatherings.running(), gatherings.waiting()
    for asked in Asked:
        metrics.gatherings.labels(asked, "running").set(running[asked])
        metrics.gatherings.labels(asked, "waiting").set(waiting[asked])
    silent = dict.fromkeys(DEPENDENCIES.values(), 0)
    for reason, count in gatherings.silent().items():
        silent[DEPENDENCIES[reason]] += count
    for dependency, count in silent.items():
        metrics.silent_servers.labels(dependency).set(count)
