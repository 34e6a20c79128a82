"""Which process of an image serves, where it imports from, and which model it says it serves."""

import json
from typing import Any

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.describe import describe
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.interpreter import MOVES_LIBRARY
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.catalogue.launch.shell import CHANGE_SHELLS
from lockstep.environment.catalogue.servers import launchers
from lockstep.environment.catalogue.servers.table import SERVERS
from lockstep.environment.document import EnvironmentDocument, Start
from lockstep.environment.variables.variables import find_known_variable, is_forbidden
from tests.fakes.roots import VENV_SITE, Files, To, debian, distribution, record_row, tree, venv
from tests.unit.environment.catalogue.launch.test_entryscript import PIP

BIN = "/opt/venv/bin"
BASH: Files = {"/usr/bin/bash": b"\x7fELF bash"}
ENTRIES = {server.name: sorted(server.entries)[0] for server in SERVERS if server.entries}
COMMANDS = {"waitress": "waitress-serve"}
PATH = {"PATH": f"{BIN}:/usr/bin:/bin"}


def script(entry: str, python: str = f"{BIN}/python3") -> str:
    module, _, name = entry.partition(":")
    text = PIP.replace("/opt/venv/bin/python3", python).replace(
        "uvicorn.main import main", f"{module} import {name.split('.')[0]}"
    )
    return text.replace("exit(main())", f"exit({name}())")


def server(name: str, site: str = VENV_SITE, folder: str = BIN, python: str = f"{BIN}/python3") -> Files:
    """Return an installed server with its command, as pip leaves them."""
    command, body = COMMANDS.get(name, name), script(ENTRIES[name], python)
    declared = f"[console_scripts]\n{command} = {ENTRIES[name]}\n"
    rows = record_row(f"{name}/__init__.py", "VERSION = '1.0'\n") + record_row(f"../../../bin/{command}", body)
    found = distribution(site, name, "1.0", entry_points__txt=declared, RECORD=rows)
    return found | {f"{folder}/{command}": body}


MLFLOW = server("mlflow") | server("uvicorn") | BASH | {f"{VENV_SITE}/mlflow/pyfunc/scoring_server/app.py": ""}


def described(*argv: str, files: Files, env: dict[str, str] | None = None, cwd: str = "/app") -> EnvironmentDocument:
    root = tree(debian(), venv(), {"/app/main.py": "app"}, files)
    return describe(root, Launch(argv, PATH | (env or {}), cwd), machine="x86_64", collector="test")


def start(*argv: str, files: Files, **more: Any) -> Start:
    found = described(*argv, files=files, **more).start
    assert found is not None
    return found


def before(*argv: str, files: Files, **more: Any) -> list[str]:
    """Return what comes on the path before the commands' directory."""
    path = start(*argv, files=files, **more).path
    return list(path[: path.index(BIN)])


def refused(*argv: str, files: Files, **more: Any) -> str:
    with pytest.raises(CatalogueError) as caught:
        described(*argv, files=files, **more)
    assert caught.value.reason is Reason.INTERPRETER_AMBIGUOUS
    return caught.value.message


