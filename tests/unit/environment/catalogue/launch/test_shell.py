"""What entrypoint scripts and `sh -c` lead to."""

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.follow import follow_launch
from lockstep.environment.catalogue.launch.launch import Launch, Started, UnclearScriptError
from tests.fakes.roots import Files, activate, debian, tree, venv

VENV = Started("/opt/venv/bin/python", "/app/serve.py")
SYSTEM_PATH = {"PATH": "/usr/bin:/bin"}
BASH: Files = {"/usr/bin/bash": b"\x7fELF bash"}


UV_ACTIVATE = """if [ -n "${BASH_VERSION:+x}" ] && [ "${BASH_SOURCE[0]}" = "$0" ]; then
    echo "You must source this script: \\$ source $0" >&2
    exit 33
fi
if [ "false" = "true" ]; then
    if ! [ -z "${SCRIPT_PATH+_}" ] ; then
        _OLD_SCRIPT_PATH="$SCRIPT_PATH"
    fi
    if [ -n "${BASH_VERSION:+x}" ] ; then
        SCRIPT_PATH="${BASH_SOURCE[0]}"
    elif [ -n "${ZSH_VERSION:+x}" ] ; then
        SCRIPT_PATH="${(%):-%x}"
    fi
fi
VIRTUAL_ENV='/opt/venv'
if ([ "$OSTYPE" = "cygwin" ] || [ "$OSTYPE" = "msys" ]) && $(command -v cygpath &> /dev/null) ; then
    VIRTUAL_ENV=$(cygpath -u "$VIRTUAL_ENV")
fi
export VIRTUAL_ENV
PATH="$VIRTUAL_ENV/bin:$PATH"
export PATH
if [ "x" != x ] ; then
    VIRTUAL_ENV_PROMPT=""
else
    VIRTUAL_ENV_PROMPT=$(basename "$VIRTUAL_ENV")
fi
alias pydoc 2>/dev/null >/dev/null && unalias pydoc || true
pydoc () {
    python -m pydoc "$@"
}
hash -r 2>/dev/null || true
"""
# CPython 3.12 and newer.
CASE_ACTIVATE = """case "$(uname)" in
    CYGWIN*|MSYS*|MINGW*)
        VIRTUAL_ENV=$(cygpath /opt/venv)
        export VIRTUAL_ENV
        ;;
    *)
        export VIRTUAL_ENV=/opt/venv
        ;;
esac
PATH="$VIRTUAL_ENV/"bin":$PATH"
export PATH
if [ -z "${VIRTUAL_ENV_DISABLE_PROMPT:-}" ] ; then
    _OLD_VIRTUAL_PS1="${PS1:-}"
    PS1="("venv") ${PS1:-}"
    export PS1
fi
"""


def script(
    body: str,
    *arguments: str,
    env: dict[str, str] | None = None,
    files: Files | None = None,
    shebang: str = "#!/bin/sh",
) -> Started:
    """Start `/app/serve.py` by an entrypoint script of that body; the virtual environment is not on the PATH."""
    given: Files = {"/app/serve.py": "", "/entrypoint.sh": f"{shebang}\n{body}\n"}
    given["/opt/venv/bin/activate"] = activate("/opt/venv")
    root = tree(debian(), venv(), BASH, given, files or {})
    return follow_launch(root, Launch(("/entrypoint.sh", *arguments), SYSTEM_PATH if env is None else env, "/app"))


def text(*argv: str, env: dict[str, str] | None = None) -> Started:
    given: Files = {"/app/serve.py": "", "/opt/venv/bin/activate": activate("/opt/venv")}
    return follow_launch(tree(debian(), venv(), BASH, given), Launch(argv, env or SYSTEM_PATH, "/app"))


