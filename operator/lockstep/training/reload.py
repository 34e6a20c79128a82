"""The fresh process that reloads a model and predicts its input example: `python -m lockstep.training.reload URI OUT`."""

import json
import sys
from pathlib import Path


def main() -> None:
    """Write to OUT which top-level modules the model brought, and why the prediction failed if it did."""
    model_uri, out = sys.argv[1:]
    import mlflow.pyfunc

    # What MLflow itself imports says nothing about the model.
    before = {name.partition(".")[0] for name in sys.modules}
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
    Path(out).write_text(json.dumps({"modules": modules, "why": why}))


if __name__ == "__main__":
    main()
