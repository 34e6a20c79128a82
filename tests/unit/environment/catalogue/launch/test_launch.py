"""Which interpreter a command line starts."""

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.follow import follow_launch
from lockstep.environment.catalogue.launch.launch import Launch, Started
from lockstep.environment.tree import Entry, EntryTree, FileKind
from tests.fakes.roots import Files, To, debian, elf, entries, tree, venv

SERVE = {"/app/serve.py": "import iris\n"}
CONSOLE: Files = {"/opt/venv/bin/mlflow": "#!/opt/venv/bin/python3\nimport mlflow\n"}
VENV_PATH = {"PATH": "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"}


def start(*argv: str, files: Files | None = None, env: dict[str, str] | None = None, working_dir: str = "/app") -> Started:
    return follow_launch(
        tree(debian(), venv(), SERVE, CONSOLE, files or {}), Launch(argv, VENV_PATH if env is None else env, working_dir)
    )


def refused(*argv: str, files: Files | None = None, env: dict[str, str] | None = None) -> CatalogueError:
    with pytest.raises(CatalogueError) as caught:
        start(*argv, files=files, env=env)
    return caught.value


def test_a_name_is_looked_up_on_the_path() -> None:
    assert start("python", "serve.py") == Started("/opt/venv/bin/python", "/app/serve.py")


def test_an_empty_or_relative_folder_of_the_path_is_taken_from_the_working_directory() -> None:
    files: Files = {"/app/python": elf(), "/app/.venv/bin/python": elf()}
    assert start("python", files=files, env={"PATH": ":/usr/bin"}).executable == "/app/python"
    assert start("python", files=files, env={"PATH": ".venv/bin:/usr/bin"}).executable == "/app/.venv/bin/python"


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


def test_env_that_sets_variables_hands_them_on() -> None:
    found = start("env", "PYTHONPATH=/extra", "PATH=/usr/bin", "python3", "serve.py")
    assert found == Started("/usr/bin/python3", "/app/serve.py")
    assert found.launch.env["PYTHONPATH"] == "/extra"


@pytest.mark.parametrize(
    "arguments",
    [
        "-i python",
        "-u PATH python",
        "-S ${X} python",
        "-S 'python",
        '-Spython"',
        "X=y -i python",
        "a.b=c python",
        "--chdir=/x python",
    ],
)
def test_env_that_changes_the_environment_is_refused(arguments: str) -> None:
    assert refused("env", *arguments.split()).reason is Reason.INTERPRETER_AMBIGUOUS


@pytest.mark.parametrize(
    "front",
    [
        "tini --",
        "tini -g --",
        "tini -p SIGTERM --",
        "dumb-init",
        "dumb-init --rewrite 15:2 --",
        "dumb-init --rewrite=15:2",
        "nice -n 5",
        "nice -5",
        "nohup",
        "time -p",
        "timeout 30",
        "timeout -k 5 --signal=TERM 30s",
        "stdbuf -oL -e 0",
        "ionice -c 2 -n 7",
        "numactl --interleave=all -N 0",
        "taskset -c 0-3",
        "env A=b",
        "tini -- nice -n 1 timeout 5 env A=b",
        "gosu app",
        "su-exec app:app",
    ],
)
def test_wrappers_start_what_follows(front: str) -> None:
    names = "tini dumb-init nice nohup time timeout stdbuf ionice numactl taskset gosu su-exec"
    files: Files = {f"/usr/bin/{name}": b"\x7fELF" for name in names.split()}
    assert start(*front.split(), "python", "serve.py", files=files) == Started("/opt/venv/bin/python", "/app/serve.py")


def test_catchsegv_of_glibc_is_a_script_that_is_known() -> None:
    files: Files = {"/usr/bin/catchsegv": "#!/bin/sh\nif true; then x; fi\n"}
    assert start("catchsegv", "python", "serve.py", files=files).executable == "/opt/venv/bin/python"
    other: Files = {"/opt/venv/bin/catchsegv": "#!/bin/sh\nif true; then x; fi\n"}
    assert refused("catchsegv", "python", files=other).reason is Reason.INTERPRETER_AMBIGUOUS


