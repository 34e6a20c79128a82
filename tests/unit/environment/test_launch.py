"""Which interpreter a command line starts."""

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch import Launch, Started, started
from tests.fakes.roots import Files, To, debian, elf, tree, venv

SERVE = {"/app/serve.py": "import iris\n"}
CONSOLE: Files = {"/opt/venv/bin/mlflow": "#!/opt/venv/bin/python3\nimport mlflow\n"}
VENV_PATH = {"PATH": "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"}


def start(*argv: str, files: Files | None = None, env: dict[str, str] | None = None, working_dir: str = "/app") -> Started:
    return started(
        tree(debian(), venv(), SERVE, CONSOLE, files or {}), Launch(argv, VENV_PATH if env is None else env, working_dir)
    )


def refused(*argv: str, files: Files | None = None, env: dict[str, str] | None = None) -> CatalogueError:
    with pytest.raises(CatalogueError) as caught:
        start(*argv, files=files, env=env)
    return caught.value


def test_a_name_is_looked_up_on_the_path() -> None:
    assert start("python", "serve.py") == Started("/opt/venv/bin/python", "/app/serve.py")


def test_without_a_path_the_usual_one_is_searched() -> None:
    assert start("python3", env={}).executable == "/usr/bin/python3"


def test_an_absolute_name_is_not_looked_up() -> None:
    assert start("/usr/bin/python3.11", "/app/serve.py").executable == "/usr/bin/python3.11"


def test_a_relative_name_is_taken_from_the_working_directory() -> None:
    assert start("venv/bin/python", working_dir="/opt").executable == "/opt/venv/bin/python"


def test_a_console_script_leads_to_its_interpreter() -> None:
    assert start("mlflow", "models", "serve") == Started("/opt/venv/bin/python3", "/opt/venv/bin/mlflow")


def test_env_looks_up_what_follows() -> None:
    files: Files = {"/usr/bin/tool": "#!/usr/bin/env python\n", "/usr/bin/split": "#!/usr/bin/env -S python -I -u\n"}
    assert start("/usr/bin/tool", files=files) == Started("/opt/venv/bin/python", "/usr/bin/tool")
    assert start("/usr/bin/split", "arg", files=files) == Started("/opt/venv/bin/python", "/usr/bin/split", frozenset("Iu"))
    assert start("env", "-S", "python -u", "serve.py") == Started("/opt/venv/bin/python", "/app/serve.py", frozenset("u"))


@pytest.mark.parametrize(
    "arguments", ["PYTHONPATH=/evil python", "-i python", "-u PATH python", "-S ${X} python", "-S 'python", '-Spython"']
)
def test_env_that_changes_the_environment_is_refused(arguments: str) -> None:
    assert refused("env", *arguments.split()).reason is Reason.INTERPRETER_AMBIGUOUS


@pytest.mark.parametrize(
    "front",
    [("tini", "--"), ("tini", "-g", "--"), ("tini", "-p", "SIGTERM", "--"), ("dumb-init",), ("nice", "-n", "5")],
)
def test_wrappers_start_what_follows(front: tuple[str, ...]) -> None:
    files: Files = {f"/usr/bin/{name}": b"\x7fELF" for name in ("tini", "dumb-init", "nice")}
    assert start(*front, "python", "serve.py", files=files) == Started("/opt/venv/bin/python", "/app/serve.py")


def test_a_long_shebang_as_pip_writes_it_is_followed() -> None:
    body = "#!/bin/sh\n'''exec' \"/opt/venv/bin/python3\" \"$0\" \"$@\"\n' '''\nimport x\n"
    for script in (body, body.replace('"/opt/venv/bin/python3"', "/opt/venv/bin/python3")):
        found = start("/usr/bin/x", files={"/usr/bin/x": script})
        assert found == Started("/opt/venv/bin/python3", "/usr/bin/x")


def test_an_entrypoint_that_only_executes_its_arguments_is_followed() -> None:
    files: Files = {"/entrypoint.sh": '#!/bin/sh\n# comment\nset -e\n\nexec "$@"\n'}
    assert start("/entrypoint.sh", "python", "serve.py", files=files) == Started("/opt/venv/bin/python", "/app/serve.py")


@pytest.mark.parametrize("body", ['pip install x\nexec "$@"', 'export PYTHONPATH=/evil\nexec "$@"', "python serve.py", ""])
def test_any_other_shell_script_is_refused(body: str) -> None:
    files: Files = {"/entrypoint.sh": f"#!/bin/sh\n{body}\n"}
    assert refused("/entrypoint.sh", "python", files=files).reason is Reason.INTERPRETER_AMBIGUOUS


