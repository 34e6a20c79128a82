"""Writes some packages of a dpkg status file as one file each, without their Status lines: status.py STATUS FOLDER NAME..."""

import sys
from pathlib import Path

status, folder, *names = sys.argv[1:]
Path(folder).mkdir(parents=True)
for stanza in Path(status).read_text().split("\n\n"):
    lines = [line for line in stanza.splitlines() if not line.startswith("Status:")]
    name = next((line.removeprefix("Package: ") for line in lines if line.startswith("Package: ")), "")
    if name in names:
        (Path(folder) / name).write_text("\n".join(lines) + "\n")