@pytest.mark.parametrize(
    "body",
    [
        'export PATH=/opt/venv/bin:$PATH\nexec "$@"',
        'PATH="/opt/venv/bin:${PATH}"\nexec "$@"',
        'A=/opt/venv\nPATH=$A/bin:$PATH\nexec "$@"',
        '. /opt/venv/bin/activate\nexec "$@"',
        'set -eu\nsource "/opt/venv/bin/activate" && exec "$@"',
        "cd /app\nexec /opt/venv/bin/python serve.py",
        'set -euo pipefail\necho "starting $X"\numask 022\n/opt/venv/bin/python serve.py "$@"',
    ],
)
def test_scripts_that_set_literals_activate_and_start_are_followed(body: str) -> None:
    assert script(body, "python", "serve.py") == VENV


@pytest.mark.parametrize("shebang", ["#!/bin/bash", "#!/usr/bin/env bash", "#!/bin/sh -e", "#!/bin/bash -eu"])
def test_any_plain_shell_will_do(shebang: str) -> None:
    assert script('. /opt/venv/bin/activate\nexec "$@"', "python", "serve.py", shebang=shebang) == VENV


def test_a_login_shell_is_refused_with_what_to_do() -> None:
    with pytest.raises(CatalogueError, match="without -l"):
        script('exec "$@"', "python", shebang="#!/bin/bash -l")


def test_exported_variables_reach_the_interpreter_and_others_do_not() -> None:
    found = script('export PYTHONPATH=/a:$PYTHONPATH\nX=1\nY=2\nexport Y\nZ=3\nexec "$@"', "python3", env={"Z": "0"})
    assert found.launch.env == {"PYTHONPATH": "/a:", "Y": "2", "Z": "3"}
    assert "PYTHONPATH" not in script('PYTHONPATH=/a\nexec "$@"', "python3").launch.env
    assert script("PYTHONPATH=/a python3 serve.py").launch.env["PYTHONPATH"] == "/a"


def test_a_shell_changes_the_directory() -> None:
    assert script("cd /opt\nexec venv/bin/python x.py").script == "/opt/x.py"


@pytest.mark.parametrize(
    "body",
    [
        '. /opt/venv/bin/activate; pip install x\nexec "$@"',
        '. /opt/venv/bin/activate; exec "$@"',
        '. /opt/venv/bin/activate evil\nexec "$@"',
        'source activate\nexec "$@"',
        '. /etc/evil.sh\nexec "$@"',
        '. /usr/bin/activate\nexec "$@"',
        'cd /absent\nexec "$@"',
        'cd relative\nexec "$@"',
        'export PATH=$UNKNOWN/bin:$PATH\nexec "$@"',
        'export UNKNOWN\nexec "$@"',
        'export -n PATH\nexec "$@"',
        'export BASH_ENV=/evil\nexec "$@"',
        'IFS=/\nexec "$@"',
        'set -a\nexec "$@"',
        "set -- python evil.py\nexec python",
        'set -- /evil\nexec "$@"',
        "PATH=/evil python3",
        'alias python=evil\nexec "$@"',
        'trap evil EXIT\nexec "$@"',
        'exec "$@"\nexec evil',
        "exec $CMD",
        "exec python $APP",
        "exec -a x python",
        'eval "$@"',
        'command "$@"',
        "exec",
        "echo done",
        'A+=x\nexec "$@"',
        "A+=x python",
        'conda activate x\nexec "$@"',
        'unset PATH\nexec "$@"',
    ],
)
def test_scripts_that_do_more_are_not_followed(body: str) -> None:
    with pytest.raises(UnclearScriptError) as caught:
        script(body, "python", "serve.py")
    assert caught.value.reason is Reason.INTERPRETER_AMBIGUOUS
    assert "console script" in caught.value.message


@pytest.mark.parametrize("body", [UV_ACTIVATE, CASE_ACTIVATE])
def test_the_activation_scripts_of_uv_and_of_newer_pythons_are_known(body: str) -> None:
    found = script('. /opt/venv/bin/activate\nexec "$@"', "python", "serve.py", files={"/opt/venv/bin/activate": body})
    assert found == VENV


