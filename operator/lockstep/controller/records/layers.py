"""The cache of layers as LayerRecords in the operator's namespace: it survives restarts and is shared by replicas."""

import base64
import binascii
import logging

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Cluster, ClusterError, ConflictError, Object
from lockstep.formats.canonical import canonical_json, sha256_of
from lockstep.images.scan.layers import LayerKey
from lockstep.rollout.objects import labels

_PART = 900 * 1000
"""Bytes of a record in one object: in base64 they stay below what etcd takes (1.5 MiB a request)."""
_MAX_PARTS = 16
_log = logging.getLogger(__name__)


class LayerRecords:
    """Implements `LayerCache`."""

    def __init__(self, cluster: Cluster, namespace: str, analyser: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._analyser = analyser

    async def get(self, key: LayerKey) -> bytes | None:
        """See `LayerCache.get`."""
        try:
            return await self._get(key)
        except (ClusterError, LookupError, TypeError, binascii.Error) as error:
            _log.warning("layer %s is read anew, its record can't be had: %s", key.digest, error)
            return None

    async def _get(self, key: LayerKey) -> bytes | None:
        record = bytearray()
        parts, digest = 1, ""
        for part in range(_MAX_PARTS):
            if part == parts:
                break
            stored = await self._cluster.get(ports.LAYER_RECORD, self._namespace, self._name(key, part))
            if stored is None:
                return None
            parts, digest = stored["spec"]["parts"], stored["spec"]["recordDigest"]
            record += base64.b64decode(stored["spec"]["data"], validate=True)
        return bytes(record) if sha256_of(bytes(record)) == digest else None

    async def put(self, key: LayerKey, record: bytes) -> None:
        """See `LayerCache.put`. A record that is too large is not kept."""
        pieces = [record[at : at + _PART] for at in range(0, len(record), _PART)]
        if len(pieces) > _MAX_PARTS:
            _log.info("the record of layer %s has %d bytes and is not kept", key.digest, len(record))
            return
        digest = sha256_of(record)
        try:
            # The first part last: where it is, the others are.
            for part in reversed(range(len(pieces))):
                await self._create(self._object(key, part, pieces, digest))
        except ClusterError as error:
            _log.warning("the record of layer %s was not kept: %s", key.digest, error)

    async def _create(self, body: Object) -> None:
        try:
            await self._cluster.create(ports.LAYER_RECORD, self._namespace, body)
        except ConflictError:
            # Equal layers give equal records.
            return

    def _name(self, key: LayerKey, part: int) -> str:
        about = [key.digest, key.media_type, key.diff_id, self._analyser]
        return f"layer-{sha256_of(canonical_json(about))[7:47]}-{part}"

    def _object(self, key: LayerKey, part: int, pieces: list[bytes], digest: str) -> Object:
        return {
            "apiVersion": ports.LAYER_RECORD.api_version,
            "kind": ports.LAYER_RECORD.kind,
            "metadata": {
                "name": self._name(key, part),
                "namespace": self._namespace,
                "labels": {labels.MANAGED_BY: labels.MANAGER},
            },
            "spec": {
                "layerDigest": key.digest,
                "mediaType": key.media_type,
                "diffID": key.diff_id,
                "analyser": self._analyser,
                "recordDigest": digest,
                "part": part,
                "parts": len(pieces),
                "data": base64.b64encode(pieces[part]).decode(),
            },
        }