@pytest.mark.parametrize(
    ("argv", "env", "first"),
    [
        ("uvicorn main:app", {}, ["/app"]),
        ("uvicorn --app-dir /opt/e main:app", {}, ["/opt/e"]),
        ("uvicorn main:app", {"UVICORN_APP_DIR": "/opt/e"}, ["/opt/e"]),
        ("uvicorn main:app", {"UVICORN_APP_DIR": ""}, ["/app"]),
        ("uvicorn --app-dir=src main:app --workers 2", {}, ["/app/src", "/app"]),
        ("uvicorn --app-dir=src main:app", {"WEB_CONCURRENCY": "4"}, ["/app/src", "/app"]),
        ("gunicorn main:app", {}, ["/app"]),
        ("gunicorn --pythonpath /srv/pkgs,/b main:app", {}, ["/b", "/srv/pkgs", "/app"]),
        ("gunicorn main:app", {"GUNICORN_CMD_ARGS": "--chdir /opt/e"}, ["/opt/e", "/app"]),
        ("hypercorn /opt/e/main:app", {}, ["/opt/e"]),
        ("granian --interface asgi --working-dir /opt/e main:app", {}, ["/app", "/opt/e"]),
        ("granian main:app", {"GRANIAN_WORKING_DIR": "/opt/e"}, ["/app", "/opt/e"]),
        ("flask --app /opt/e/main.py run", {}, ["/opt/e"]),
        ("flask run", {"FLASK_APP": "/opt/e/pkg/web.py"}, ["/opt/e"]),
        ("flask run", {}, ["/app"]),
        ("fastapi run", {}, ["/app"]),
        ("fastapi run /opt/e/pkg/web.py", {}, ["/opt/e"]),
        ("celery -A main worker", {}, ["/app"]),
        ("celery --workdir /opt/e -A main worker", {}, ["/opt/e"]),
        ("waitress-serve main:app", {}, []),
        ("mlserver start /models", {}, ["/models", "/app"]),
        ("bentoml serve main:svc --working-dir /opt/e", {}, ["/opt/e"]),
    ],
)
def test_what_a_server_puts_before_the_installed_packages_is_told(argv: str, env: dict[str, str], first: list[str]) -> None:
    files: Files = {"/opt/e/pkg/__init__.py": "", "/opt/e/pkg/web.py": "", "/opt/e/main.py": "", "/models": None}
    name = next(one for one in ENTRIES if COMMANDS.get(one, one) == argv.split()[0])
    assert before(*argv.split(), files=server(name) | files, env=env) == first
    assert start(*argv.split(), files=server(name) | files, env=env).server == name


def test_a_server_is_known_by_what_its_command_calls_and_not_by_its_name() -> None:
    files: Files = {f"{BIN}/serve": script("uvicorn.main:main"), "/usr/bin/uvicorn": "#!/usr/bin/python3\nimport main\n"}
    assert start("serve", "main:app", files=files).server == "uvicorn"
    # Debian's interpreter has no distribution that declares the command.
    assert start("/usr/bin/uvicorn", "main:app", files=files).server is None
    assert start(f"{BIN}/python", "-m", "uvicorn", "main:app", files=files).server == "uvicorn"


def test_the_module_beside_the_application_is_found_as_code_and_as_what_hides_a_package() -> None:
    files = server("uvicorn") | distribution(VENV_SITE, "numpy", "1.26.4")
    files |= {"/app/numpy/__init__.py": "evil", "/app/features.py": "own"}
    found = described("uvicorn", "main:app", files=files)
    assert {"features.py", "main.py", "numpy/__init__.py"} <= set(found.code)
    assert (found.shadows or {})["numpy"].file == "/app/numpy/__init__.py"
    same = described(f"{BIN}/python", "-m", "uvicorn", "main:app", files=files)
    assert (same.code, same.shadows) == (found.code, found.shadows)


def test_a_distribution_that_claims_the_modules_of_another_hides_them_all_the_same() -> None:
    evil = distribution(
        "/opt/e", "evil", "1.0", RECORD=record_row("joblib/__init__.py", "evil") + record_row("json.py", "evil")
    )
    evil |= {"/opt/e/joblib/__init__.py": "evil", "/opt/e/json.py": "evil", "/usr/lib/python3.11/json/__init__.py": ""}
    files = server("uvicorn") | distribution(VENV_SITE, "joblib", "1.6.0") | evil
    found = described("uvicorn", "main:app", files=files, env={"UVICORN_APP_DIR": "/opt/e"}).shadows or {}
    assert {name: (shadow.file, shadow.package) for name, shadow in found.items()} == {
        "joblib": ("/opt/e/joblib/__init__.py", "joblib"),
        "json": ("/opt/e/json.py", None),
    }


