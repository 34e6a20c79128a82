"""The training examples of the pages, run as they stand against a real MLflow server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.pages.blocks import blocks

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "training.md"]
EXAMPLES = [(page, block.text) for page in PAGES for block in blocks(page) if block.language == "python"]
BEFORE = """
import mlflow, pandas
from sklearn.linear_model import LogisticRegression
import lockstep.training
mlflow.set_experiment({experiment!r})
X, y = pandas.DataFrame({{"x": [0.0, 1.0, 2.0, 3.0]}}), [0, 0, 1, 1]
model = LogisticRegression().fit(X, y)
"""


def test_there_are_examples_on_both_pages() -> None:
    assert {page for page, _ in EXAMPLES} == set(PAGES)


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=[f"{page.name}-{number}" for number, (page, _) in enumerate(EXAMPLES)])
def test_an_example_records_the_environment(page: Path, text: str, tracking: str, tmp_path: Path) -> None:
    experiment = f"pages-{EXAMPLES.index((page, text))}"
    script = tmp_path / "train.py"
    script.write_text(BEFORE.format(experiment=experiment) + text)
    done = subprocess.run(
        [sys.executable, script], env=dict(os.environ), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    client = MlflowClient(tracking)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    assert [key for run in runs for key in run.data.params if key.startswith("lockstep.environment")], done.stderr
