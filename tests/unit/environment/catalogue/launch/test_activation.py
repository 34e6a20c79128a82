"""Which environment of conda a command line leads to."""

import json

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.follow import follow_launch
from lockstep.environment.catalogue.launch.launch import Launch, Started, UnclearScriptError
from tests.fakes.roots import Files, debian, elf, tree

ENV = {"PATH": "/opt/conda/bin:/usr/bin"}


def prefix(path: str) -> Files:
    return {
        f"{path}/bin/python": elf(),
        f"{path}/bin/serve": f"#!{path}/bin/python\n",
        f"{path}/lib/python3.11/os.py": "",
        f"{path}/conda-meta/history": "",
    }


def conda() -> Files:
    return {
        **prefix("/opt/conda"),
        **prefix("/opt/conda/envs/model"),
        "/opt/conda/bin/conda": "#!/opt/conda/bin/python\nimport conda\n",
        "/opt/conda/etc/profile.d/conda.sh": "export CONDA_EXE='/opt/conda/bin/conda'\nconda() {\n}\n",
        "/opt/conda/etc/conda/activate.d/libxml2_activate.sh": "export XML_CATALOG_FILES=x\n",
    }


def start(*argv: str, env: dict[str, str] | None = None, files: Files | None = None) -> Started:
    return follow_launch(tree(debian(), conda(), files or {}), Launch(argv, ENV | (env or {}), "/app"))


def refused(*argv: str, env: dict[str, str] | None = None, files: Files | None = None) -> CatalogueError:
    with pytest.raises(CatalogueError) as caught:
        start(*argv, env=env, files=files)
    assert caught.value.reason is Reason.INTERPRETER_AMBIGUOUS
    return caught.value


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        ("-n model", "/opt/conda/envs/model"),
        ("--name=model --no-capture-output", "/opt/conda/envs/model"),
        ("--live-stream --name model", "/opt/conda/envs/model"),
        ("-p /opt/conda/envs/model", "/opt/conda/envs/model"),
        ("-n base", "/opt/conda"),
        ("", "/opt/conda"),
    ],
)
@pytest.mark.parametrize("program", ["python", "serve"])
def test_conda_run_starts_in_the_environment_it_names(command: str, environment: str, program: str) -> None:
    found = start("conda", "run", *command.split(), program)
    assert found.executable == f"{environment}/bin/python"
    assert found.launch.path.startswith(f"{environment}/bin:")


def test_conda_run_may_change_the_directory() -> None:
    assert start("conda", "run", "--cwd", "/srv", "python", "x.py").script == "/srv/x.py"


def test_condas_own_interpreter_is_not_the_one_that_serves() -> None:
    absent = {"/opt/conda/envs/model/bin/python": None, "/opt/conda/bin/other": "#!/usr/bin/python3\n"}
    assert start("conda", "run", "-n", "model", "other", files=dict(absent)).executable == "/usr/bin/python3"


def test_micromamba_has_its_root_from_a_variable() -> None:
    files: Files = {"/usr/bin/micromamba": b"\x7fELF"}
    found = start("micromamba", "run", "-n", "model", "python", env={"MAMBA_ROOT_PREFIX": "/opt/conda"}, files=files)
    assert found.executable == "/opt/conda/envs/model/bin/python"
    refused("micromamba", "run", "-n", "model", "python", files=files)


def test_variables_that_an_environment_sets_are_set() -> None:
    state = json.dumps({"env_vars": {"PYTHONPATH": "/extra"}})
    found = start("conda", "run", "-n", "model", "python", files={"/opt/conda/envs/model/conda-meta/state": state})
    assert found.launch.env["PYTHONPATH"] == "/extra"


@pytest.mark.parametrize(
    "command",
    [
        "run -n absent python",
        "run --dev python",
        "run -n model -p /opt/conda python",
        "run -p envs/model python",
        "run -n ../x python",
        "run -p /app python",
        "list",
    ],
)
def test_other_commands_of_conda_are_refused(command: str) -> None:
    refused("conda", *command.split())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/opt/conda/envs/model/etc/conda/activate.d/x.sh", "export PYTHONPATH=/evil\n"),
        ("/opt/conda/etc/conda/activate.d/x.sh", "PATH=/evil:$PATH\n"),
        ("/opt/conda/envs/model/etc/conda/activate.d/x.sh", "pip install evil\n"),
        ("/opt/conda/envs/model/conda-meta/state", "["),
        ("/opt/conda/envs/model/conda-meta/state", '{"env_vars": {"PATH": "/evil"}}'),
        ("/opt/conda/envs/model/conda-meta/state", '{"env_vars": {"A": "***unset***"}}'),
        ("/opt/conda/envs/model/conda-meta/state", "[" * 100_000),
        ("/opt/conda/.condarc", "envs_dirs: [/evil]\n"),
        ("/root/.condarc", "envs_dirs: [/evil]\n"),
        ("/root/.conda/envs/model/conda-meta/history", ""),
    ],
)
def test_what_may_change_the_environment_when_it_is_activated_is_refused(path: str, body: str) -> None:
    refused("conda", "run", "-n", "model", "python", files={path: body})


@pytest.mark.parametrize("variable", ["CONDA_ENVS_PATH", "CONDARC", "BASH_ENV", "CONDA_SHLVL"])
def test_variables_that_change_conda_are_refused(variable: str) -> None:
    refused("conda", "run", "-n", "model", "python", env={variable: "/evil"})


def test_without_a_name_a_variable_may_choose_the_environment() -> None:
    refused("conda", "run", "python", env={"CONDA_DEFAULT_ENV": "model"})


ACTIVATE = '#!/bin/sh\n. /opt/conda/etc/profile.d/conda.sh && conda activate model\nexec "$@"\n'


def test_conda_activate_in_a_script_is_followed() -> None:
    found = start("/entrypoint.sh", "python", files={"/entrypoint.sh": ACTIVATE})
    assert found.executable == "/opt/conda/envs/model/bin/python"
    base = ACTIVATE.replace("activate model", "activate")
    assert start("/entrypoint.sh", "python", files={"/entrypoint.sh": base}).executable == "/opt/conda/bin/python"


@pytest.mark.parametrize(
    "files",
    [
        {"/opt/conda/etc/profile.d/conda.sh": "export CONDA_EXE='/evil/bin/conda'\n"},
        {"/opt/conda/etc/profile.d/conda.sh": "export CONDA_EXE='/opt/conda/bin/conda'\nexport PYTHONPATH=/evil\n"},
        {"/entrypoint.sh": ACTIVATE.replace("activate", "install")},
        {"/entrypoint.sh": ACTIVATE.replace("model", "absent")},
        {"/entrypoint.sh": ACTIVATE.replace("model", "$X")},
        {"/entrypoint.sh": ACTIVATE.replace("model", "model; evil")},
    ],
)
def test_an_activation_that_was_changed_is_not_followed(files: Files) -> None:
    with pytest.raises(UnclearScriptError):
        start("/entrypoint.sh", "python", files={"/entrypoint.sh": ACTIVATE, **files})
