"""What a report of the observer says of the environment that answers."""

from collections.abc import Sequence

from lockstep.environment.catalogue.describe import describe_process
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.catalogue.observed.environments import find_environments
from lockstep.environment.catalogue.observed.files import find_foreign
from lockstep.environment.catalogue.servers.serving import Serving
from lockstep.environment.document import EnvironmentDocument
from lockstep.environment.observation import Observation
from lockstep.environment.tree import FileTree
from lockstep.observer.report import Report


def describe_observed(
    tree: FileTree, launch: Launch, report: Report, *, machine: str, collector: str, models: Sequence[str] = ()
) -> Observation:
    """Derive the environments of processes that were seen, from the image's files, and name what is not the image's.

    Args:
        tree: the image's files.
        launch: how the image was started, with the variables that its pod was given.
        report: what was seen; it names at least one process.
        machine: as `uname -m` prints it.
        collector: who says so, for the documents.
        models: directories of the logged models inside.
    """

    def describe(serves: Serving) -> EnvironmentDocument:
        return describe_process(tree, serves, machine=machine, collector=collector, models=models)

    environments = find_environments(tree, launch, report, describe)
    return Observation(environments, find_foreign(tree, report, environments))
