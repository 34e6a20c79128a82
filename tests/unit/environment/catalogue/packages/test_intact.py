"""Installed distributions that are not as they were installed, and commands that are not the ones that they brought."""

import hashlib
import json

import pytest

from lockstep.environment.catalogue.describe import describe
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.document import EnvironmentDocument
from lockstep.environment.tree import EntryTree
from tests.fakes.roots import VENV_SITE, Files, debian, distribution, entries, record_row, venv
from tests.unit.environment.catalogue.launch.test_entryscript import NEW_PIP, PIP, SETUPTOOLS, UV
from tests.unit.environment.catalogue.servers.test_serving import BIN, MLFLOW, PATH, server

VERSION = "VERSION = '1.0'\n"
STRANGE = "#!/opt/venv/bin/python3\nimport sys\nsys.path.insert(0, '/opt/e')\nfrom uvicorn.main import main\nsys.exit(main())\n"


def described(files: Files, *argv: str, gone: tuple[str, ...] = (), env: dict[str, str] | None = None) -> EnvironmentDocument:
    made = entries(debian(), venv(), {"/app/serve.py": ""}, files)
    root = EntryTree({path: entry for path, entry in made.items() if path not in gone})
    launch = Launch(argv or (f"{BIN}/python", "/app/serve.py"), PATH | (env or {}), "/app")
    return describe(root, launch, machine="x86_64", collector="x")


def edited(files: Files, *argv: str, gone: tuple[str, ...] = (), env: dict[str, str] | None = None) -> dict[str, list[str]]:
    found = described(files, *argv, gone=gone, env=env)
    return {package.name: list(package.edited) for package in found.packages if package.edited}


def numpy(*paths: str, root: str = VENV_SITE) -> Files:
    """Return numpy with more files, each of which holds its own path."""
    rows = record_row("numpy/__init__.py", "VERSION = '1.0'\n") + "".join(record_row(path, path) for path in paths)
    return distribution(root, "numpy", "1.0", RECORD=rows) | {f"{root}/{path}": path for path in paths}


def test_a_distribution_that_is_as_its_record_says_is_intact() -> None:
    assert edited(numpy("numpy/core.py", "numpy/data.txt")) == {}


def test_any_other_content_is_named() -> None:
    files = numpy("numpy/core.py", "numpy/data.txt")
    assert edited(files | {f"{VENV_SITE}/numpy/core.py": "evil"}) == {"numpy": ["numpy/core.py"]}
    assert edited(files | {f"{VENV_SITE}/numpy/data.txt": "evil"}) == {"numpy": ["numpy/data.txt"]}


def test_what_slim_images_leave_out_is_fine() -> None:
    paths = ("numpy/tests/test_x.py", "numpy/py.typed", "numpy/core.pyi", "numpy/x.h", "numpy/setup.py", "numpy/_x.so")
    files = numpy(*paths)
    assert edited(files, gone=tuple(f"{VENV_SITE}/{path}" for path in paths)) == {}
    found = described(files, gone=tuple(f"{VENV_SITE}/{path}" for path in paths))
    assert [package.changed_count for package in found.packages] == [6]


@pytest.mark.parametrize(
    ("other", "missing"),
    [
        (f"{VENV_SITE}/numpy/_x.py", "numpy/_x.cpython-311-x86_64-linux-gnu.so"),
        (f"{VENV_SITE}/numpy/core/__init__.py", "numpy/core.py"),
        (f"{VENV_SITE}/numpy.py", "numpy/__init__.py"),
    ],
)
def test_a_missing_module_whose_name_something_else_answers_is_named(other: str, missing: str) -> None:
    files = numpy(*({missing} - {"numpy/__init__.py"})) | {other: "evil"}
    assert edited(files, gone=(f"{VENV_SITE}/{missing}",)) == {"numpy": [missing]}


def other(path: str, body: str) -> Files:
    """Return another distribution that claims a file, which then has its content."""
    rows = record_row(f"../../../../../{path[1:]}" if path.startswith("/") else path, body)
    claimed = path if path.startswith("/") else f"{VENV_SITE}/{path}"
    return distribution(VENV_SITE, "other", "1.0", RECORD=rows) | {claimed: body}


