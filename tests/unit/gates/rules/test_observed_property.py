"""No start whose interpreter or path is another one than the document's passes, however the image hides it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.environment.candidate import Candidate
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.catalogue.observed.observe import describe_observed
from lockstep.environment.observation import Observation
from lockstep.gates.chain import evaluate
from lockstep.gates.evidence import Undetermined
from lockstep.gates.gate import Result
from lockstep.observer.report import MappedFile, Process, Report
from tests.fakes import builders as build
from tests.fakes.roots import Files, debian, distribution, elf, tree, venv

RIGHT = "1.4.2"
SITES = {
    "/opt/venv/bin/python3": "/opt/venv/lib/python3.11/site-packages",
    "/opt/other/bin/python3": "/opt/other/lib/python3.11/site-packages",
    "/usr/bin/python3": "/usr/lib/python3/dist-packages",
}
VERSIONS = {SITES["/opt/venv/bin/python3"]: RIGHT, SITES["/opt/other/bin/python3"]: "9.9", "/srv/pkgs": "1.2.0"}
SCRIPT = "import sys\nfrom uvicorn.main import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
SPAWN = "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)"
LAUNCH = Launch(("/start",), {"PATH": "/opt/venv/bin:/usr/bin"}, "/app")


def root() -> Files:
    files = debian() | venv() | venv("/opt/other") | {"/app/serve.py": "", "/srv/pkgs/serve.py": ""}
    for site, version in VERSIONS.items():
        files |= distribution(site, "scikit_learn", version)
    for name in ("/opt/venv", "/opt/other"):
        files |= {f"{name}/bin/uvicorn": f"#!{name}/bin/python3\n{SCRIPT}"}
    return files


TREE = tree(root())


@dataclass(frozen=True)
class Start:
    """How a process was started, whatever the image looks like."""

    interpreter: str
    how: str
    folder: str
    path: str
    """PYTHONPATH."""
    safe: bool
    child: bool

    def argv(self) -> tuple[str, ...]:
        words = {"script": ("serve.py",), "module": ("-m", "serve"), "isolated": ("-I", "/app/serve.py")}
        if self.how == "uvicorn" and self.interpreter != "/usr/bin/python3":
            return (self.interpreter, f"{self.interpreter.rpartition('/')[0]}/uvicorn", "serve:app")
        name = self.interpreter.rpartition("/")[2] if self.how == "by name" else self.interpreter
        return (name, *words.get(self.how, ("serve.py",)))

    def variables(self) -> dict[str, str]:
        named = {"PATH": f"{self.interpreter.rpartition('/')[0]}:/usr/bin"}
        return named | ({"PYTHONPATH": self.path} if self.path else {}) | ({"PYTHONSAFEPATH": "1"} if self.safe else {})

    def directories(self) -> Iterator[str]:
        """Yield what is searched, first to last, as CPython and uvicorn put it together."""
        isolated = self.how == "isolated"
        uvicorn = "uvicorn" in self.argv()[-2]
        if uvicorn or (not self.safe and not isolated):
            yield self.folder
        if self.path and not isolated:
            yield self.path
        yield SITES[self.interpreter]

    def imports(self) -> str | None:
        """Return the version that is imported."""
        return next((VERSIONS[folder] for folder in self.directories() if folder in VERSIONS), None)

    def processes(self) -> tuple[Process, ...]:
        executable, variables = "/usr/bin/python3.11", self.variables()
        server = Process(1, 0, executable, self.argv(), self.folder, variables, not self.child, (0,))
        if not self.child:
            return (server,)
        worker = (self.interpreter, "-c", SPAWN, "--multiprocessing-fork")
        return server, replace(server, pid=7, parent=1, argv=worker, serves=True)


STARTS = st.builds(
    Start,
    interpreter=st.sampled_from(sorted(SITES)),
    how=st.sampled_from(["script", "by name", "module", "uvicorn", "isolated"]),
    folder=st.sampled_from(["/app", "/srv/pkgs"]),
    path=st.sampled_from(["", "/srv/pkgs", *VERSIONS]),
    safe=st.booleans(),
    child=st.booleans(),
)


def seen(start: Start) -> Observation:
    mapped = MappedFile("/usr/bin/python3.11", hashlib.sha256(elf()).hexdigest())
    report = Report(start.processes(), (mapped,))
    return describe_observed(TREE, LAUNCH, report, machine="x86_64", collector="test")


def judged(start: Start) -> Result:
    document = build.document({"scikit-learn": RIGHT})
    trained = build.document({"scikit-learn": RIGHT}, required=True)
    lineage = build.lineage(environment_document=trained.canonical(), environment_digest=trained.digest)
    scan = Undetermined(
        Reason.INTERPRETER_AMBIGUOUS,
        "it can't be told",
        retry=False,
        digest=build.image().digest,
        models=build.scan().models,
        candidates=(Candidate("/opt/venv/bin/python3", document=document),),
    )
    pods = build.candidate()
    observed = {pod.name: seen(start) for pod in pods.pods}
    evidence = build.evidence(scan=scan, lineage=lineage, pods=replace(pods, observed=observed))
    return next(one for one in evaluate(evidence).results if one.gate == "environment")


@given(start=STARTS)
def test_what_imports_another_version_never_passes(start: Start) -> None:
    result = judged(start)
    if start.imports() != RIGHT:
        assert result.outcome is GateOutcome.REJECTED, result.message


def test_the_right_start_passes() -> None:
    for how in ("script", "by name", "module", "uvicorn", "isolated"):
        for child in (False, True):
            start = Start("/opt/venv/bin/python3", how, "/app", "", safe=False, child=child)
            assert start.imports() == RIGHT
            assert judged(start).outcome is GateOutcome.PASSED, judged(start).message