def test_an_extension_that_another_distribution_puts_beside_a_packages_source_runs_instead_of_it() -> None:
    site = VENV_SITE
    evil = distribution(site, "evil", "1.0", RECORD=record_row("joblib/memory.so", "evil")) | {
        f"{site}/joblib/memory.so": "evil"
    }
    rows = record_row("joblib/memory.py", "") + record_row("joblib/__init__.py", "VERSION = '1.6.0'\n")
    files = distribution(site, "joblib", "1.6.0", RECORD=rows) | {f"{site}/joblib/memory.py": ""} | evil
    found = described(f"{BIN}/python", "/app/main.py", files=files).shadows or {}
    assert {name: shadow.package for name, shadow in found.items()} == {"joblib.memory": "joblib"}


def test_one_distribution_in_two_places_hides_nothing_but_itself() -> None:
    files = distribution(VENV_SITE, "numpy", "2.0") | distribution("/deps", "numpy", "1.0") | server("uvicorn")
    assert described("uvicorn", "main:app", files=files, env={"PYTHONPATH": "/deps"}).shadows is None


def test_the_path_of_a_document_holds_what_is_not_there_and_where_links_would_lead() -> None:
    files = server("uvicorn") | {"/srv/link": To("/tmp/later"), f"{VENV_SITE}/x.pth": "/tmp/more\n"}
    path = start("uvicorn", "main:app", files=files, env={"PYTHONPATH": "/srv/link/lib:/gone"}, cwd="/srv").path
    assert path[:4] == ("/srv", BIN, "/tmp/later/lib", "/gone")
    assert "/usr/lib/python311.zip" in path
    assert path[-2:] == (VENV_SITE, "/tmp/more")
    user = start("/usr/bin/python3", "/app/main.py", files={}).path
    assert "/root/.local/lib/python3.11/site-packages" in user


def test_gunicorns_settings_file_is_read_and_stands_among_the_code() -> None:
    text = "import multiprocessing\nworkers = multiprocessing.cpu_count()\nchdir = '/opt/e'\n"
    files = server("gunicorn") | {"/app/gunicorn.conf.py": text, "/opt/e/main.py": ""}
    assert before("gunicorn", "main:app", files=files) == ["/opt/e", "/app"]
    assert before("gunicorn", "--chdir", "/app", "main:app", files=files) == ["/app"]
    assert "app/gunicorn.conf.py" in described("gunicorn", "main:app", files=files).code
    other = server("gunicorn") | {"/etc/gunicorn/prod.py": "pythonpath = '/a'\n"}
    assert before("gunicorn", "-c", "/etc/gunicorn/prod.py", "main:app", files=other) == ["/a", "/app"]


@pytest.mark.parametrize(
    "text", ["chdir = x()\n", "from base import *\n", "pythonpath = '/a'\npythonpath = '/b'\n", "def chdir(): ..."]
)
def test_settings_that_only_running_the_file_tells_are_refused(text: str) -> None:
    files = server("gunicorn") | {"/app/gunicorn.conf.py": text}
    assert "plain strings" in refused("gunicorn", "main:app", files=files)


def test_settings_in_a_module_and_variables_of_a_file_are_refused() -> None:
    assert "name the file" in refused("gunicorn", "-c", "python:conf", "main:app", files=server("gunicorn"))
    assert "set them by ENV" in refused("uvicorn", "--env-file", ".env", "main:app", files=server("uvicorn"))
    assert "set them by ENV" in refused("mlflow", "--env-file", "x", "models", "serve", "-m", "/m", files=MLFLOW)
    assert "FLASK_APP" in refused("flask", "run", files=server("flask") | {"/app/.flaskenv": "FLASK_APP=/opt/e/x.py"})
    assert "set them by ENV" in refused("mlserver", "start", "/m", files=server("mlserver") | {"/app/.env": ""})


