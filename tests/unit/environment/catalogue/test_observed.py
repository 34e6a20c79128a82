"""What a report of the observer says of the environment that answers."""

import hashlib
from dataclasses import replace

import pytest

from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.catalogue.observed.environments import REPORTED, find_environments
from lockstep.environment.catalogue.observed.observe import describe_observed
from lockstep.environment.catalogue.servers.serving import Serving
from lockstep.environment.document import EnvironmentDocument
from lockstep.environment.observation import Observation
from lockstep.observer.report import MappedFile, Process, Report
from tests.fakes import builders as build
from tests.fakes.roots import VENV_SITE, Files, debian, distribution, elf, tree, venv

PATH = "/opt/venv/bin:/usr/bin"
OTHER_SITE = "/opt/other/lib/python3.11/site-packages"
LAUNCH = Launch(("supervisord",), {"PATH": PATH}, "/app")
FORKED = (
    "-c",
    "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)",
    "--multiprocessing-fork",
)


def script(entry: str, python: str = "/opt/venv/bin/python3") -> str:
    module, _, attribute = entry.partition(":")
    call = f"if __name__ == '__main__':\n    sys.exit({attribute}())\n"
    return f"#!{python}\nimport sys\nfrom {module} import {attribute}\n{call}"


ROOT: Files = {
    **debian(),
    **venv(),
    **venv("/opt/other"),
    **distribution(VENV_SITE, "scikit_learn", "1.4.2"),
    **distribution(OTHER_SITE, "scikit_learn", "9.9"),
    "/opt/venv/bin/uvicorn": script("uvicorn.main:main"),
    "/opt/venv/bin/gunicorn": script("gunicorn.app.wsgiapp:run"),
    "/opt/venv/bin/ray": script("ray.scripts.scripts:main"),
    "/app/serve.py": "",
    "/srv/code/main.py": "",
    f"{VENV_SITE}/scikit_learn/core.so": "object",
}


def process(
    *argv: str,
    pid: int = 12,
    parent: int = 1,
    cwd: str = "/app",
    env: dict[str, str] | None = None,
    exe: str = "",
    serves: bool = True,
) -> Process:
    variables = {"PATH": PATH} | (env or {})
    return Process(pid, parent, exe or "/usr/bin/python3.11", argv, cwd, variables, True, ())


def observed(*processes: Process, launch: Launch = LAUNCH, more: Files | None = None, **report: object) -> Observation:
    seen = replace(Report(processes), **report)  # type: ignore[arg-type]
    return describe_observed(tree(ROOT, more or {}), launch, seen, machine="x86_64", collector="test")


def packages(found: Observation) -> list[list[str]]:
    """Return what is installed in each environment."""
    assert [one.fault for one in found.environments if one.document is None] == []
    return [[package.version for package in one.document.packages] for one in found.environments if one.document]


def path(found: Observation) -> tuple[str, ...]:
    (one,) = found.environments
    assert one.document is not None, one.fault
    assert one.document.start is not None
    return one.document.start.path


def fault(found: Observation) -> str:
    (one,) = found.environments
    assert one.document is None
    return one.fault


@pytest.mark.parametrize(
    ("argv", "version"),
    [
        (("/opt/venv/bin/python", "serve.py"), "1.4.2"),
        (("/opt/other/bin/python3", "/app/serve.py"), "9.9"),
        (("python", "serve.py"), "1.4.2"),
        (("/opt/venv/bin/python3", "/opt/venv/bin/uvicorn", "serve:app"), "1.4.2"),
    ],
)
def test_the_environment_is_that_of_the_interpreter_as_it_was_called(argv: tuple[str, ...], version: str) -> None:
    assert packages(observed(process(*argv))) == [[version]]


def test_the_path_of_the_process_decides_not_the_images() -> None:
    found = observed(process("python", "serve.py", env={"PATH": "/opt/other/bin:/usr/bin"}))
    assert packages(found) == [["9.9"]]
    assert str(found.environments[0]) == "pid 12, /opt/other/bin/python"


def test_its_variables_and_working_directory_count() -> None:
    extra = distribution("/srv/pkgs", "numpy", "2.0")
    found = observed(process("python", "serve.py", env={"PYTHONPATH": "../srv/pkgs"}), more=extra)
    assert packages(found) == [["2.0", "1.4.2"]]
    module = observed(process("/opt/venv/bin/python", "-m", "main", cwd="/srv/code"))
    assert path(module)[0] == "/srv/code"


