"""The gates, in the order in which they are asked. This is the only list of them."""

from lockstep.gates import environment, image, lineage, readiness
from lockstep.gates.gate import Gate

GATES: tuple[Gate, ...] = (
    lineage.GATE,  # version, run and logged model exist, agree, and are what they were when they were first seen
    image.GATE,  # pinned, allowed, signed where that is demanded, and holds the registered model
    environment.GATE,  # the environment in the image is the training run's
    readiness.GATE,  # the pods are those that were asked for, are ready, and answer
)