@pytest.mark.parametrize(
    "body",
    [
        activate("/opt/venv", "export PYTHONPATH=/evil"),
        activate("/opt/venv", "pip install evil"),
        activate("/opt/venv", "hash -r 2> /dev/null; evil"),
        activate("/opt/venv", 'PS1="$(evil)"'),
        activate("/opt/venv", "PS1=`evil`"),
        activate("/opt/venv", 'PATH="/evil:$PATH"'),
        activate("/opt/venv", ". /evil"),
        activate("/opt/venv", "PS1=x evil"),
        activate("/opt/venv", 'if [ -n "$(evil)" ] ; then', "fi"),
        activate("/opt/other"),
        activate("/opt/venv", 'VIRTUAL_ENV="/evil"'),
        activate("/opt/venv").replace('PATH="$VIRTUAL_ENV/bin:$PATH"', ""),
        "",
    ],
)
def test_an_activation_script_that_was_changed_is_not_followed(body: str) -> None:
    with pytest.raises(UnclearScriptError):
        script('. /opt/venv/bin/activate\nexec "$@"', "python", files={"/opt/venv/bin/activate": body})


@pytest.mark.parametrize(
    "argv",
    [
        ("sh", "-c", ". /opt/venv/bin/activate && exec python serve.py"),
        ("sh", "-ec", "export PATH=/opt/venv/bin:$PATH && python serve.py"),
        ("bash", "-o", "pipefail", "-c", "/opt/venv/bin/python serve.py"),
        ("bash", "-euo", "pipefail", "-c", '/opt/venv/bin/python "$@"', "name", "serve.py"),
    ],
)
def test_the_text_of_a_shell_is_followed(argv: tuple[str, ...]) -> None:
    assert text(*argv) == VENV


@pytest.mark.parametrize("argv", [("bash", "-lc", "python"), ("bash", "--rcfile", "x"), ("sh",), ("sh", "-s"), ("bash", "x")])
def test_other_ways_to_start_a_shell_are_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(CatalogueError) as caught:
        text(*argv)
    assert caught.value.reason is Reason.INTERPRETER_AMBIGUOUS


@pytest.mark.parametrize("last", ["unset BASH_ENV PROMPT_COMMAND ENV", ""])
def test_bash_reads_the_activation_script_that_its_image_names(last: str) -> None:
    """As the Python images of Red Hat and OpenShift start (sclorg/s2i-python-container)."""
    env = SYSTEM_PATH | {"BASH_ENV": "/opt/venv/bin/activate", "ENV": "/opt/venv/bin/activate"}
    files: Files = {"/opt/venv/bin/activate": activate("/opt/venv", last)}
    assert script('exec "$@"', "python", "serve.py", env=env, files=files, shebang="#!/bin/bash").executable == VENV.executable


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/opt/venv/bin/activate", activate("/opt/venv", "export PYTHONPATH=/evil")),
        ("/opt/venv/bin/activate", activate("/opt/other")),
        ("/opt/app/bin/activate", activate("/opt/app")),
        ("/etc/start.sh", "export PATH=/evil:$PATH"),
    ],
)
def test_any_other_file_that_bash_reads_first_is_refused(path: str, text: str) -> None:
    with pytest.raises(CatalogueError, match="BASH_ENV"):
        script(
            'exec "$@"', "python", "serve.py", env=SYSTEM_PATH | {"BASH_ENV": path}, files={path: text}, shebang="#!/bin/bash"
        )


@pytest.mark.parametrize("variable", ["BASH_ENV", "BASH_FUNC_exec%%", "SHELLOPTS", "PS4"])
def test_variables_that_change_a_shell_are_refused(variable: str) -> None:
    with pytest.raises(CatalogueError, match="changes what a shell does"):
        text("sh", "-c", "python3 serve.py", env=SYSTEM_PATH | {variable: "x"})


def test_a_script_in_the_place_of_a_shell_is_followed_as_a_script() -> None:
    with pytest.raises(CatalogueError) as caught:
        script('exec "$@"', "python3", files={"/usr/bin/dash": "#!/usr/bin/bash\nevil | sh\n"})
    assert caught.value.reason is Reason.INTERPRETER_AMBIGUOUS