def test_a_script_that_bears_a_wrappers_name_is_followed_as_a_script() -> None:
    files: Files = {"/usr/bin/tini": "#!/bin/sh\nexec /usr/bin/python3 evil.py\n"}
    assert start("tini", "--", "python", "serve.py", files=files) == Started("/usr/bin/python3", "/app/evil.py")


def test_another_user_has_another_home() -> None:
    files: Files = {"/usr/bin/gosu": b"\x7fELF"}
    found = start("gosu", "app:app", "python", files=files, env=VENV_PATH | {"HOME": "/root"})
    assert found.launch.user == "app:app"
    assert "HOME" not in found.launch.env
    assert refused("gosu", "python", files=files).reason is Reason.INTERPRETER_AMBIGUOUS


@pytest.mark.parametrize("program", ["uv", "uvx", "pipenv", "poetry", "pdm", "hatch", "sudo", "su"])
def test_programs_that_choose_the_environment_when_they_run_are_refused_with_what_to_do(program: str) -> None:
    error = refused(program, "run", "python", files={f"/opt/venv/bin/{program}": "#!/opt/venv/bin/python\n"})
    assert error.reason is Reason.INTERPRETER_AMBIGUOUS
    assert program in error.message


def test_a_decoy_earlier_on_the_path_counts_only_if_it_may_be_executed() -> None:
    decoy = Entry(FileKind.FILE, body=elf(), executable=False)
    root = EntryTree(entries(debian(), venv(), SERVE) | {"/decoy/bin/python": decoy})
    path = {"PATH": "/decoy/bin:/opt/venv/bin:/usr/bin"}
    assert follow_launch(root, Launch(("python", "serve.py"), path, "/app")).executable == "/opt/venv/bin/python"


@pytest.mark.parametrize("body", [b"PK\x03\x04...PK\x05\x06", b"#!/opt/venv/bin/python\nPK\x03\x04...PK\x05\x06"])
def test_an_archive_without_a_telling_name_is_refused(body: bytes) -> None:
    files: Files = {"/app/serve": body.ljust(100, b"\0")}
    assert refused("python", "/app/serve", files=files).reason is Reason.INTERPRETER_AMBIGUOUS


def test_a_long_shebang_as_pip_writes_it_is_followed() -> None:
    body = "#!/bin/sh\n'''exec' \"/opt/venv/bin/python3\" \"$0\" \"$@\"\n' '''\nimport x\n"
    for script in (body, body.replace('"/opt/venv/bin/python3"', "/opt/venv/bin/python3")):
        found = start("/usr/bin/x", files={"/usr/bin/x": script})
        assert found == Started("/opt/venv/bin/python3", "/usr/bin/x")


def test_an_entrypoint_that_only_executes_its_arguments_is_followed() -> None:
    files: Files = {"/entrypoint.sh": '#!/bin/sh\n# comment\nset -e\n\nexec "$@"\n'}
    assert start("/entrypoint.sh", "python", "serve.py", files=files) == Started("/opt/venv/bin/python", "/app/serve.py")


@pytest.mark.parametrize("body", ['pip install x\nexec "$@"', 'if true\nexec "$@"', "python serve.py &", ""])
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


def test_a_shell_script_named_python_is_followed_to_what_it_starts() -> None:
    files: Files = {"/good/bin/python3": '#!/bin/sh\nexec /evil/bin/python3 "$@"\n', "/good/lib/python3.11/os.py": ""}
    found = start("/good/bin/python3", "serve.py", files=files | venv("/evil"))
    assert found == Started("/evil/bin/python3", "/app/serve.py")


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


def test_an_image_of_buildpacks_is_named_with_what_its_user_can_do() -> None:
    files: Files = {"/cnb/lifecycle/launcher": b"\x7fELF launcher", "/cnb/process/web": To("/cnb/lifecycle/launcher")}
    error = refused("/cnb/process/web", files=files)
    assert "it is made by buildpacks" in error.message
    assert "build an image FROM this one whose ENTRYPOINT is the interpreter" in error.message
    assert "64 KiB" not in error.message
