"""A scan as the EnvironmentRecord keeps it: the document compressed, since etcd takes objects of 1.5 MB."""

import base64
import binascii
import json
import zlib
from typing import Any

from lockstep.environment.document import MAX_DOCUMENT_BYTES, EnvironmentDocument, InvalidDocumentError
from lockstep.images.scan.result import ImageModel, ImageScan


class InvalidRecordError(ValueError):
    """The record can't be read; the image is scanned again."""


def scan_to_record(scan: ImageScan) -> dict[str, Any]:
    """Return the EnvironmentRecord's spec for a scan."""
    document = scan.document.canonical()
    return {
        "imageDigest": scan.digest,
        "analyser": scan.analyser,
        "documentDigest": scan.document.digest,
        "documentDeflated": base64.b64encode(zlib.compress(document, 9)).decode(),
        "models": json.dumps([model.payload() for model in scan.models], sort_keys=True),
    }


def scan_from_record(spec: dict[str, Any]) -> ImageScan:
    """Read a scan back.

    Raises:
        InvalidRecordError: the record was not written by `scan_to_record`, or its document has another digest.
    """
    try:
        inflater = zlib.decompressobj()
        raw = inflater.decompress(base64.b64decode(spec["documentDeflated"], validate=True), MAX_DOCUMENT_BYTES)
        document = EnvironmentDocument.parse(raw)
        models = tuple(ImageModel.parse(model) for model in json.loads(spec["models"]))
        scan = ImageScan(
            digest=spec["imageDigest"],
            analyser=spec["analyser"],
            document=document,
            models=models,
        )
    except (KeyError, TypeError, ValueError, zlib.error, binascii.Error, InvalidDocumentError) as error:
        raise InvalidRecordError(str(error)) from error
    if document.digest != spec.get("documentDigest"):
        raise InvalidRecordError("the document does not have the digest that the record states")
    return scan
