"""Puts layers together and says what a report of the observer means: `python -m lockstep.images.scan.worker.observed`."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, BinaryIO

from lockstep import __version__
from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.observed.observe import describe_observed
from lockstep.environment.document import MAX_DOCUMENT_BYTES
from lockstep.environment.observation import Observation
from lockstep.images.image import ImageConfig, ImageError
from lockstep.images.limits import Limits
from lockstep.images.scan.models import models_of
from lockstep.images.scan.worker.answer import catalogue_reasons, request_line, serve
from lockstep.images.scan.worker.describe import launch_of, machine_of, parse_launch, read_tree
from lockstep.observer.report import Report


def request(config: ImageConfig, variables: Mapping[str, str], report: Report, layers: int, limits: Limits) -> bytes:
    """Return the line that asks what a report means; so many framed records follow it, as `describe.frame_record` frames them.

    Args:
        config: the image's configuration.
        variables: what the pod sets besides.
        report: what was seen in the pod.
        layers: how many layers the image has.
        limits: the bounds.
    """
    launch = launch_of(config).with_variables(variables)
    stated = report.dump().decode()
    return request_line(limits, launch=asdict(launch), machine=machine_of(config), layers=layers, report=stated)


def work(asked: dict[str, Any], limits: Limits, stream: BinaryIO) -> bytes:
    """Return an observation as JSON.

    Raises:
        ImageError: with the reason why the image can't be determined.
    """
    tree, launch = read_tree(asked["layers"], limits, stream), parse_launch(asked["launch"])
    report = Report.parse(asked["report"].encode())
    with catalogue_reasons():
        models = [model.path for model in models_of(tree)]
        machine, collector = asked["machine"], f"lockstep {__version__}"
        found = describe_observed(tree, launch, report, machine=machine, collector=collector, models=models)
    answer = json.dumps(found.payload()).encode()
    if len(answer) > MAX_DOCUMENT_BYTES:
        message = f"the documents of what runs have {len(answer)} bytes, the limit is {MAX_DOCUMENT_BYTES}"
        raise ImageError(Reason.LIMIT_EXCEEDED, message)
    return answer


def result_of(answer: bytes) -> Observation:
    """Read what `work` returned.

    Raises:
        ValueError: it is none of it.
    """
    try:
        return Observation.parse(json.loads(answer))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error


if __name__ == "__main__":
    serve(work)
