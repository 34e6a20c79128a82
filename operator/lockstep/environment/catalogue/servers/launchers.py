"""Programs of Python that start others: what they change on the way, or that what they start is decided elsewhere."""

from collections.abc import Sequence

from lockstep.environment.catalogue.servers.server import Called, Effect


def opentelemetry(called: Called) -> Effect:
    """`opentelemetry-instrument [--name value]... COMMAND`: its own directory and the working directory on PYTHONPATH."""
    rest = list(called.arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if "=" not in option and option not in ("--version", "-h", "--help"):
            rest = rest[1:]
    return _start_command(called, rest, "opentelemetry/instrumentation/auto_instrumentation", here=True)


def ddtrace(called: Called) -> Effect:
    """`ddtrace-run [flags] COMMAND`: a directory with a sitecustomize on PYTHONPATH (ddtrace/commands/ddtrace_run.py)."""
    rest = list(called.arguments)
    while rest and rest[0].startswith("-"):
        rest = rest[1:]
    return _start_command(called, rest, "ddtrace/bootstrap")


def newrelic(called: Called) -> Effect:
    """`newrelic-admin run-program COMMAND`: a directory with a sitecustomize module on PYTHONPATH (newrelic/admin)."""
    if called.arguments[:1] != ("run-program",):
        return unknown(called)
    return _start_command(called, called.arguments[1:], "newrelic/bootstrap")


def unknown(called: Called) -> Effect:
    """A program that starts what its settings or its own options say.

    Raises:
        CatalogueError: InterpreterAmbiguous.
    """
    raise called.undetermined_error(
        "it starts other programs, and which is not followed", "let the image start the server itself"
    )


def _start_command(called: Called, command: Sequence[str], folder: str, *, here: bool = False) -> Effect:
    added = next((path for entry in called.path if called.is_folder(path := f"{entry.rstrip('/')}/{folder}")), None)
    if not command or added is None:
        return unknown(called)
    stated = called.launch.env.get("PYTHONPATH", "")
    before = [part for part in stated.split(":") if part != added] if stated else []
    if here and called.working_directory not in before:
        before.insert(0, called.working_directory)
    return Effect(next=called.launch.with_command(*command).with_variables({"PYTHONPATH": ":".join((added, *before))}))