def test_a_text_or_a_test_that_two_distributions_bring_may_be_either_ones() -> None:
    assert edited(numpy("LICENSE", "tests/__init__.py") | other("LICENSE", "other's")) == {}
    assert edited(numpy("LICENSE", "tests/__init__.py") | other("tests/__init__.py", "other's")) == {}


def test_a_module_or_a_command_does_not_become_anothers_by_being_claimed() -> None:
    assert edited(numpy("numpy/core.py") | other("numpy/core.py", "evil")) == {"numpy": ["numpy/core.py"]}
    files = server("uvicorn") | other(f"{BIN}/uvicorn", STRANGE)
    assert edited(files, "uvicorn", "main:app") == {"uvicorn": ["../../../bin/uvicorn"]}
    without: Files = {
        **files,
        f"{VENV_SITE}/uvicorn-1.0.dist-info/RECORD": record_row("uvicorn/__init__.py", "VERSION = '1.0'\n"),
    }
    assert edited(without, "uvicorn", "main:app") == {"uvicorn": [f"{BIN}/uvicorn"]}
    no_hash = server("uvicorn") | {f"{BIN}/uvicorn": STRANGE}
    record = f"{record_row('uvicorn/__init__.py', VERSION)}../../../bin/uvicorn,,\n"
    no_hash[f"{VENV_SITE}/uvicorn-1.0.dist-info/RECORD"] = record
    assert edited(no_hash, "uvicorn", "main:app") == {"uvicorn": [f"{BIN}/uvicorn"]}


def test_files_that_conda_changed_are_what_its_record_says() -> None:
    root = "/opt/conda"
    site = f"{root}/lib/python3.11/site-packages"
    base: Files = {f"{root}/bin/python3.11": debian()["/usr/bin/python3.11"], f"{root}/lib/python3.11/os.py": ""}
    files = base | numpy("numpy/config.py", root=site) | {f"{site}/numpy/config.py": "prefix /opt/conda"}
    digest = hashlib.sha256(b"prefix /opt/conda").hexdigest()
    path = {"_path": "lib/python3.11/site-packages/numpy/config.py", "sha256_in_prefix": digest}
    record = {"name": "numpy", "version": "1.0", "build": "h1", "paths_data": {"paths": [path]}}
    known = files | {f"{root}/conda-meta/numpy-1.0-h1.json": json.dumps(record)}
    argv = (f"{root}/bin/python3.11", "/app/serve.py")
    assert edited(files, *argv) == {"numpy": ["numpy/config.py"]}
    assert edited(known, *argv) == {}
    assert edited(known | {f"{site}/numpy/config.py": "evil"}, *argv) == {"numpy": ["numpy/config.py"]}


def test_files_that_debian_changed_are_what_its_lists_say() -> None:
    site = "/usr/lib/python3/dist-packages"
    files = numpy("numpy/core.py", root=site) | {f"{site}/numpy/core.py": "patched"}
    lists = f"{hashlib.md5(b'patched').hexdigest()}  usr/lib/python3/dist-packages/numpy/core.py\n"
    argv = ("/usr/bin/python3", "/app/serve.py")
    assert edited(files, *argv) == {"numpy": ["numpy/core.py"]}
    assert edited(files | {"/var/lib/dpkg/info/python3-numpy.md5sums": lists}, *argv) == {}


@pytest.mark.parametrize("text", [PIP, NEW_PIP, UV, PIP.replace("/opt/venv/bin/python3", "/usr/bin/env python3")])
def test_a_command_that_any_installer_would_write_is_fine_whatever_the_record_says(text: str) -> None:
    assert edited(server("uvicorn") | {f"{BIN}/uvicorn": text}, "uvicorn", "main:app") == {}


