"""What entrypoint scripts that many images inherit lead to."""

import pytest

from lockstep.environment.catalogue.launch.follow import follow_launch
from lockstep.environment.catalogue.launch.launch import Launch, Started, UnclearScriptError
from lockstep.environment.catalogue.launch.vendors import _BENTOML, _MICROMAMBA, _MICROMAMBA_ACTIVATES
from lockstep.environment.tree import Entry, EntryTree, FileKind
from tests.fakes.roots import Files, activate, debian, entries, venv

BASH: Files = {"/usr/bin/bash": b"\x7fELF bash", "/app/serve.py": ""}
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def known(digest: str) -> Entry:
    """Return a script that is known by its digest: what it says is not read."""
    return Entry(FileKind.FILE, body=b"#!/usr/bin/env bash\n[[ unread ]]\n", sha256=f"sha256:{digest}", executable=True)


def start(*argv: str, files: Files, scripts: dict[str, Entry] | None = None, env: dict[str, str] | None = None) -> Started:
    root = entries(debian(), venv(), BASH, files) | (scripts or {})
    return follow_launch(EntryTree(root), Launch(argv, PATH | (env or {}), "/app"))


# --- NVIDIA ---------------------------------------------------------------------------------------------------------------


def nvidia(name: str = "_", more: str = "") -> str:
    return f"""#!/bin/bash
# Gather parts in alpha order
shopt -s nullglob extglob
{name}SCRIPT_DIR="$(dirname "$(readlink -f "${{BASH_SOURCE[0]}}")")"
declare -a {name}PARTS=( "${{{name}SCRIPT_DIR}}/entrypoint.d"/*@(.txt|.sh) )
shopt -u nullglob extglob

print_repeats() {{
  local -r char="$1" count="$2"
  for ((i=1; i<=$count; i++)); do echo -n "$char"; done
  echo
}}
{more}
for {name}file in "${{{name}PARTS[@]}}"; do
  case "${{{name}file}}" in
    *.txt) cat "${{{name}file}}";;
    *.sh)  source "${{{name}file}}";;
  esac
done

echo

if [[ $# -eq 0 ]]; then
  exec "/bin/bash"
else
  exec "$@"
fi
"""


BANNER = """print_banner_text "=" "CUDA"
# whatever ; export PATH=/evil
echo
echo "CUDA Version ${CUDA_VERSION}"
_FROM_CACHE=$(ldconfig -p | grep libcuda.so.1)
_DRIVER=$(ls /dev/nvidiactl /dev/dxg 2>/dev/null)
if [[ -z "${_FROM_CACHE}" || -z "${_DRIVER}" ]]; then
  echo "no driver"
  export NVIDIA_CPU_ONLY=1
fi
"""
PARTS: Files = {"/opt/nvidia/entrypoint.d/10-banner.sh": BANNER, "/opt/nvidia/entrypoint.d/15-licence.txt": "source /evil"}
ENTRYPOINT = "/opt/nvidia/nvidia_entrypoint.sh"


@pytest.mark.parametrize("text", [nvidia("_"), nvidia("")])
def test_nvidias_entrypoint_prints_and_starts_its_arguments(text: str) -> None:
    found = start(ENTRYPOINT, "/opt/venv/bin/python", "serve.py", files={ENTRYPOINT: text, **PARTS})
    assert (found.executable, found.script) == ("/opt/venv/bin/python", "/app/serve.py")


@pytest.mark.parametrize(
    "part",
    [
        "export PATH=/evil:$PATH",
        "PYTHONPATH=/evil",
        "export LD_LIBRARY_PATH=/evil",
        "set -- python /evil.py",
        "source /evil.sh",
        ". /evil.sh",
        "cd /evil",
        'if true; then exec /evil "$@"; fi',
        "true && exec /evil",
        "! eval x",
        "command eval x",
        "export PYTHON''PATH=/evil",
        "printf -v PYTHONPATH /evil",
        "read -r PYTHONPATH",
        "exec() { /evil; }",
        "/opt/venv/bin/pip install evil",
        "cp /evil.py /opt/venv/lib",
        "echo $(evil)",
        'echo "$(evil)"',
        "echo `evil`",
        'if [[ "${X}" -eq 1 ]]; then',
        "_X=$(evil)",
        "else\x0b# ; export PATH=/evil",
        "\x0c# ; export PATH=/evil",
    ],
)
def test_a_part_of_it_that_may_change_what_is_started_is_refused(part: str) -> None:
    files: Files = {ENTRYPOINT: nvidia(), "/opt/nvidia/entrypoint.d/99-more.sh": f"echo a\n{part}\n"}
    with pytest.raises(UnclearScriptError, match=r"99-more.sh may change which Python runs"):
        start(ENTRYPOINT, "/opt/venv/bin/python", "serve.py", files=files)


@pytest.mark.parametrize(
    "more",
    ["export PYTHONPATH=/evil", "print_banner_text() {\n  export PATH=/evil:$PATH\n}", "python() { :; }", "print_x() {\n}"],
)
def test_a_script_that_was_edited_is_not_nvidias(more: str) -> None:
    with pytest.raises(UnclearScriptError, match="does more than set literal variables"):
        start(ENTRYPOINT, "/opt/venv/bin/python", "serve.py", files={ENTRYPOINT: nvidia(more=more)})


def test_without_arguments_it_starts_a_shell() -> None:
    with pytest.raises(UnclearScriptError, match="starts a shell"):
        start(ENTRYPOINT, files={ENTRYPOINT: nvidia()})


# --- BentoML --------------------------------------------------------------------------------------------------------------

