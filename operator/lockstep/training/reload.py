"""The fresh process that reloads a model and predicts its input example: `python -m lockstep.training.reload URI OUT`."""

import hashlib
import json
import os
import sys
from pathlib import Path

from lockstep.training.imports import watch_imports


def loaded_modules() -> list[tuple[str, str, str | None]]:
    """Return for every imported module that has a file: its import path, the file, and its digest or None if unreadable.

    The digests are taken here, since the model's own code may lie in a directory that ends with this process.
    """
    found: list[tuple[str, str, str | None]] = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        spec = getattr(module, "__spec__", None)
        if not isinstance(file, str) or spec is None or name != spec.name or name in ("__main__", "__mp_main__"):
            continue
        stem = f"{name.replace('.', '/')}/__init__" if spec.submodule_search_locations is not None else name.replace(".", "/")
        path = Path(os.path.abspath(file))
        try:
            digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        except OSError:
            digest = None
        found.append((stem + path.suffix, str(path), digest))
    return found


def main() -> None:
    """Write to OUT what the model imported, and why the prediction failed if so.

    `modules` are the top-level modules that MLflow alone does not import, `asked` says who imported what, `files` are all
    files of modules.
    """
    model_uri, out = sys.argv[1:]
    import mlflow.pyfunc

    # What MLflow itself imports says nothing about the model.
    before = {name.partition(".")[0] for name in sys.modules}
    asked = watch_imports()
    why: str | None = None
    model = mlflow.pyfunc.load_model(model_uri)
    example = model.input_example
    if example is None:
        why = "the model has no input example: pass input_example to log_model"
    else:
        try:
            model.predict(example)
        except Exception as error:  # whatever the model raises is the answer
            why = f"predicting the input example failed: {type(error).__name__}: {error}"
    modules = sorted({name.partition(".")[0] for name in sys.modules} - before)
    answer = {"modules": modules, "asked": sorted(asked.copy()), "files": loaded_modules(), "why": why}
    Path(out).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