@pytest.mark.parametrize("options", [(), ("--env-manager", "virtualenv"), ("--env-manager=conda",), ("--env-manager", "uv")])
def test_mlflow_that_makes_an_environment_when_it_starts_is_refused_with_what_to_write(options: tuple[str, ...]) -> None:
    message = refused(f"{BIN}/mlflow", "models", "serve", "-m", "/model", *options, files=MLFLOW)
    assert "add --env-manager local" in message
    assert "not in the image" in message


@pytest.mark.parametrize("option", [("--env-manager", "local"), ("--env-manager=local",), ("--no-conda",)])
def test_what_mlflow_starts_serves(option: tuple[str, ...]) -> None:
    files = MLFLOW | distribution(VENV_SITE, "joblib", "1.0") | {"/app/joblib.py": "evil"}
    found = described("mlflow", "models", "serve", "-m", "/model", *option, files=files)
    assert found.start is not None
    assert (found.start.program, found.start.server, found.start.model) == (f"{BIN}/mlflow", "mlflow", "/model")
    assert found.start.path[:2] == ("/app", BIN)
    assert list(found.shadows or {}) == ["joblib"]
    dashed = start("mlflow", "models", "serve", "-m", "/model", *option, files=MLFLOW, env={"UVICORN_APP_DIR": "/opt/e"})
    assert dashed.path[0] == "/opt/e"


def test_an_older_mlflow_starts_gunicorn() -> None:
    files = server("mlflow") | server("gunicorn") | BASH | {f"{VENV_SITE}/mlflow/pyfunc/scoring_server/wsgi.py": ""}
    argv = ("mlflow", "models", "serve", "-m", "/model", "--env-manager", "local")
    assert start(*argv, files=files, env={"GUNICORN_CMD_ARGS": "--pythonpath /opt/e"}).path[0] == "/opt/e"


def test_the_web_server_that_mlflow_finds_has_to_be_of_its_own_environment() -> None:
    argv = ("/opt/venv/bin/mlflow", "models", "serve", "-m", "/model", "--env-manager", "local")
    other = server("uvicorn", "/usr/lib/python3/dist-packages", "/usr/bin", "/usr/bin/python3")
    files = {path: body for path, body in (MLFLOW | other).items() if path != f"{BIN}/uvicorn"}
    assert f"put {BIN} first on the image's PATH" in refused(*argv, files=files, env={"PATH": "/usr/bin"})


@pytest.mark.parametrize("name", ["SHELLOPTS", "PS4", "BASH_ENV", "BASH_FUNC_uvicorn%%"])
def test_variables_of_the_shell_between_mlflow_and_its_server_are_refused(name: str) -> None:
    argv = ("mlflow", "models", "serve", "-m", "/model", "--env-manager", "local")
    assert name in refused(*argv, files=MLFLOW, env={name: "x"})
    assert "no shell" in refused(*argv, files=MLFLOW | {f"{BIN}/bash": "#!/bin/sh\nexec evil\n"})


@pytest.mark.parametrize(
    ("uri", "model"),
    [
        ("/opt/model", "/opt/model"),
        ("model", "/app/model"),
        ("file:///opt/my%20model", "/opt/my model"),
        ("models:/iris/3", "models:/iris/3"),
        ("runs:/abc/model", "runs:/abc/model"),
        ("s3://bucket/model", "s3://bucket/model"),
    ],
)
def test_the_model_is_the_one_that_the_command_line_names(uri: str, model: str) -> None:
    argv = ("mlflow", "models", "serve", "--no-conda", "--model-uri")
    assert start(*argv, uri, files=MLFLOW).model == model


def test_a_served_models_own_code_comes_first() -> None:
    files = MLFLOW | {"/model/code/fraud.py": "", "/model/MLmodel": ""}
    assert start("mlflow", "models", "serve", "--no-conda", "-m", "/model", files=files).path[0] == "/model/code"


