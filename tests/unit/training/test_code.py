"""Which of the files that a reload imported are somebody's own code."""

import json
import subprocess
import sys
from pathlib import Path

from lockstep.environment.catalogue.launch.path import SearchPath
from lockstep.formats.canonical import sha256_of
from lockstep.training.code import OwnCode, own_code_of
from tests.fakes.roots import VENV_SITE, Files, To, distribution, tree

LIBRARY = "/usr/lib/python3.11"
PATH = SearchPath(
    entries=("/work", LIBRARY, VENV_SITE),
    library=frozenset({LIBRARY}),
    site=(VENV_SITE,),
    early=(LIBRARY, VENV_SITE),
    series="3.11",
)
DIGEST = "sha256:" + "a" * 64


def own(*modules: tuple[str, str], files: Files | None = None, spelled: tuple[str, ...] = PATH.entries) -> dict[str, str]:
    root = tree(distribution(VENV_SITE, "numpy", "1.0"), {f"{LIBRARY}/os.py": "", "/src/own.py": ""}, files or {})
    found = own_code_of(root, PATH, [(module, file, DIGEST) for module, file in modules], spelled)
    assert set(found.digests.values()) <= {DIGEST}
    return dict.fromkeys(found.digests, "")


def test_what_no_distribution_and_not_the_standard_library_owns_is_own_code() -> None:
    found = own(
        ("own.py", "/src/own.py"),
        ("os.py", f"{LIBRARY}/os.py"),
        ("numpy/__init__.py", f"{VENV_SITE}/numpy/__init__.py"),
        ("loose.py", f"{VENV_SITE}/loose.py"),
        ("fraud/features.py", "/tmp/model/code/fraud/features.py"),
    )
    assert list(found) == ["fraud/features.py", "loose.py", "own.py"]


def test_tools_hooks_and_generated_modules_are_not() -> None:
    names = ["mlflow/x.py", "lockstep/x.py", "sitecustomize.py", "__editable___x_finder.py", "_remote_module_non_scriptable.py"]
    assert own(*[(name, f"/src/{name}") for name in names]) == {}


def test_what_was_installed_from_a_directory_is_and_a_wheel_is_not() -> None:
    url = '{"url": "file:///x", "%s": {}}'
    files = distribution(VENV_SITE, "mine", "1.0", direct_url__json=url % "dir_info")
    files |= distribution(VENV_SITE, "wheel", "1.0", direct_url__json=url % "archive_info")
    modules = [(f"{name}/__init__.py", f"{VENV_SITE}/{name}/__init__.py") for name in ("mine", "wheel")]
    assert list(own(*modules, files=files)) == ["mine/__init__.py"]


def test_a_path_with_links_is_the_path_that_it_leads_to() -> None:
    module = ("numpy/__init__.py", "/venv/lib/python3.11/site-packages/numpy/__init__.py")
    assert own(module, files={"/venv": To("/opt/venv")}, spelled=("/venv/lib/python3.11/site-packages",)) == {}


def test_a_module_whose_file_could_not_be_read_is_named() -> None:
    assert own_code_of(tree({}), PATH, [("own.py", "/src/own.py", None)], PATH.entries) == OwnCode({}, ("own.py",))


def test_a_process_tells_its_modules_by_import_path_and_digest(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    for name, text in {"pack/__init__.py": "", "pack/part.py": "x = 1", "gone.py": ""}.items():
        (tmp_path / name).write_text(text)
    script = "import sys, os, json; sys.path.insert(0, sys.argv[1])\n"
    script += "import pack.part, gone\nfrom lockstep.training.reload import loaded_modules\nos.remove(gone.__file__)\n"
    script += "print(json.dumps([f for f in loaded_modules() if f[1].startswith(sys.argv[1])]))"
    operator = Path(__file__).resolve().parents[3] / "operator"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(operator)},
    )
    found = {module: digest for module, _, digest in json.loads(done.stdout)}
    assert found == {"pack/__init__.py": sha256_of(b""), "pack/part.py": sha256_of(b"x = 1"), "gone.py": None}
