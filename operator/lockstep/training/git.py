"""Whether the training script's working tree is the commit that MLflow recorded."""

import subprocess
import sys
from pathlib import Path

_SECONDS = 20


def dirty_tree(commit: str) -> bool | None:
    """Return whether the tree of the main script differs from `commit`; None when that could not be determined.

    Changes of tracked files count, and untracked Python files: they can be imported. Other untracked files are output.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = str(Path(script).resolve().parent) if script else "."
    if _git(folder, "rev-parse", "HEAD") != commit:
        return None
    status = _git(folder, "status", "--porcelain", "--untracked-files=all")
    if status is None:
        return None
    lines = status.splitlines()
    return any(not line.startswith("??") or line.rstrip('"').endswith(".py") for line in lines)


def _git(folder: str, *arguments: str) -> str | None:
    command = ["git", "-C", folder, *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
