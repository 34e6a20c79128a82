"""Revisions: what makes one, its hash, and the snapshot from which its objects can be rendered at any later time."""

import json
import re
from dataclasses import dataclass
from typing import Any

from lockstep.api.modeldeployment import ModelDeploymentSpec
from lockstep.api.podtemplate import PodTemplate
from lockstep.api.server import Server
from lockstep.formats.canonical import canonical_json, sha256_of

_HASH_LENGTH = 10
MAX_SNAPSHOT_BYTES = 384 * 1024
"""Of a snapshot's text as JSON holds it. etcd takes 1.5 MiB, and a PromotionRecord can hold 1 MB of differences beside it."""


def short_hash(value: object) -> str:
    """Return a hash short enough for names and labels (40 bits: collisions within one ModelDeployment do not happen)."""
    return sha256_of(canonical_json(value)).removeprefix("sha256:")[:_HASH_LENGTH]


def spec_hash(spec: ModelDeploymentSpec) -> str:
    """Hash the parts of a spec whose change makes pins anew; replicas, paused, service and thresholds are no part."""
    return short_hash(
        {
            "model": spec.model.essence(),
            "image": spec.image,
            "server": spec.server.essence(),
            "template": spec.template.essence(),
            "retry": spec.retry,
        }
    )


@dataclass(frozen=True)
class Snapshot:
    """All that the pods of one revision are made of. Stored in a ControllerRevision, whose data can't be changed."""

    name: str
    """Name of the ModelDeployment."""
    model: str
    version: str
    run_id: str
    image: str
    """`repository@sha256:…`."""
    architecture: str
    """`amd64`, …: the platform whose manifest was scanned."""
    server: Server
    template: PodTemplate
    pre_stop_sleep_seconds: int
    fresh_bytecode: bool = False
    """Whether the pods compile byte code anew instead of reading the image's."""
    tmp_size_limit: str | None = None
    """How much the pods may write to /tmp, beside which their root file system is read-only; None where it is writable."""
    pod: dict[str, Any] | None = None
    """The pod spec as it was rendered when the candidate was made: another version of the renderer changes no pods."""
    known_as: str | None = None
    """The revision's name as it was recorded: another version of the hash renames nothing."""

    def payload(self) -> dict[str, Any]:
        """Return plain JSON data."""
        payload = {
            "name": self.name,
            "model": self.model,
            "version": self.version,
            "runID": self.run_id,
            "image": self.image,
            "architecture": self.architecture,
            "server": self.server.payload(),
            "template": self.template.payload(),
            "preStopSleepSeconds": self.pre_stop_sleep_seconds,
        }
        if self.fresh_bytecode:
            payload["freshBytecode"] = True
        if self.tmp_size_limit is not None:
            payload["tmpSizeLimit"] = self.tmp_size_limit
        return payload if self.pod is None else payload | {"pod": self.pod}

    @classmethod
    def parse(cls, payload: dict[str, Any], *, known_as: str | None = None) -> "Snapshot":
        """Read what `payload` wrote, under the name that was recorded for it.

        Raises:
            KeyError, pydantic.ValidationError: it was not written by this version or an older one.
        """
        return cls(
            name=payload["name"],
            model=payload["model"],
            version=payload["version"],
            run_id=payload["runID"],
            image=payload["image"],
            architecture=payload["architecture"],
            server=Server.model_validate(payload["server"]),
            template=PodTemplate.model_validate(payload["template"]),
            pre_stop_sleep_seconds=payload["preStopSleepSeconds"],
            fresh_bytecode=payload.get("freshBytecode", False),
            tmp_size_limit=payload.get("tmpSizeLimit"),
            pod=payload.get("pod"),
            known_as=known_as,
        )

    @property
    def size(self) -> int:
        """Bytes of the snapshot's text as JSON holds it."""
        return len(json.dumps(self.text()))

    def essence(self) -> dict[str, Any]:
        """Return what makes the revision: what is served, and the pods as they were rendered.

        The rendering has parts that are the policy's (the drain time, where byte code is cached, what may be written to) and
        is ours. What is active goes on as it was recorded, since neither a policy nor another version of ours makes a
        candidate of it. But a candidate that is being checked, or an old revision that somebody goes back to, is made anew
        under a name of its own: its pods would not be those that are asked for now.
        """
        essence: dict[str, Any] = {
            "model": self.model,
            "version": self.version,
            "runID": self.run_id,
            "image": self.image,
            "architecture": self.architecture,
            "server": self.server.essence(),
            "template": self.template.essence(),
        }
        return essence if self.pod is None else essence | {"pod": short_hash(self.pod)}

    @property
    def revision(self) -> str:
        """Name of the revision: as it was recorded, else the hash of what makes it."""
        return self.known_as or short_hash(self.essence())

    @property
    def object_name(self) -> str:
        """Name of the revision's Deployment and ControllerRevision."""
        return f"{self.name}-{self.revision}"

    @property
    def digest(self) -> str:
        """The image manifest digest that the snapshot pins."""
        return self.image.partition("@")[2]

    def text(self) -> str:
        """Return the snapshot as JSON text, for records: in ASCII and without the characters that Go escapes, so that it is
        the same text however often the API server writes it anew.
        """
        plain = json.dumps(self.payload(), sort_keys=True)
        return re.sub(r"[<>&\x7f]", lambda found: f"\\u{ord(found[0]):04x}", plain)
