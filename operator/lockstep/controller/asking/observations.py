"""What the processes of a candidate's pods run: the observer is added to each, beside the reconciliations, and reports."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from lockstep.api.reasons import Reason
from lockstep.bounded import Bounded
from lockstep.controller.asking.asking import Asking
from lockstep.controller.background import Background
from lockstep.controller.cluster.ports import Clock, Cluster, ClusterError, Object, RejectedError
from lockstep.controller.sources.gather import Gatherer, is_on_its_way
from lockstep.environment.catalogue.observed.environments import REPORTED
from lockstep.environment.observation import Observation
from lockstep.gates.evidence import CandidatePods, Fact, Unknown
from lockstep.gathering.subject import OpenedImage, Subject
from lockstep.images.image import ResolvedImage
from lockstep.observer.report import MAX_REPORT, InvalidReportError, Report, find_report
from lockstep.rollout.objects.manifests import CONTAINER
from lockstep.rollout.objects.observer import OBSERVER, is_this_observer, observer_container, server_of
from lockstep.rollout.observed.observed import Observed
from lockstep.rollout.observed.observers import observer_status

_KEPT = 4096
_AT_ONCE = 16
"""Pods of one candidate that are looked at at the same time."""
_AGAIN = 5.0
"""Seconds until it is asked again why nothing was seen."""
_PATIENCE = 120.0
"""Seconds that the observer has to start, its image's pull among them, and to end."""
_PULLS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable")
_NO_IMAGE = "the chart's value observer.enabled is false"
_log = logging.getLogger(__name__)


@dataclass
class _Entry:
    """What is known of one pod."""

    fact: Fact[Observation] | None = None
    at: float = 0.0
    since: float | None = None
    """When the observer was asked for, as this process remembers it."""
    running: bool = False

    def is_due(self, now: float) -> bool:
        """Return whether the pod is to be looked at; what is known stays known."""
        if self.running or isinstance(self.fact, Observation):
            return False
        return self.fact is None or now - self.at >= _AGAIN


@dataclass(frozen=True)
class _Look:
    """One pod that is looked at."""

    asking: Asking
    pod: Object
    observer: Object | None
    """The container that was added; None where there is none yet."""
    opened: OpenedImage

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def step(self) -> str:
        return f"Next step (team): to have another pod looked at: kubectl delete pod {self.name}"

    def unknown(self, reason: Reason, message: str, step: str) -> Unknown:
        return Unknown(reason, message, retry=True, next_step=step)