def mlserver(settings: dict[str, Any] | None, *, env: dict[str, str] | None = None, **more: Any) -> Start:
    files = server("mlserver") | {"/models/m/model.joblib": "", "/opt/model": None, "/app": None}
    if settings is not None:
        files["/models/m/model-settings.json"] = json.dumps(settings)
    return start("mlserver", "start", "/models", files=files | more.get("files", {}), env=env)


def test_the_model_of_mlserver_is_the_one_that_its_settings_name() -> None:
    assert mlserver({"name": "m"}).model == "/models/m"
    assert mlserver({"parameters": {"uri": "./model.joblib"}}).model == "/models/m"
    assert mlserver({"parameters": {"uri": "/opt/model"}}).model == "/opt/model"
    assert mlserver({}, env={"MLSERVER_MODEL_URI": "/opt/model"}).model == "/opt/model"
    assert mlserver(None, env={"MLSERVER_MODEL_URI": "/opt/model"}).model == "/opt/model"
    assert mlserver(None).model is None
    assert mlserver({}).path[:3] == ("/models/m", "/models", "/app")


def test_several_models_behind_one_mlserver_are_none_that_is_told() -> None:
    assert mlserver({}, files={"/models/n/model-settings.json": "{}"}).model is None


def test_an_environment_that_mlserver_unpacks_is_refused() -> None:
    files = server("mlserver") | {"/models/m/model-settings.json": '{"parameters": {"environment_tarball": "./env.tar.gz"}}'}
    assert "environment_tarball" in refused("mlserver", "start", "/models", files=files)


@pytest.mark.parametrize(
    "argv",
    [
        (f"{BIN}/python", "-c", "import uvicorn; uvicorn.run('x')"),
        (f"{BIN}/python", "-uc", "pass"),
        (f"{BIN}/python", "-"),
        ("sh", "-c", "exec python -c 'import x'"),
        ("env", "A=b", "python", "-c", "pass"),
    ],
)
def test_code_on_the_command_line_or_from_standard_input_is_refused(argv: tuple[str, ...]) -> None:
    assert "put the code into a file in the image" in refused(*argv, files={})


LAUNCHERS = {
    "opentelemetry-instrument": ("opentelemetry/instrumentation/auto_instrumentation", ("--traces_exporter", "console")),
    "ddtrace-run": ("ddtrace/bootstrap", ("--debug",)),
    "newrelic-admin": ("newrelic/bootstrap", ("run-program",)),
}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_program_that_only_starts_another_is_followed_to_it(name: str) -> None:
    folder, options = LAUNCHERS[name]
    hook = f"{VENV_SITE}/{folder}/sitecustomize.py"
    files = server("uvicorn") | {f"{BIN}/{name}": script(ENTRIES[name]), hook: "hook", "/more": None}
    found = described(name, *options, "uvicorn", "--app-dir", "/opt/e", "main:app", files=files, env={"PYTHONPATH": "/more"})
    assert found.start is not None
    assert (found.start.program, found.start.server) == (f"{BIN}/{name}", "uvicorn")
    own = ["/app"] if name.startswith("opentelemetry") else []
    assert list(found.start.path[:4]) == ["/opt/e", BIN, f"{VENV_SITE}/{folder}", *own, "/more"][:4]
    assert list(found.startup or {}) == ["sitecustomize.py"]


UNKNOWN = [server for server in SERVERS if server.effect is launchers.unknown]


@pytest.mark.parametrize("entry", sorted(entry for server in UNKNOWN for entry in server.entries))
def test_a_program_that_starts_what_its_settings_say_is_refused(entry: str) -> None:
    # By another name than its own, which pdm, poetry and others are refused for already.
    files: Files = {f"{BIN}/renamed": script(entry)}
    assert "let the image start the server itself" in refused("renamed", "-c", "/etc/x.conf", files=files)