def test_an_edited_command_is_named_also_where_the_image_does_not_start_it() -> None:
    files = server("uvicorn") | {f"{BIN}/uvicorn": STRANGE}
    assert edited(files) == {"uvicorn": ["../../../bin/uvicorn"]}
    shell = server("uvicorn") | {f"{BIN}/uvicorn": "#!/bin/sh\nexec /opt/venv/bin/python /app/serve.py\n"}
    assert edited(shell) == {"uvicorn": ["../../../bin/uvicorn"]}


def test_a_command_that_no_record_lists_is_named_where_it_is_executed() -> None:
    files = server("uvicorn") | {"/opt/e/uvicorn": STRANGE}
    assert edited(files, "uvicorn", "main:app", env={"PATH": f"/opt/e:{BIN}:/usr/bin"}) == {"uvicorn": ["/opt/e/uvicorn"]}
    unlisted = files | {f"{VENV_SITE}/uvicorn-1.0.dist-info/RECORD": record_row("uvicorn/__init__.py", "VERSION = '1.0'\n")}
    strange = unlisted | {f"{BIN}/uvicorn": STRANGE}
    assert edited(strange, "uvicorn", "main:app") == {"uvicorn": [f"{BIN}/uvicorn"]}
    assert edited(unlisted, "uvicorn", "main:app") == {}


def test_the_command_that_mlflow_executes_is_looked_at() -> None:
    argv = ("/opt/venv/bin/mlflow", "models", "serve", "-m", "/m", "--env-manager", "local")
    files = MLFLOW | {"/opt/e/uvicorn": STRANGE}
    assert edited(files, *argv) == {}
    assert edited(files, *argv, env={"PATH": f"/opt/e:{BIN}:/usr/bin"}) == {"uvicorn": ["/opt/e/uvicorn"]}


def test_a_command_that_calls_another_entry_point_than_the_declared_one_is_named() -> None:
    files = server("uvicorn") | {f"{BIN}/uvicorn": PIP.replace("uvicorn.main", "evil.main")}
    assert edited(files, "uvicorn", "x:app") == {"uvicorn": ["../../../bin/uvicorn"]}


def test_what_setuptools_wrote_is_the_command_of_its_name() -> None:
    files = server("gunicorn") | {f"{BIN}/gunicorn": SETUPTOOLS}
    assert edited(files, "gunicorn", "main:app") == {}
    assert edited(server("uvicorn") | {f"{BIN}/uvicorn": SETUPTOOLS}) == {"uvicorn": ["../../../bin/uvicorn"]}


def test_ones_own_script_that_bears_no_commands_name_is_left_alone() -> None:
    files = server("uvicorn") | {f"{BIN}/serve": STRANGE}
    assert edited(files, "serve") == {}


def test_the_digest_of_the_files_is_what_the_record_states_of_all_but_the_metadata() -> None:
    (was,) = described(numpy("numpy/core.py")).packages
    (has,) = described(numpy("numpy/core.py", "numpy-1.0.dist-info/LICENSE")).packages
    assert (was.files, was.files is None) == (has.files, False)
    assert was.content != has.content
    # Neither a file that is missing nor one that was edited hides what the RECORD states.
    (slim,) = described(numpy("numpy/core.py"), gone=(f"{VENV_SITE}/numpy/core.py",)).packages
    assert (slim.files, slim.changed_count) == (was.files, 1)
    rows: Files = {f"{VENV_SITE}/numpy-1.0.dist-info/RECORD": record_row("numpy/__init__.py", "evil")}
    (rewritten,) = described(numpy("numpy/core.py") | rows).packages
    assert rewritten.files != was.files


def test_a_distribution_that_has_lost_its_record_is_named_unless_the_system_brought_it() -> None:
    record = "numpy-1.0.dist-info/RECORD"
    assert edited(numpy(), gone=(f"{VENV_SITE}/{record}",)) == {"numpy": [record]}
    site = "/usr/lib/python3/dist-packages"
    argv = ("/usr/bin/python3", "/app/serve.py")
    assert edited(numpy(root=site), *argv, gone=(f"{site}/{record}",)) == {}
    egg: Files = {f"{VENV_SITE}/old.egg-info/PKG-INFO": "Name: old\nVersion: 1\n"}
    assert edited(egg) == {}
