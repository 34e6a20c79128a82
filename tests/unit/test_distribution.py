"""What is installed, under which name, and that no page tells people to install somebody else's package."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

from lockstep import __version__
from lockstep.api.environmentspec import PackagesSpec
from lockstep.cli.extras import DISTRIBUTION
from lockstep.environment.lock import lock
from tests.fakes import builders as build

ROOT = Path(__file__).resolve().parents[2]
OURS = "lockstep-gate"
_PAGES = ("*.md", "docs/**/*.md", "operator/**/*.py", "examples/**/*", "charts/**/*", "requirements/*", "pyproject.toml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (made,) = folder.iterdir()
    assert made.name == f"lockstep_gate-{__version__}-py3-none-any.whl"
    return zipfile.ZipFile(made)


def metadata(wheel: zipfile.ZipFile) -> Message:
    return message_from_string(wheel.read(f"lockstep_gate-{__version__}.dist-info/METADATA").decode())


def test_the_distribution_has_a_name_of_its_own_and_the_programs_keep_theirs(wheel: zipfile.ZipFile) -> None:
    assert metadata(wheel)["Name"] == OURS == DISTRIBUTION
    programs = wheel.read(f"lockstep_gate-{__version__}.dist-info/entry_points.txt").decode()
    assert "lockstep = lockstep.cli.main:main" in programs
    assert "kubectl-lockstep = lockstep.cli.main:main" in programs
    assert "lockstep/__init__.py" in wheel.namelist()


def test_a_wheel_asks_for_nothing_that_is_called_lockstep(wheel: zipfile.ZipFile) -> None:
    wanted = metadata(wheel).get_all("Requires-Dist") or []
    assert len(wanted) > 10
    assert not [one for one in wanted if re.match(r"lockstep(?!-gate)\b", one)]
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for extra in stated["optional-dependencies"].values() for one in extra]
    assert {one.partition("[")[0] for one in extras if one.startswith("lockstep")} == {OURS}


def test_no_page_tells_people_to_install_somebody_elses_package() -> None:
    pages = {path for pattern in _PAGES for path in ROOT.glob(pattern) if path.is_file()}
    assert len(pages) > 100
    for page in pages:
        text = page.read_text(errors="replace")
        assert not re.search(r"\blockstep\[", text), f"{page} names the extra of another project"
        named = re.search(r"(pip|pipx|uv|uvx) [^\n`]*\binstall [^\n`]*[\"' ]lockstep(?![-_/\w])", text)
        assert named is None, f"{page}: {named}"


def test_what_records_is_not_asked_of_the_image() -> None:
    """The recorder is installed where the model was trained; a serving image has no use for it."""
    assert OURS in PackagesSpec().ignore
    document = build.document(build.TRAINED | {OURS: __version__})
    assert OURS not in lock(document, source="models:/iris/1")