@pytest.mark.parametrize("module", sorted(module for server in UNKNOWN for module in server.modules))
def test_as_a_module_it_is_refused_as_well(module: str) -> None:
    assert "let the image start the server itself" in refused("python", "-m", module, "run", "serve.py", files={})


STOCK = "from mlflow.models import container as C; C._serve('local')"


def test_the_image_that_mlflow_builds_itself_is_followed() -> None:
    files = MLFLOW | {"/opt/ml/model/MLmodel": ""}
    found = start("python", "-c", STOCK, files=files, env={"MLFLOW_DISABLE_ENV_CREATION": "true"}, cwd="/opt/mlflow")
    assert (found.server, found.model, found.path[0]) == ("mlflow", "/opt/ml/model", "/opt/mlflow")


def test_an_image_of_mlflows_that_makes_an_environment_is_refused() -> None:
    assert "MLFLOW_DISABLE_ENV_CREATION=true" in refused("python", "-c", STOCK, files=MLFLOW)
    other = STOCK.replace("local", "virtualenv")
    assert "--env-manager local" in refused("python", "-c", other, files=MLFLOW, env={"MLFLOW_DISABLE_ENV_CREATION": "true"})
    assert "put the code into a file" in refused("python", "-c", f"import evil; {STOCK}", files=MLFLOW)


def test_the_model_of_mlflows_scoring_application_is_the_one_that_its_variable_names() -> None:
    argv = ("uvicorn", "mlflow.pyfunc.scoring_server.app:app")
    assert start(*argv, files=server("uvicorn"), env={"__pyfunc_model_path__": "file:///opt/model"}).model == "/opt/model"
    assert start("uvicorn", "main:app", files=server("uvicorn"), env={"__pyfunc_model_path__": "/opt/model"}).model is None


@pytest.mark.parametrize("path", ["/proc/self/root/opt/e", "/proc/self/cwd", "/link/e", "/dev/fd/3"])
def test_a_path_that_leads_into_the_kernels_directories_is_refused(path: str) -> None:
    files = server("uvicorn") | {"/link": To("/proc/self/root/opt")}
    assert "name the directory itself" in refused("uvicorn", "main:app", files=files, env={"PYTHONPATH": path})
    assert "name the directory itself" in refused("uvicorn", "--app-dir", path, "main:app", files=files)
    assert "name the directory itself" in refused("uvicorn", "main:app", files=files, env={"PATH": f"{path}:{BIN}"})


def test_byte_code_is_looked_for_where_an_option_says() -> None:
    unchecked = b"\xa7\x0d\x0d\x0a" + (1).to_bytes(4, "little") + bytes(8)
    files: Files = {"/app/own.py": "x", "/cache/app/own.cpython-311.pyc": unchecked}
    found = described(f"{BIN}/python", "-I", "-X", "pycache_prefix=/cache", "/app/main.py", files=files | {"/app/main.py": ""})
    assert found.bytecode is None
    found = described(f"{BIN}/python", "-X", "pycache_prefix=/cache", "/app/main.py", files=files | {"/app/main.py": ""})
    assert list(found.bytecode or {}) == ["/cache/app/own.cpython-311.pyc"]


_NUMBERS = {"UVICORN_WORKERS", "WEB_CONCURRENCY"}
"""Of processes: they let a server import from its working directory, and are judged by their value."""


def test_a_variable_that_the_scan_follows_in_an_image_is_nothing_that_pods_may_set_unasked() -> None:
    names = frozenset().union(*(one.variables for one in SERVERS)) | CHANGE_SHELLS | {*MOVES_LIBRARY, "PYTHONUSERBASE"}
    assert {"UVICORN_APP_DIR", "GUNICORN_CMD_ARGS", "BASH_ENV", "PYTHONHOME"} <= names
    assert [name for name in names - _NUMBERS if not is_forbidden(name) and find_known_variable(name) is None] == []
