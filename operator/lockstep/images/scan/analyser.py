"""The name of what derives documents from layers. Scans and layers that were recorded under another one are read anew."""

import hashlib
from pathlib import Path

import lockstep

_CODE = ("environment", "formats", "images/layers", "images/scan")
"""Packages of which a document depends on every line."""


def _code_digest() -> str:
    root, digest = Path(lockstep.__file__).parent, hashlib.sha256()
    for package in _CODE:
        for file in sorted((root / package).rglob("*.py")):
            body = file.read_bytes()
            digest.update(f"{file.relative_to(root).as_posix()} {len(body)}\n".encode() + body)
    return digest.hexdigest()


ANALYSER = f"lockstep {lockstep.__version__} analyser {_code_digest()[:12]}"
"""Made from the code itself, so that nobody has to remember to raise a number whenever an image could give another document."""
