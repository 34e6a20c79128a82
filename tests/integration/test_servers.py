"""What the scan says of server programs, against the real ones: the path of the process that imports the application."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.servers.server import Server
from lockstep.environment.catalogue.servers.table import SERVERS
from tests.integration.servers import ASKING, Stage

ENTRIES = {server.name: next(iter(sorted(server.entries))) for server in SERVERS if server.entries}
FILES = {
    "app/main.py": ASKING,
    "app/src/main.py": ASKING,
    "app/src/numpy.py": "",
    "app/numpy.py": "",
    "app/pkg/__init__.py": "",
    "app/pkg/web.py": ASKING,
    "other/main.py": ASKING,
    "other/numpy/__init__.py": "",
    "more/numpy.py": "",
    "more/only.py": "",
}
NAMES = ["numpy", "only", "click", "json", "main"]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    found = Stage(tmp_path)
    found.write(FILES)
    for name, entry in ENTRIES.items():
        found.script({"waitress": "waitress-serve"}.get(name, name), entry)
    return found


CASES: dict[str, tuple[list[str], str, dict[str, str]]] = {
    "uvicorn": (["uvicorn", "main:app"], "app", {}),
    "uvicorn with --app-dir": (["uvicorn", "--app-dir", "src", "main:app"], "app", {}),
    "uvicorn with UVICORN_APP_DIR": (["uvicorn", "main:app"], "app", {"UVICORN_APP_DIR": "../other"}),
    "uvicorn with both": (["uvicorn", "--app-dir=src", "main:app"], "app", {"UVICORN_APP_DIR": "../other"}),
    "uvicorn as a module": (["@", "-m", "uvicorn", "--app-dir", "src", "main:app"], "app", {}),
    "uvicorn with PYTHONPATH": (["uvicorn", "main:app"], "app", {"PYTHONPATH": "../more:../other"}),
    "uvicorn with a safe path": (["uvicorn", "main:app"], "app", {"PYTHONSAFEPATH": "1"}),
    "gunicorn": (["gunicorn", "-b", "127.0.0.1:0", "main:app"], "app", {}),
    "gunicorn with --chdir": (["gunicorn", "-b", "127.0.0.1:0", "--chdir", "src", "main:app"], "app", {}),
    "gunicorn with a cut option": (["gunicorn", "-b", "127.0.0.1:0", "--pythonp=../more,../other", "main:app"], "app", {}),
    "gunicorn with GUNICORN_CMD_ARGS": (
        ["gunicorn", "-b", "127.0.0.1:0", "main:app"],
        "app",
        {"GUNICORN_CMD_ARGS": "--chdir src --pythonpath '../more'"},
    ),
    "gunicorn with its own first": (
        ["gunicorn", "-b", "127.0.0.1:0", "--chdir", "../other", "main:app"],
        "app",
        {"GUNICORN_CMD_ARGS": "--chdir src", "PYTHONPATH": "../more"},
    ),
    "gunicorn as a module": (["@", "-m", "gunicorn", "-b", "127.0.0.1:0", "main:app"], "app", {}),
    "hypercorn": (["hypercorn", "-b", "127.0.0.1:0", "main:app"], "app", {}),
    "hypercorn with a path": (["hypercorn", "-b", "127.0.0.1:0", "asgi:src/main:app"], "app", {}),
    "granian": (["granian", "--port", "0", "--interface", "asgi", "main:app"], "app", {}),
    "granian with --working-dir": (["granian", "--port", "0", "--working-dir", "src", "main:app"], "app", {}),
    "flask": (["flask", "--app", "main", "run", "--port", "0"], "app", {}),
    "flask with FLASK_APP": (["flask", "run", "--port", "0"], "app", {"FLASK_APP": "src/main.py"}),
    "flask with a package": (["flask", "-A", "pkg/web.py", "run", "--port", "0"], "app", {}),
    "fastapi": (["fastapi", "run", "--port", "0"], "app", {}),
    "fastapi with a file": (["fastapi", "run", "src/main.py", "--port", "0"], "app", {}),
    "fastapi with a package": (["fastapi", "run", "pkg/web.py", "--port", "0"], "app", {}),
    "celery": (["celery", "-A", "main", "worker"], "app", {}),
    "celery with --workdir": (["celery", "--workdir", "src", "-A", "main", "worker"], "app", {}),
    "waitress": (["waitress-serve", "--port=0", "main:app"], "app", {"PYTHONPATH": "../more"}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_path_of_the_scan_is_the_path_of_the_real_program(stage: Stage, case: str) -> None:
    argv, cwd, env = CASES[case]
    argv = [sys.executable if word == "@" else word for word in argv]
    argv = argv if argv[0].startswith("/") else [str(stage.root / "bin" / argv[0]), *argv[1:]]
    said, found = stage.run(argv, cwd, env, NAMES), stage.scan(argv, cwd, env, NAMES)
    assert found == said


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("chdir = 'src'\n", "app/src/numpy.py"),
        ("pythonpath = '../more'\nworkers = 1 + 0\n", "more/numpy.py"),
        ("import os\nbind = os.environ.get('BIND', '127.0.0.1:0')\n", "app/numpy.py"),
    ],
)
def test_the_settings_file_in_the_working_directory_is_read_as_gunicorn_reads_it(stage: Stage, text: str, where: str) -> None:
    stage.write({"app/gunicorn.conf.py": text})
    argv = [str(stage.root / "bin/gunicorn"), "-b", "127.0.0.1:0", "main:app"]
    said, found = stage.run(argv, "app", {}, NAMES), stage.scan(argv, "app", {}, NAMES)
    assert found == said
    assert said["found"]["numpy"] == str((stage.root / where).resolve())
    assert stage.serving(argv, "app", {}).code == (str(stage.root / "app/gunicorn.conf.py"),)


@pytest.mark.parametrize("code", [False, True])
def test_what_mlflow_starts_is_followed_to_the_process_that_loads_the_model(stage: Stage, code: bool) -> None:
    flavor = "loader_module: answering\n    python_version: 3.11.7\n" + ("    code: code\n" if code else "")
    stage.write({"model/MLmodel": f"flavors:\n  python_function:\n    {flavor}"})
    # Not in app, whose numpy.py would run instead of the one that MLflow needs.
    stage.write({("model/code" if code else "quiet") + "/answering.py": ASKING, "quiet/only.py": ""})
    argv = [str(stage.root / "bin/mlflow"), "models", "serve", "-m", str(stage.root / "model"), "-p", "0"]
    argv += ["--env-manager", "local"]
    said, found = stage.run(argv, "quiet", {}, NAMES), stage.scan(argv, "quiet", {}, NAMES)
    assert said["path"] == [*([str(stage.root / "model/code")] if code else []), *found["path"]]
    assert found["found"] == said["found"]
    serves = stage.serving(argv, "quiet", {})
    assert (serves.server, serves.model) == ("mlflow", str(stage.root / "model"))
    assert serves.start.program == str(stage.root / "bin/uvicorn")


@pytest.mark.parametrize("options", [[], ["--env-manager", "virtualenv"], ["--env-manager=conda"], ["--env-manager", "uv"]])
def test_an_environment_that_mlflow_makes_at_the_start_is_refused(stage: Stage, options: list[str]) -> None:
    argv = [str(stage.root / "bin/mlflow"), "models", "serve", "-m", "/model", *options]
    with pytest.raises(CatalogueError, match="--env-manager local"):
        stage.serving(argv, "app", {})


FOLDERS = ("a", "b", "c")
MODULES = ("one", "two", "three")


@st.composite
def layouts(draw: st.DrawFn) -> tuple[dict[str, str], list[str], str, dict[str, str]]:
    """Directories with modules of the same names, and a start of uvicorn or gunicorn among them."""
    files = {f"{folder}/web.py": ASKING for folder in FOLDERS}
    for folder in (*FOLDERS, "bin"):
        for name in draw(st.sets(st.sampled_from(MODULES))):
            files[f"{folder}/{draw(st.sampled_from((f'{name}.py', f'{name}/__init__.py')))}"] = ""
    cwd = draw(st.sampled_from(FOLDERS))
    other = st.sampled_from([f"../{folder}" for folder in FOLDERS])
    env = {}
    if draw(st.booleans()):
        env["PYTHONPATH"] = ":".join(draw(st.lists(other, min_size=1, max_size=2)))
    if draw(st.booleans()):
        argv = ["uvicorn", *(["--app-dir", draw(other)] if draw(st.booleans()) else [])]
        if draw(st.booleans()):
            env["UVICORN_APP_DIR"] = draw(other)
    else:
        argv = ["gunicorn", "-b", "127.0.0.1:0", *(["--chdir", draw(other)] if draw(st.booleans()) else [])]
        if draw(st.booleans()):
            argv += ["--pythonpath", ",".join(draw(st.lists(other, min_size=1, max_size=2)))]
        if draw(st.booleans()):
            env["GUNICORN_CMD_ARGS"] = f"--chdir {draw(other)}"
    return files, [*argv, "web:app"], cwd, env


@settings(max_examples=30, derandomize=True)
@given(layout=layouts())
def test_the_scans_first_match_is_what_the_real_interpreter_imports(
    tmp_path_factory: pytest.TempPathFactory, layout: tuple[dict[str, str], list[str], str, dict[str, str]]
) -> None:
    files, argv, cwd, env = layout
    stage = Stage(tmp_path_factory.mktemp("layout"))
    stage.write(files)
    argv = [stage.script(argv[0], ENTRIES[argv[0]]), *argv[1:]]
    names = [*MODULES, "click", "json"]
    assert stage.scan(argv, cwd, env, names)["found"] == stage.run(argv, cwd, env, names)["found"]


@pytest.mark.parametrize("server", [one for one in SERVERS if not one.launcher], ids=lambda server: server.name)
def test_every_row_has_a_real_program_to_be_held_against(server: Server) -> None:
    tried = {case.split()[0] for case in CASES} | {"mlflow"}
    # MLServer asks for versions that MLflow does not take, so that it has an image of its own: see the oracle tests. BentoML
    # was tried by hand (1.4.40): it brings sixty packages more.
    assert server.name in tried | {"mlserver", "bentoml"}
