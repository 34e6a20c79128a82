"""The scripts that installers write for entry points."""

import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.environment.catalogue.launch.entryscript import console_scripts, entry_point, loaded_entry_point
from tests.fakes.roots import tree

PIP = """#!/opt/venv/bin/python3
# -*- coding: utf-8 -*-
import re
import sys
from uvicorn.main import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""
NEW_PIP = """#!/opt/venv/bin/python3
import sys
from uvicorn.main import main
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit(main())
"""
UV = """#!/opt/venv/bin/python
# -*- coding: utf-8 -*-
import sys
from uvicorn.main import main
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit(main())
"""
LONG = PIP.replace("#!/opt/venv/bin/python3\n", "#!/bin/sh\n'''exec' \"/a b/python3\" \"$0\" \"$@\"\n' '''\n")
CONDA = PIP.replace("pyw|", "pyw?|").replace("import main\n", "import main\n\n")
SETUPTOOLS = """#!/usr/bin/python3
# EASY-INSTALL-ENTRY-SCRIPT: 'gunicorn==20.1.0','console_scripts','gunicorn'
import re
import sys

# for compatibility with easy_install; see #2198
__requires__ = 'gunicorn==20.1.0'

try:
    from importlib.metadata import distribution
except ImportError:
    try:
        from importlib_metadata import distribution
    except ImportError:
        from pkg_resources import load_entry_point


def importlib_load_entry_point(spec, group, name):
    dist_name, _, _ = spec.partition('==')
    matches = (
        entry_point
        for entry_point in distribution(dist_name).entry_points
        if entry_point.group == group and entry_point.name == name
    )
    return next(matches).load()


globals().setdefault('load_entry_point', importlib_load_entry_point)


if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw?|\\.exe)?$', '', sys.argv[0])
    sys.exit(load_entry_point('gunicorn==20.1.0', 'console_scripts', 'gunicorn')())
"""


@pytest.mark.parametrize("text", [PIP, NEW_PIP, UV, LONG, CONDA, PIP.replace("\n", "\r\n")])
def test_what_each_installer_writes_is_known(text: str) -> None:
    assert entry_point(text) == "uvicorn.main:main"


def test_an_attribute_of_what_is_imported_may_be_called() -> None:
    text = PIP.replace("uvicorn.main import main", "granian import cli").replace("exit(main())", "exit(cli.entrypoint())")
    assert entry_point(text) == "granian:cli.entrypoint"


def test_what_setuptools_wrote_looks_the_entry_point_up() -> None:
    assert loaded_entry_point(SETUPTOOLS) == ("gunicorn", "gunicorn")
    assert entry_point(SETUPTOOLS) is None
    assert loaded_entry_point(SETUPTOOLS + "import evil\n") is None


@pytest.mark.parametrize(
    "change",
    [
        ("import sys\n", "import sys\nsys.path.insert(0, '/opt/e')\n"),
        ("import sys\n", "import sys; import evil\n"),
        ("import re\n", "import re as sys\n"),
        ("sys.exit(main())", "sys.argv.append('--app-dir=/opt/e'); sys.exit(main())"),
        ("sys.exit(main())", "sys.exit(main('x'))"),
        ("sys.exit(main())", "sys.exit(other())"),
        ("from uvicorn.main import main\n", "from uvicorn.main import main\nfrom evil import main\n"),
        ("utf-8", "rot13"),
        ("# -*- coding: utf-8 -*-", "# vim: set fileencoding=utf-7 :"),
        ("import re\n", "import re\x0cimport evil\n"),
    ],
)
def test_a_script_that_does_anything_else_is_nobodys_entry_point(change: tuple[str, str]) -> None:
    assert entry_point(PIP.replace(*change)) is None


def test_the_scripts_beside_the_running_interpreter_are_known(tmp_path: Path) -> None:
    """What the pip of today really writes."""
    wheel = tmp_path / "iris-1.0-py3-none-any.whl"
    _wheel(wheel)
    target = tmp_path / "target"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)
    assert entry_point((target / "bin/iris-serve").read_text()) == "iris.app:cli.run"


def _wheel(path: Path) -> None:
    import zipfile

    folder = "iris-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("iris/__init__.py", "")
        archive.writestr(f"{folder}/METADATA", "Metadata-Version: 2.1\nName: iris\nVersion: 1.0\n")
        archive.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{folder}/entry_points.txt", "[console_scripts]\niris-serve = iris.app:cli.run\n")
        archive.writestr(f"{folder}/RECORD", "")


def test_declared_commands_are_read() -> None:
    text = "[console_scripts]\nuvicorn = uvicorn.main:main\nx=a.b:c [extra]\n\n[other]\ny = z:z\n"
    root = tree({"/s/u-1.dist-info/entry_points.txt": text})
    assert console_scripts(root, "/s/u-1.dist-info") == {"uvicorn": "uvicorn.main:main", "x": "a.b:c"}
    assert console_scripts(root, "/s/none.dist-info") == {}