BENTO = {"BENTO_PATH": "/home/bentoml/bento"}
OWN: Files = {
    **venv("/app/.venv"),
    "/app/.venv/bin/activate": activate("/app/.venv"),
    "/app/.venv/bin/bentoml": "#!/app/.venv/bin/python\n",
    "/usr/bin/bentoml": "#!/usr/bin/python3\n",
}


def bento(digest: str, *arguments: str, env: dict[str, str] | None = None) -> Started:
    scripts = {"/home/bentoml/bento/env/docker/entrypoint.sh": known(digest)}
    return start(*scripts, *arguments, files=OWN, scripts=scripts, env=BENTO | (env or {}))


@pytest.mark.parametrize("digest", _BENTOML)
@pytest.mark.parametrize(
    ("arguments", "served"),
    [
        ((), ("serve", "/home/bentoml/bento")),
        (("--port", "80"), ("serve", "--port", "80", "/home/bentoml/bento")),
        (("serve-http", "--port", "80"), ("serve-http", "--port", "80", "/home/bentoml/bento")),
    ],
)
def test_bentomls_entrypoint_serves_the_bento(digest: str, arguments: tuple[str, ...], served: tuple[str, ...]) -> None:
    found = bento(digest, *arguments)
    own = bool(_BENTOML[digest])
    assert found.executable == ("/app/.venv/bin/python" if own else "/usr/bin/python3")
    assert found.arguments == served


def test_bentomls_entrypoint_starts_any_other_command() -> None:
    found = bento(next(iter(_BENTOML)), "/opt/venv/bin/python", "serve.py")
    assert (found.executable, found.script) == ("/opt/venv/bin/python", "/app/serve.py")


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        ((), {"BENTOML_SERVE_COMPONENT": "runner"}),
        (("start-http-server",), {}),
        (("python", "-m", "bentoml._internal.server.cli.runner"), {}),
    ],
)
def test_what_bentomls_entrypoint_chooses_is_not_followed(arguments: tuple[str, ...], env: dict[str, str]) -> None:
    for digest in _BENTOML:
        with pytest.raises(UnclearScriptError, match="BentoML's entrypoint"):
            bento(digest, *arguments, env=env)


# --- micromamba -----------------------------------------------------------------------------------------------------------

MAMBA = {"MAMBA_ROOT_PREFIX": "/opt/conda", "ENV_NAME": "base", "MAMBA_EXE": "/usr/bin/micromamba"}
CONDA: Files = {"/opt/conda/conda-meta/history": "", "/opt/conda/envs/own/conda-meta/history": ""}
CONDA["/usr/bin/micromamba"] = b"\x7fELF micromamba"
for prefix in ("/opt/conda", "/opt/conda/envs/own"):
    CONDA |= {path: body for path, body in venv(prefix).items() if not path.endswith("pyvenv.cfg")}


def micromamba(
    *arguments: str, env: dict[str, str] | None = None, activates: str | None = None, more: Files | None = None
) -> Started:
    scripts = {
        "/usr/local/bin/_entrypoint.sh": known(_MICROMAMBA[-1]),
        "/usr/local/bin/_activate_current_env.sh": known((activates or min(_MICROMAMBA_ACTIVATES)).removeprefix("sha256:")),
    }
    return start(
        "/usr/local/bin/_entrypoint.sh", *arguments, files=CONDA | (more or {}), scripts=scripts, env=MAMBA | (env or {})
    )


@pytest.mark.parametrize(
    ("env", "executable"),
    [
        ({}, "/opt/conda/bin/python"),
        ({"ENV_NAME": "own"}, "/opt/conda/envs/own/bin/python"),
        ({"MAMBA_SKIP_ACTIVATE": "1"}, "/usr/bin/python"),
    ],
)
def test_micromambas_entrypoint_activates_the_environment_that_a_variable_names(env: dict[str, str], executable: str) -> None:
    if executable == "/usr/bin/python":
        assert micromamba("/usr/bin/python3", "serve.py", env=env).executable == "/usr/bin/python3"
    else:
        assert micromamba("python", "serve.py", env=env).executable == executable


@pytest.mark.parametrize(
    ("arguments", "env", "activates", "why"),
    [
        (("python",), {"ENV_NAME": "absent"}, None, "is in the image 0 times"),
        (("python",), {}, "sha256:" + "0" * 64, "is not what micromamba's image has"),
        (("python",), {"HOME": "/"}, None, "sets HOME"),
        ((), {}, None, "starts nothing without arguments"),
    ],
)
def test_what_micromambas_entrypoint_can_not_do_is_refused(
    arguments: tuple[str, ...], env: dict[str, str], activates: str | None, why: str
) -> None:
    with pytest.raises(UnclearScriptError, match=why):
        micromamba(*arguments, env=env, activates=activates)


@pytest.mark.parametrize(
    ("files", "env", "why"),
    [
        ({"/bin/evil": b"\x7fELF"}, {"MAMBA_EXE": "/bin/evil"}, "is not micromamba"),
        ({"/x/micromamba": "#!/bin/sh\n"}, {"MAMBA_EXE": "/x/micromamba"}, "is not micromamba"),
        ({"/usr/bin/conda": "#!/bin/sh\necho export PYTHONPATH=/evil\n"}, {}, "/usr/bin/conda says what"),
        ({"/opt/conda/etc/profile.d/conda.sh": "export PYTHONPATH=/evil"}, {}, "conda.sh is not what conda wrote"),
        ({"/opt/conda/etc/profile.d/mamba.sh": ""}, {}, "mamba.sh"),
    ],
)
def test_what_micromambas_entrypoint_would_execute_of_others_is_refused(files: Files, env: dict[str, str], why: str) -> None:
    with pytest.raises(UnclearScriptError, match=why):
        micromamba("python", "serve.py", env=env, more=files)