def test_a_known_server_puts_its_directories_there() -> None:
    found = observed(process("/opt/venv/bin/python3", "/opt/venv/bin/uvicorn", "main:app", "--app-dir", "/srv/code"))
    assert path(found)[0] == "/srv/code"


def test_what_multiprocessing_starts_has_its_parents_path() -> None:
    server = process("/opt/venv/bin/python3", "/opt/venv/bin/uvicorn", "main:app", "--workers", "2", pid=1, parent=0)
    worker = process("/opt/venv/bin/python3", *FORKED, pid=9, parent=1)
    tracker = ("-c", "from multiprocessing.resource_tracker import main;main(6)")
    found = observed(server, worker, process("/opt/venv/bin/python3", *tracker, pid=8))
    assert [one.pids for one in found.environments] == [(1, 9, 8)]
    alone = observed(replace(server, serves=False), worker)
    assert [one.pids for one in alone.environments] == [(9,)]
    assert packages(alone) == [["1.4.2"]]
    assert "what started it" in fault(observed(worker))
    other = observed(replace(server, executable="/usr/bin/python3", argv=("/usr/bin/python3",)), worker)
    assert all(one.document is None for one in other.environments)


def test_two_environments_are_two() -> None:
    found = observed(process("python", "serve.py"), process("/opt/other/bin/python3", "serve.py", pid=13))
    assert packages(found) == [["1.4.2"], ["9.9"]]


@pytest.mark.parametrize(
    ("argv", "changes", "why"),
    [
        (("gunicorn: master [app]",), {}, "overwritten its command line"),
        (("/opt/venv/bin/python3", "-c", "import app"), {}, "runs code of its command line"),
        (("/opt/venv/bin/python3", "/opt/venv/bin/ray", "start"), {}, "starts other programs"),
        (("/opt/venv/bin/python3", "/opt/venv/bin/gunicorn", "--chdir", "/app", "a:b"), {}, "changed its working directory"),
        (("/opt/venv/bin/python3", "gone.py"), {}, "changed its working directory"),
        (("python", "serve.py"), {"executable": "/root/env/bin/python3"}, "is no file of the image"),
        (("httpd",), {"executable": "/usr/bin/dash"}, "its Python is part of"),
        (("python", "serve.py"), {"variables": {}}, "overwritten its variables"),
        (("python", "serve.py"), {"variables": {"PATH": PATH, "LD_PRELOAD": "/app/x.so"}}, "LD_PRELOAD"),
        (("python", "serve.py"), {"variables": {"PATH": PATH, "PYTHONHOME": "/opt/other"}}, "PYTHONHOME"),
    ],
)
def test_what_can_not_be_derived_is_said(argv: tuple[str, ...], changes: dict[str, object], why: str) -> None:
    assert why in fault(observed(replace(process(*argv), **changes)))  # type: ignore[arg-type]


def test_where_the_image_says_what_it_starts_that_is_what_an_overwritten_command_line_was() -> None:
    launch = replace(LAUNCH, argv=("gunicorn", "--chdir", "/srv/code", "main:app"))
    for argv in (("gunicorn: master [main:app]",), ("/opt/venv/bin/python3", "/opt/venv/bin/gunicorn", *launch.argv[1:])):
        found = observed(process(*argv, cwd="/srv/code"), launch=launch)
        assert path(found)[:2] == ("/srv/code", "/app")
    other = observed(process("gunicorn: master", exe="/usr/bin/python3.12"), launch=launch, more={"/usr/bin/python3.12": elf()})
    assert "overwritten" in fault(other)


def test_a_variable_that_the_pod_or_the_image_sets_is_the_gates_to_judge() -> None:
    launch = LAUNCH.with_variables({"LD_PRELOAD": "/app/x.so"})
    assert packages(observed(process("python", "serve.py", env={"LD_PRELOAD": "/app/x.so"}), launch=launch)) == [["1.4.2"]]


def test_what_decides_the_path_is_reported() -> None:
    assert {"PATH", "PYTHONPATH", "HOME", "GUNICORN_CMD_ARGS", "LD_PRELOAD", "PYTHONSAFEPATH"} <= set(REPORTED)


