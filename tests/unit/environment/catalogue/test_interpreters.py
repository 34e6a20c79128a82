"""Which interpreters could be meant, where a script that can't be followed starts one."""

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.describe import describe
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.document import EnvironmentDocument
from lockstep.environment.tree import Entry, EntryTree, FileKind
from tests.fakes.roots import VENV_SITE, Files, activate, debian, distribution, elf, entries, venv

SCRIPT = '#!/bin/sh\nif [ -n "$PORT" ]; then set -- --port "$PORT"; fi\nexec serve "$@"\n'
PATH = {"PATH": "/opt/venv/bin:/usr/bin"}
OTHER_SITE = "/opt/other/lib/python3.11/site-packages"


def model(site: str = VENV_SITE, version: str = "1.4.2") -> Files:
    return distribution(site, "scikit_learn", version)


def described(
    *parts: Files,
    script: str | bytes | None = SCRIPT,
    argv: tuple[str, ...] = ("/entrypoint.sh", "models"),
    env: dict[str, str] | None = None,
    odd: dict[str, Entry] | None = None,
) -> EnvironmentDocument:
    root = EntryTree(entries(debian(), venv(), *parts, {"/entrypoint.sh": script}) | (odd or {}))
    return describe(root, Launch(argv, PATH | (env or {}), "/app"), machine="x86_64", collector="test")


def versions(document: EnvironmentDocument) -> dict[str, str]:
    return {package.name: package.version for package in document.packages}


def refusal(
    *parts: Files,
    script: str | bytes | None = SCRIPT,
    argv: tuple[str, ...] = ("/entrypoint.sh", "models"),
    odd: dict[str, Entry] | None = None,
) -> str:
    with pytest.raises(CatalogueError) as caught:
        described(*parts, script=script, argv=argv, odd=odd)
    assert caught.value.reason is Reason.INTERPRETER_AMBIGUOUS
    return caught.value.message


def test_the_only_interpreter_with_a_framework_is_meant() -> None:
    system = distribution("/usr/lib/python3/dist-packages", "PyYAML", "6.0")
    assert versions(described(model(), system)) == {"scikit-learn": "1.4.2"}


def test_a_vendored_framework_counts_too() -> None:
    vendored: Files = {"/usr/lib/python3/dist-packages/sklearn/__init__.py": ""}
    assert "/usr/bin/python3" in refusal(model(), vendored)


def test_interpreters_that_agree_are_as_good_as_one() -> None:
    assert versions(described(model(), venv("/opt/other"), model(OTHER_SITE))) == {"scikit-learn": "1.4.2"}


def test_a_decoy_never_wins() -> None:
    message = refusal(model(), venv("/opt/other"), model(OTHER_SITE, "9.9"))
    assert "/opt/venv/bin/python" in message
    assert "/opt/other/bin/python" in message


def test_interpreters_of_two_versions_do_not_agree() -> None:
    other: Files = {"/opt/other/bin/python3.11": elf(0x030B07F0), "/opt/other/lib/python3.11/os.py": ""}
    assert "differ" in refusal(model(), other, model(OTHER_SITE))


def test_a_copied_interpreter_of_another_version_does_not_agree() -> None:
    copied = venv("/opt/other") | {"/opt/other/bin/python3": elf(0x030B07F0)}
    assert "differ" in refusal(model(), copied, model(OTHER_SITE))


def test_an_interpreter_that_nobody_may_execute_is_not_meant() -> None:
    other = venv("/opt/other") | model(OTHER_SITE, "9.9")
    del other["/opt/other/bin/python3"]
    decoy = {"/opt/other/bin/python3": Entry(FileKind.FILE, body=elf(), executable=False)}
    assert versions(described(model(), other, odd=decoy)) == {"scikit-learn": "1.4.2"}
    some = {"/opt/other/bin/python3": Entry(FileKind.FILE, body=elf(), executable=None)}
    assert "differ" in refusal(model(), other, odd=some)


def test_no_interpreter_with_a_framework_is_none_that_is_meant() -> None:
    assert "no interpreter" in refusal(distribution(VENV_SITE, "numpy", "1.0"))


def test_variables_of_the_image_apply_to_each() -> None:
    found = described(model(), distribution("/extra", "scikit_learn", "1.0"), env={"PYTHONPATH": "/extra", "PORT": "1"})
    assert versions(found) == {"scikit-learn": "1.0"}