class PodObservations:
    """Adds the observer to each pod once it is audited, and reads what it has seen.

    Args:
        cluster: the cluster.
        gatherer: opens the image and explains reports by its layers.
        clock: the time.
        image: the observer's image; empty where there is none.
    """

    def __init__(self, cluster: Cluster, gatherer: Gatherer, clock: Clock, image: str) -> None:
        self._cluster = cluster
        self._gatherer = gatherer
        self._clock = clock
        self._image = image
        self._background = Background()
        self._entries: Bounded[str, _Entry] = Bounded(_KEPT)
        """By the pods' uids."""

    async def of(
        self, asking: Asking, subject: Subject, observed: Observed, image: Fact[ResolvedImage], pods: CandidatePods
    ) -> Mapping[str, Fact[Observation]]:
        """Return what was seen so far, by the pods' names, and begin what is missing: lazy imports have happened by then."""
        audited = {audit.pod for audit in pods.audits if audit.passed}
        raw = [pod for pod in observed.pods_of(asking.snapshot.revision) if pod["metadata"]["name"] in audited]
        if isinstance(image, Unknown) or not raw:
            return {}
        opened = await self._gatherer.opened(subject, asking.requeue, image.pinned)
        if isinstance(opened, Unknown):
            return {} if is_on_its_way(opened) else {str(pod["metadata"]["name"]): opened for pod in raw}
        found: dict[str, Fact[Observation]] = {}
        about = (asking.owner.uid, asking.snapshot.revision)
        for pod in raw:
            uid = str(pod["metadata"]["uid"])
            entry = self._entries.setdefault(uid, _Entry())
            self._entries.move_to_end(uid)
            if entry.is_due(self._clock.monotonic()) and self._background.running(about) < _AT_ONCE:
                entry.running = True
                look = _Look(asking, pod, observed.observers.get(uid), opened)
                self._background.start(about, self._run(look, entry))
            if entry.fact is not None:
                found[str(pod["metadata"]["name"])] = entry.fact
        return found

    async def stop(self) -> None:
        """End what still runs."""
        await self._background.stop()

    async def _run(self, look: _Look, entry: _Entry) -> None:
        before = (entry.fact, entry.since)
        try:
            entry.fact = await self._look(look, entry)
        except ClusterError as error:
            _log.warning("pod %s can't be looked at now: %s", look.name, error)
        except Exception:
            _log.exception("pod %s can't be looked at", look.name)
            entry.fact = Unknown(Reason.INTERNAL_ERROR, "it can't be looked at; the operator's log has the cause", retry=True)
        finally:
            entry.at, entry.running = self._clock.monotonic(), False
        if (entry.fact, entry.since) != before:
            look.asking.requeue()

    async def _look(self, look: _Look, entry: _Entry) -> Fact[Observation] | None:
        if look.observer is None:
            return await self._add(look, entry)
        if not is_this_observer(look.observer, look.pod, self._image, REPORTED):
            message = "the observer was added by another version of Lockstep, and may have left out what counts now"
            return look.unknown(Reason.OBSERVER_FAILED, message, look.step)
        state = observer_status(look.pod).get("state") or {}
        if ended := state.get("terminated"):
            report = await self._read(look, ended)
            if isinstance(report, Unknown):
                return report
            variables = _variables(look.pod)
            return await self._gatherer.explain(look.opened, report, variables, look.asking.owner.namespace)
        waiting = state.get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            message = f"the observer does not start: {waiting['reason']}: {waiting.get('message') or 'no reason given'}"
            step = f"Next step (platform team): see what its node says of it: kubectl describe pod {look.name}"
            if waiting["reason"] in _PULLS:
                step = f"Next step (platform team): let the node pull {self._image}, or set the chart's observer.image"
            return look.unknown(Reason.OBSERVER_UNAVAILABLE, message, step)
        entry.since = entry.since if entry.since is not None else self._clock.monotonic()
        if self._clock.monotonic() - entry.since < _PATIENCE:
            return None
        message = f"the observer has not ended within {_PATIENCE:.0f} s"
        step = f"Next step (platform team): see what its node says of it: kubectl describe pod {look.name}"
        return look.unknown(Reason.OBSERVER_UNAVAILABLE, message, step)

    async def _add(self, look: _Look, entry: _Entry) -> Unknown | None:
        if not self._image:
            step = "Next step (platform team): install the chart with observer.enabled=true"
            return look.unknown(Reason.OBSERVER_UNAVAILABLE, _NO_IMAGE, step)
        if entry.since is not None:
            # It was added, and the pod was read before.
            return None
        ids = await self._identify(look)
        if isinstance(ids, Unknown):
            return ids
        user, group = ids
        container = observer_container(look.pod, self._image, variables=REPORTED, user=user, group=group)
        try:
            await self._cluster.add_ephemeral_container(look.asking.owner.namespace, look.pod, container)
        except RejectedError as error:
            step = "Next step (platform team): let the operator's service account patch pods/ephemeralcontainers there"
            return look.unknown(Reason.OBSERVER_FORBIDDEN, f"the observer is refused: {error}", step)
        entry.since = self._clock.monotonic()
        return None

    async def _identify(self, look: _Look) -> Fact[tuple[int, int]]:
        """Return the server's user and group: as its node reports them, else as was asked for and by the image's files."""
        statuses = (look.pod.get("status") or {}).get("containerStatuses") or []
        status: Object = next((one for one in statuses if one.get("name") == CONTAINER), {})
        reported = (status.get("user") or {}).get("linux") or {}
        if isinstance(reported.get("uid"), int) and isinstance(reported.get("gid"), int):
            return reported["uid"], reported["gid"]
        contexts = [server_of(look.pod).get("securityContext") or {}, look.pod["spec"].get("securityContext") or {}]
        asked = next((one["runAsUser"] for one in contexts if isinstance(one.get("runAsUser"), int)), None)
        user = look.opened.image.config.user.partition(":")[0] if asked is None else str(asked)
        ids = await self._gatherer.identify(look.opened, user, look.asking.owner.namespace)
        group = next((one["runAsGroup"] for one in contexts if isinstance(one.get("runAsGroup"), int)), None)
        return ids if isinstance(ids, Unknown) or group is None else (ids[0], group)

    async def _read(self, look: _Look, ended: Object) -> Report | Unknown:
        if ended.get("exitCode") != 0:
            message = f"the observer ended with exit code {ended.get('exitCode')} ({ended.get('reason') or 'no reason given'})"
            return look.unknown(Reason.OBSERVER_FAILED, message, look.step)
        try:
            log = await self._cluster.read_log(look.asking.owner.namespace, look.name, OBSERVER, 2 * MAX_REPORT)
            report = find_report(log, str(ended.get("message") or ""))
        except RejectedError as error:
            return look.unknown(Reason.OBSERVER_FAILED, f"the observer's log can't be read: {error}", look.step)
        except InvalidReportError as error:
            return look.unknown(Reason.OBSERVER_FAILED, f"the observer gave no report: {error}", look.step)
        return look.unknown(Reason.OBSERVER_FAILED, report.undetermined, look.step) if report.undetermined else report


def _variables(pod: Object) -> dict[str, str]:
    server = server_of(pod)
    return {str(one["name"]): str(one.get("value") or "") for one in server.get("env") or []}