def sha256(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def mapped(*files: MappedFile) -> tuple[str, ...]:
    one = replace(process("python", "serve.py"), files=tuple(range(len(files))))
    return observed(one, files=files).findings


CORE = f"{VENV_SITE}/scikit_learn/core.so"


def test_files_of_the_image_are_no_findings() -> None:
    assert mapped(MappedFile(CORE, sha256("object")), MappedFile("/usr/bin/python3.11", sha256(elf()))) == ()


def test_memory_that_is_no_file_and_the_drivers_libraries_are_no_findings() -> None:
    cuda = MappedFile("/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15", "ab" * 32)
    assert mapped(MappedFile("/memfd:libffi", None, True), MappedFile("/dev/zero", None, True), cuda) == ()


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (MappedFile(CORE, sha256("other")), "has other bytes"),
        (MappedFile(CORE, None), "can't be read"),
        (MappedFile(CORE, None, deleted=True), "deleted or replaced"),
        (MappedFile("/memfd:model.so", None, deleted=True), "deleted or replaced"),
        (MappedFile("/tmp/x.so", sha256("object")), "no file of the image"),
        (MappedFile("/tmp/libcuda.so.1", sha256("object")), "no file of the image"),
    ],
)
def test_code_that_is_not_the_images_is_named(file: MappedFile, why: str) -> None:
    (finding,) = mapped(file)
    assert finding.startswith(f"pid 12 runs {file.path}, which ")
    assert why in finding


def test_what_was_installed_or_removed_since_the_start_is_named() -> None:
    here = ("numpy-2.0.dist-info", "~umpy-1.0.dist-info", "late.pth", "odd.egg-link")
    found = observed(process("python", "serve.py"), folders={VENV_SITE: here}).findings
    assert found == (
        f"late.pth was installed into {VENV_SITE} since the start",
        f"numpy 2.0 was installed into {VENV_SITE} since the start",
        f"odd.egg-link was installed into {VENV_SITE} since the start",
        f"scikit_learn 1.4.2 was removed from {VENV_SITE} since the start",
    )


def test_findings_are_bounded() -> None:
    found = observed(process("python", "serve.py"), folders={"/x": tuple(f"p{n}-1.dist-info" for n in range(30))}).findings
    assert (len(found), found[-1]) == (21, "and 10 more")


def test_an_observation_survives_being_written_and_read() -> None:
    found = observed(process("python", "serve.py"), process("gone", pid=13), folders={"/x": ("p-1.dist-info",)})
    assert Observation.parse(found.payload()) == found
    with pytest.raises(ValueError, match="no environment"):
        Observation.parse({"environments": [], "findings": []})


def test_a_file_of_another_environment_is_named() -> None:
    other = f"{OTHER_SITE}/scikit_learn/core.so"
    one = replace(process("python", "serve.py"), files=(0,))
    found = observed(one, files=(MappedFile(other, sha256("object")),), more={other: "object"})
    assert found.findings == (f"pid 12 runs {other}, which is not in the environment of /opt/venv/bin/python",)


def test_an_interpreter_that_was_called_otherwise_is_not_what_the_image_says() -> None:
    launch = replace(LAUNCH, argv=("python", "/app/serve.py"))
    gone = observed(process("/opt/other/bin/python", "/tmp/gone.py"), launch=launch)
    assert "changed its working directory" in fault(gone)
    assert packages(observed(process("/opt/venv/bin/python", "gone.py"), launch=launch)) == [["1.4.2"]]


def test_equal_environments_at_different_places_are_two() -> None:
    site = "/opt/twin/lib/python3.11/site-packages"
    twin = distribution(site, "scikit_learn", "1.4.2") | {f"{site}/scikit_learn/core.so": "object"}
    argv = ("/opt/twin/bin/python", "serve.py")
    found = observed(process("/opt/venv/bin/python", "serve.py"), process(*argv, pid=13), more=venv("/opt/twin") | twin)
    assert packages(found) == [["1.4.2"], ["1.4.2"]]


def test_workers_that_were_started_alike_are_described_once() -> None:
    described: list[Serving] = []

    def describe(serves: Serving) -> EnvironmentDocument:
        described.append(serves)
        return build.document()

    server = process("/opt/venv/bin/python3", "/opt/venv/bin/uvicorn", "main:app", pid=1, parent=0)
    forked = [replace(server, pid=pid, parent=1) for pid in (5, 6)]
    spawned = [process("/opt/venv/bin/python3", *FORKED, pid=pid, parent=1) for pid in (7, 8)]
    found = find_environments(tree(ROOT), LAUNCH, Report((server, *forked, *spawned)), describe)
    assert [one.pids for one in found] == [(1, 5, 6, 7, 8)]
    assert len(described) == 2
