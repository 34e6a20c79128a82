"""What runs in every process of an image's interpreter before its program does."""

from typing import Any

import pytest

from lockstep.environment.catalogue.python.startup import HARMLESS
from lockstep.environment.document import EnvironmentDocument
from lockstep.formats.canonical import sha256_of
from tests.fakes.roots import VENV_SITE, Files, To, distribution, record_row
from tests.unit.environment.catalogue.python.test_code import described

CODE = "import evil\n"
LIBRARY = "/usr/lib/python3.11"
APPORT = """# install the apport exception handler if available
try:
    import apport_python_hook
except ImportError:
    pass
else:
    apport_python_hook.install()
"""
NAMESPACE = (
    "import sys, types, os;has_mfs = sys.version_info > (3, 5);"
    "p = os.path.join(sys._getframe(1).f_locals['sitedir'], *('google',));"
    "importlib = has_mfs and __import__('importlib.util');has_mfs and __import__('importlib.machinery');"
    "m = has_mfs and sys.modules.setdefault('google', importlib.util.module_from_spec("
    "importlib.machinery.PathFinder.find_spec('google', [os.path.dirname(p)])));"
    "m = m or sys.modules.setdefault('google', types.ModuleType('google'));"
    "mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)\n"
)


def hooks(files: Files, *arguments: str, **more: Any) -> list[str]:
    found = described(files, *arguments, **more).startup
    assert found is not None
    return list(found)


def test_a_path_file_with_code_is_a_hook_and_one_of_directories_is_none() -> None:
    files: Files = {f"{VENV_SITE}/a.pth": f"/src\n{CODE}", f"{VENV_SITE}/b.pth": "/src\n# import x\n", "/src": None}
    found = described(files).startup
    assert found == {"a.pth": sha256_of(f"/src\n{CODE}".encode())}


def test_path_files_count_in_site_directories_only_and_hidden_ones_do_not_run() -> None:
    assert hooks({"/app/a.pth": CODE, f"{VENV_SITE}/.b.pth": CODE, f"{VENV_SITE}/c.pth": "import\tx\n"}) == ["c.pth"]


def test_without_site_nothing_runs() -> None:
    files: Files = {f"{VENV_SITE}/a.pth": CODE, f"{LIBRARY}/sitecustomize.py": "1"}
    assert hooks(files, "-S", "/app/serve.py") == []
    assert sorted(hooks(files, "-I", "/app/serve.py")) == ["a.pth", "sitecustomize.py"]


def test_the_first_sitecustomize_runs_wherever_it_is() -> None:
    files: Files = {f"{LIBRARY}/sitecustomize.py": "1", f"{VENV_SITE}/sitecustomize.py": "2", "/libs/sitecustomize.py": "3"}
    assert described(files).startup == {"sitecustomize.py": sha256_of(b"1")}
    assert described(files, env={"PYTHONPATH": "/libs"}).startup == {"sitecustomize.py": sha256_of(b"3")}


def test_a_package_or_byte_code_can_be_sitecustomize_too() -> None:
    assert hooks({f"{VENV_SITE}/sitecustomize/__init__.py": "1"}) == ["sitecustomize/__init__.py"]
    assert hooks({f"{VENV_SITE}/sitecustomize.pyc": "1"}) == ["sitecustomize.pyc"]


def test_the_scripts_directory_is_not_on_the_path_yet() -> None:
    assert hooks({"/app/sitecustomize.py": "1"}) == []


def test_usercustomize_runs_only_where_the_users_directory_is_taken() -> None:
    files: Files = {f"{LIBRARY}/usercustomize.py": "1"}
    assert hooks(files) == []
    shown: Files = {"/opt/venv/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = true\n"}
    assert hooks(files | shown) == ["usercustomize.py"]
    assert hooks(files | shown, "-s", "/app/serve.py") == []


def test_hooks_of_one_name_in_two_directories_both_count() -> None:
    shown: Files = {"/opt/venv/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = true\n"}
    files: Files = {f"{VENV_SITE}/a.pth": CODE, "/usr/local/lib/python3.11/dist-packages/a.pth": "import other\n"}
    assert hooks(files | shown) == ["a.pth", "/usr/local/lib/python3.11/dist-packages/a.pth"]


def test_debians_own_is_harmless_and_another_of_its_name_is_not() -> None:
    files: Files = {f"{LIBRARY}/sitecustomize.py": To("/etc/python3.11/sitecustomize.py")}
    assert sha256_of(APPORT.encode()) in HARMLESS
    assert hooks(files | {"/etc/python3.11/sitecustomize.py": APPORT}) == []
    assert hooks(files | {"/etc/python3.11/sitecustomize.py": APPORT + "import evil\n"}) == ["sitecustomize.py"]


def test_virtualenvs_own_is_as_harmless_as_the_module_that_it_imports() -> None:
    files: Files = {f"{VENV_SITE}/_virtualenv.pth": "import _virtualenv"}
    evil = sha256_of(b"evil")
    assert described(files | {f"{VENV_SITE}/_virtualenv.py": "evil"}).startup == {"_virtualenv.pth": evil}
    assert hooks(files) == ["_virtualenv.pth"]


def test_what_setuptools_writes_for_namespaces_is_harmless_and_what_follows_it_is_not() -> None:
    assert hooks({f"{VENV_SITE}/google-nspkg.pth": NAMESPACE}) == []
    assert hooks({f"{VENV_SITE}/google-nspkg.pth": NAMESPACE.rstrip() + ";import evil\n"}) == ["google-nspkg.pth"]
    assert hooks({f"{VENV_SITE}/google-nspkg.pth": NAMESPACE + CODE}) == ["google-nspkg.pth"]


def owned(body: str, row: str) -> EnvironmentDocument:
    return described(distribution(VENV_SITE, "x", "1.0", RECORD=row) | {f"{VENV_SITE}/x.pth": body})


def test_a_hook_of_a_distribution_is_the_distributions() -> None:
    found = owned(CODE, record_row("x.pth", CODE))
    assert found.startup == {}
    assert [package.startup for package in found.packages] == [("x.pth",)]


@pytest.mark.parametrize("row", [record_row("x.pth", "another"), "x.pth,,\n"])
def test_a_hook_that_is_not_the_one_that_its_distribution_brought_is_nobodys(row: str) -> None:
    found = owned(CODE, row)
    assert found.startup == {"x.pth": sha256_of(CODE.encode())}
    assert [package.startup for package in found.packages] == [None]


def test_a_customization_beside_the_script_runs_where_the_variable_shows_its_directory_too() -> None:
    files: Files = {"/app/sitecustomize.py": CODE}
    assert hooks(files) == []
    assert hooks(files, env={"PYTHONPATH": "/app"}) == ["sitecustomize.py"]


def test_libraries_that_every_program_loads_are_a_hook() -> None:
    assert hooks({"/etc/ld.so.preload": "\n \n"}) == []
    files: Files = {"/etc/ld.so.preload": "/opt/evil.so\n", "/opt/evil.so": b"one"}
    assert hooks(files) == ["/etc/ld.so.preload"]
    other = described(files | {"/opt/evil.so": b"other"}).startup
    assert described(files).startup != other
    assert hooks({"/etc/ld.so.preload": "libx.so:liby.so"}) == ["/etc/ld.so.preload"]
