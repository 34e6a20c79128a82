"""Which MLflow `lockstep check` asks: a policy's address is often one that only pods can reach."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from lockstep.cli.access.access import Access
from lockstep.lineage.lineage import ModelRegistry


@dataclass(frozen=True)
class _Elsewhere:
    """Gives the client of one tracking server, whatever address a policy names."""

    reach: Access
    uri: str

    def at(self, tracking_uri: str) -> ModelRegistry:
        """See `Registries.at`."""
        return self.reach.mlflow(self.uri)


@dataclass(frozen=True)
class Tracking:
    """The tracking server that is asked, and why it is this one."""

    uri: str
    sentence: str
    """For people."""
    hint: str = ""
    """What may help when it does not answer."""

    def registries_for(self, reach: Access) -> _Elsewhere:
        """Return what asks this server."""
        return _Elsewhere(reach, self.uri)


def tracking_of(stated: str, given: str | None) -> Tracking:
    """Decide which server is asked.

    Args:
        stated: what the policy says.
        given: `--tracking-uri`.
    """
    set_here = os.environ.get("MLFLOW_TRACKING_URI")
    if given:
        return Tracking(given, f"MLflow is asked at {given} (--tracking-uri); the policy says {stated}")
    if not is_inside_a_cluster(stated):
        return Tracking(stated, f"MLflow is asked at {stated} (the policy)")
    if set_here:
        return Tracking(set_here, f"MLflow is asked at {set_here} (MLFLOW_TRACKING_URI); the policy says {stated}")
    hint = f"; {stated} is an address inside a cluster: give the one from here by --tracking-uri or MLFLOW_TRACKING_URI"
    return Tracking(stated, f"MLflow is asked at {stated} (the policy)", hint)


def is_inside_a_cluster(uri: str) -> bool:
    """Return whether a cluster's DNS gives an address: `mlflow`, `mlflow.mlflow.svc`, `mlflow.mlflow.svc.cluster.local`."""
    try:
        host = (urlsplit(uri).hostname or "").rstrip(".")
    except ValueError:
        return False
    labels = host.split(".")
    if host == "localhost" or ":" in host:
        return False
    return len(labels) == 1 or "svc" in labels[2:3] or host.endswith((".svc", ".cluster.local"))
