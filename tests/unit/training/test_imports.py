"""What a model asks for, where that is imported already."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def asked(script: str, folder: Path) -> set[tuple[str, str]]:
    """Run a script in a process of its own, since watching never ends."""
    head = "import json, pickle, fractions\nfrom lockstep.training.imports import watch_imports\nseen = watch_imports()\n"
    text = head + textwrap.dedent(script) + "\nprint(json.dumps(sorted(seen)))"
    paths = [str(ROOT / "operator"), str(folder)]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{text}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return {(asker, wanted) for asker, wanted in json.loads(done.stdout)}


def test_an_import_of_what_is_there_already_is_seen_with_the_one_who_asks(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/__init__.py").write_text("from . import parts\n")
    (tmp_path / "own/parts.py").write_text("import fractions\nfrom json.decoder import JSONDecoder\n")
    seen = asked("import own", tmp_path)
    assert {("__main__", "own"), ("own", "fractions"), ("own", "json")} <= seen


def test_what_a_pickle_names_is_seen(tmp_path: Path) -> None:
    assert ("pickle", "fractions") in asked("pickle.loads(pickle.dumps(fractions.Fraction(1, 2)))", tmp_path)
    assert ("pickle", "fractions") in asked("pickle._loads(pickle.dumps(fractions.Fraction(1, 2)))", tmp_path)
    assert ("pickle", "fractions") not in asked("fractions.Fraction(1, 2)", tmp_path)


def test_an_import_that_fails_is_not_and_fails_as_ever(tmp_path: Path) -> None:
    script = """
        try:
            import nowhere
        except ModuleNotFoundError as error:
            assert error.name == "nowhere"
        else:
            raise AssertionError
        assert __import__("json.decoder") is json
        assert __import__("json.decoder", fromlist=["x"]) is json.decoder
    """
    assert "nowhere" not in {wanted for _, wanted in asked(script, tmp_path)}
