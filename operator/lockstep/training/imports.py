"""Which modules are asked for and by whom, those that are imported already included."""

import builtins
import sys
from typing import Any

PICKLE = "pickle"
"""Stands for whatever reads pickles, as the one who asks for what they name."""


def watch_imports() -> set[tuple[str, str]]:
    """Watch this process from now to its end, and return a set that grows: who asks and what for, as top-level names.

    `sys.modules` does not show that a model needs NumPy where MLflow has imported it before. Import statements go through
    `builtins.__import__` (Python reference, "The import system"), what pickles name through the audit event
    `pickle.find_class`. What `importlib.import_module` finds imported already is not seen.
    """
    seen: set[tuple[str, str]] = set()
    original = builtins.__import__

    def recording_import(name: str, *more: Any, **named: Any) -> Any:
        module = original(name, *more, **named)
        # The arguments of `__import__` are name, globals, locals, fromlist, level.
        given = dict(zip(("globals", "locals", "fromlist", "level"), more, strict=False)) | named
        importer = (given.get("globals") or {}).get("__name__")
        # A relative import stays within what asks.
        if given.get("level", 0) == 0 and isinstance(importer, str):
            seen.add((_top(importer), _top(name)))
        return module

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "pickle.find_class":
            seen.add((PICKLE, _top(str(arguments[0]))))

    builtins.__import__ = recording_import
    # Neither is ever taken back: the process is there for one model.
    sys.addaudithook(audit)
    return seen


def _top(name: str) -> str:
    return name.partition(".")[0]
