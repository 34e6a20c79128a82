"""Writes the generated files: `python -m lockstep.crds [--check]`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lockstep.crds.files import files


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the generated files below the present directory, or with --check say which differ."""
    check = "--check" in (sys.argv[1:] if arguments is None else arguments)
    root = Path.cwd()
    if not (root / "pyproject.toml").exists():
        sys.stderr.write("run this in the root of the repository\n")
        return 2
    drifted = [path for path, text in files().items() if not (root / path).exists() or (root / path).read_text() != text]
    for path in drifted:
        if check:
            sys.stderr.write(f"{path} is not what types and tables say: run `python -m lockstep.crds`\n")
            continue
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(files()[path])
    return 1 if check and drifted else 0


if __name__ == "__main__":
    sys.exit(main())
