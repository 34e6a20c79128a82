"""The analyser's name changes with the code that analyses, and with nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import lockstep
from lockstep.images.scan.analyser import ANALYSER


def named(root: Path) -> str:
    """Return the analyser's name of a copy of the code."""
    command = [sys.executable, "-c", "from lockstep.images.scan.analyser import ANALYSER; print(ANALYSER)"]
    done = subprocess.run(command, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_it_changes_with_the_code_that_analyses_and_with_nothing_else(tmp_path: Path) -> None:
    copy = tmp_path / "lockstep"
    shutil.copytree(Path(lockstep.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert named(tmp_path) == ANALYSER, "wherever it is installed"
    (copy / "controller" / "more.py").write_text("MORE = 1\n")
    assert named(tmp_path) == ANALYSER
    (copy / "environment" / "catalogue" / "system" / "more.py").write_text("MORE = 1\n")
    with_more = named(tmp_path)
    assert with_more != ANALYSER
    (copy / "environment" / "catalogue" / "system" / "more.py").rename(
        copy / "environment" / "catalogue" / "system" / "most.py"
    )
    assert named(tmp_path) not in (ANALYSER, with_more)