@pytest.mark.parametrize("text", ["python serve.py", "exec python serve.py", "exec python 'serve.py'"])
def test_a_plain_command_of_a_shell_is_followed(text: str) -> None:
    assert start("/bin/sh", "-c", text) == Started("/opt/venv/bin/python", "/app/serve.py")


@pytest.mark.parametrize(
    "text", ["pip install x && python a.py", "python $APP", "a=$(b) python", "python a.py *", "'", "python\nb"]
)
def test_any_other_command_of_a_shell_is_refused(text: str) -> None:
    assert refused("/bin/sh", "-c", text).reason is Reason.INTERPRETER_AMBIGUOUS


def test_a_login_shell_is_refused_since_profiles_set_the_path() -> None:
    assert refused("/bin/sh", "-lc", "python serve.py").reason is Reason.INTERPRETER_AMBIGUOUS


def test_a_shell_that_runs_another_script_first_is_refused() -> None:
    files: Files = {"/usr/bin/bash": b"\x7fELF"}
    error = refused("bash", "-c", "python serve.py", env=VENV_PATH | {"BASH_ENV": "/evil.sh"}, files=files)
    assert error.reason is Reason.INTERPRETER_AMBIGUOUS


def test_a_script_named_python_is_followed_and_not_taken_for_one() -> None:
    files: Files = {"/good/bin/python3": "#!/usr/bin/python3\n", "/odd/bin/python3": "text"}
    assert start("/good/bin/python3", "serve.py", files=files).executable == "/usr/bin/python3"
    assert refused("/odd/bin/python3", files=files).reason is Reason.INTERPRETER_AMBIGUOUS


def test_a_shell_script_named_python_is_refused() -> None:
    files: Files = {"/good/bin/python3": '#!/bin/sh\nexec /evil/bin/python3 "$@"\n', "/good/lib/python3.11/os.py": ""}
    assert refused("/good/bin/python3", files=files).reason is Reason.INTERPRETER_AMBIGUOUS


def test_nothing_to_start_is_refused() -> None:
    assert refused().reason is Reason.INTERPRETER_NOT_FOUND
    assert refused("absent").reason is Reason.INTERPRETER_NOT_FOUND
    assert refused("/usr/bin/absent").reason is Reason.INTERPRETER_NOT_FOUND


def test_another_program_is_refused() -> None:
    assert refused("nginx", files={"/usr/bin/nginx": b"\x7fELF"}).reason is Reason.INTERPRETER_AMBIGUOUS


def test_scripts_that_start_one_another_end() -> None:
    files: Files = {"/usr/bin/a": "#!/usr/bin/b\n", "/usr/bin/b": "#!/usr/bin/a\n"}
    assert refused("a", files=files).reason is Reason.INTERPRETER_AMBIGUOUS


@pytest.mark.parametrize(
    ("arguments", "script", "options"),
    [
        ("-u -W ignore /srv/serve.py", "/srv/serve.py", "u"),
        ("-Wignore -Xdev /srv/serve.py", "/srv/serve.py", ""),
        ("-X importtime -m uvicorn app", "/app/", ""),
        ("-Bum uvicorn", "/app/", "Bu"),
        ("-c pass", "/app/", ""),
        ("--check-hash-based-pycs always serve.py", "/app/serve.py", ""),
        ("-I serve.py", "/app/serve.py", "I"),
        ("/app", "/app/__main__.py", ""),
        ("-", None, ""),
        ("", None, ""),
    ],
)
def test_the_interpreters_own_options_are_read(arguments: str, script: str | None, options: str) -> None:
    assert start("python", *arguments.split()) == Started("/opt/venv/bin/python", script, frozenset(options))


def test_a_linked_script_stands_where_the_link_leads() -> None:
    assert start("python", "main.py", files={"/app/main.py": To("/srv/real.py"), "/srv/real.py": ""}).script == "/srv/real.py"


def test_a_zipped_application_is_refused() -> None:
    assert refused("python", "app.pyz", files={"/app/app.pyz": b"PK"}).reason is Reason.INTERPRETER_AMBIGUOUS


def test_an_interpreter_is_called_by_the_name_beside_its_environment() -> None:
    assert start("python", files={"/usr/bin/python3.11": elf()}).executable == "/opt/venv/bin/python"