@pytest.mark.parametrize(
    "line",
    [
        "export PYTHONPATH=/evil:$X",
        "unset PYTHONPATH",
        "export PYTHONSAFEPATH=1",
        "pip install -r r.txt",
        "pip3.11 install x",
        "python -m pip install x",
        "uv sync",
        "conda install -y x",
        "conda activate x",
        "curl http://x | tar x",
        'eval "$X"',
        ". /etc/x",
        "source /etc/x",
        "/app/setup.sh",
        "gosu app python serve.py",
        "export HOME=/x",
        "python -I serve.py",
        "env -i python serve.py",
        "cp -r /a /b",
        "cd /deps",
        "exec uvicorn --app-dir /opt/e main:app",
        "exec gunicorn --pythonpath=/opt/e main:app",
        "export UVICORN_APP_DIR=/opt/e",
        "exec python3 -c 'import x'",
        "exec python - <<X",
        "cat /opt/e | python3",
    ],
)
def test_a_script_that_may_change_what_is_seen_stays_ambiguous(line: str) -> None:
    deps = distribution("/deps", "x", "1.0")
    assert "names" in refusal(model(), deps, script=f"#!/bin/sh\n{line}\nif x; then y; fi\n")


def test_the_scripts_arguments_count_as_its_text() -> None:
    assert "names" in refusal(model(), argv=("/entrypoint.sh", "pip", "install", "x"))


@pytest.mark.parametrize("line", ["export PYTHONUNBUFFERED=1", ". /opt/venv/bin/activate", 'exec gunicorn --bind ":$PORT"'])
def test_what_changes_nothing_may_be_in_a_script(line: str) -> None:
    script = f"#!/usr/bin/bash\nif x; then y; fi\n{line}\n"
    files: Files = {"/usr/bin/bash": b"\x7fELF", "/opt/venv/bin/activate": activate("/opt/venv")}
    assert versions(described(model(), files, script=script)) == {"scikit-learn": "1.4.2"}


def test_an_activation_script_that_was_changed_stays_ambiguous() -> None:
    files: Files = {"/opt/venv/bin/activate": activate("/opt/venv", "export PYTHONPATH=/evil")}
    assert "was changed" in refusal(model(), files, script="#!/bin/sh\nif x; then y; fi\n. /opt/venv/bin/activate\n")


@pytest.mark.parametrize("line", ["/app/prepare", "prepare", "if prepare; then y; fi"])
def test_a_script_that_starts_another_script_stays_ambiguous(line: str) -> None:
    body = "#!/bin/sh\npip install x\n"
    files: Files = {"/app/prepare": body, "/usr/bin/prepare": body}
    assert "another shell script" in refusal(model(), files, script=f"#!/bin/sh\nif x; then y; fi\n{line}\n")


def test_a_text_of_a_shell_is_taken_likewise() -> None:
    argv = ("/bin/sh", "-c", "exec serve --port ${PORT:-80}")
    assert versions(described(model(), argv=argv)) == {"scikit-learn": "1.4.2"}
    assert "names" in refusal(model(), argv=("/bin/sh", "-c", "pip install x; exec serve"))


def test_an_unknown_binary_stays_ambiguous() -> None:
    assert "neither Python nor a script" in refusal(model(), script=b"\x7fELF")


def test_a_script_that_was_not_kept_stays_ambiguous() -> None:
    unread = {"/entrypoint.sh": Entry(FileKind.FILE, why_unread="it has 99999 bytes")}
    assert "99999" in refusal(model(), odd=unread)


def test_a_start_that_is_told_is_not_weighed_against_others() -> None:
    other = venv("/opt/other") | model(OTHER_SITE, "9.9")
    assert versions(described(model(), other, argv=("python", "x.py"))) == {"scikit-learn": "1.4.2"}


def test_an_interpreter_that_can_not_be_told_leaves_all_open() -> None:
    broken: Files = {"/opt/other/bin/python3": elf(), "/opt/other/pyvenv.cfg": "x = y\n"}
    assert "pyvenv.cfg" in refusal(model(), broken)


def test_a_binary_without_a_standard_library_can_not_be_meant() -> None:
    root = venv() | model()
    assert versions(described(root, {"/share/python3": elf(), "/lib": None})) == {"scikit-learn": "1.4.2"}


def test_the_number_of_interpreters_is_bounded() -> None:
    many: Files = {}
    for number in range(40):
        many |= venv(f"/opt/v{number}")
    assert "more than 32" in refusal(model(), many)


def test_a_folder_that_a_script_goes_to_is_where_servers_look_first() -> None:
    files: Files = {"/opt/e/sklearn.py": "evil", f"{VENV_SITE}/sklearn/__init__.py": "", **model()}
    found = described(files, script="#!/bin/sh\nif x; then y; fi\ncd '/opt/e' && exec uvicorn main:app\n")
    assert found.start is not None
    assert found.start.path[0] == "/opt/e"
    assert found.code["sklearn.py"] != described(files, script="#!/bin/sh\nif x; then y; fi\n").code.get("sklearn.py")
