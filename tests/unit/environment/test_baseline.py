"""MLflow's own files as a weaker baseline, the closure over requirements, the lock file and the document itself."""

import json

import pytest

from lockstep.environment.comparison.closure import closure
from lockstep.environment.document import (
    EnvironmentDocument,
    Interpreter,
    InvalidDocumentError,
    Origin,
    Package,
    Platform,
    RequiredProof,
)
from lockstep.environment.lock import lock
from lockstep.environment.requirements import InvalidRequirementsError, baseline
from lockstep.formats.storage import digest_parameter, run_artifact

IMAGE = EnvironmentDocument(
    python=Interpreter(implementation="cpython", version="3.12.4"),
    platform=Platform(os="linux", machine="x86_64", libc="glibc 2.36"),
    packages=(),
    collector="test",
)


def pins(text: str) -> dict[str, str]:
    return {package.name: package.version for package in baseline(text.encode(), None, IMAGE).packages}


def python(text: bytes | None) -> str:
    return baseline(b"x==1", text, IMAGE).python.version


def test_exact_pins_are_read() -> None:
    text = "mlflow==3.4.0\nScikit_Learn==1.4.2  # comment\nuvicorn[standard]===0.30\nnumpy==1.26.4 \\\n    --hash=sha256:ab\n"
    assert pins(text) == {"mlflow": "3.4.0", "scikit-learn": "1.4.2", "uvicorn": "0.30", "numpy": "1.26.4"}


def test_what_is_no_exact_pin_is_no_evidence() -> None:
    text = "# c\n-r other.txt\n--index-url x\na>=1\nb==1.*\nc\nd @ file:///d\n!!\ne==1; python_version<'3'\nf==2\n"
    assert pins(text) == {"f": "2"}


@pytest.mark.parametrize("text", ["", "numpy\n", "x" * (1024 * 1024 + 1), "x===", "x==1\ny===", "x" * 600 + "==1"])
def test_files_that_pin_nothing_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequirementsError):
        pins(text)


def test_the_baseline_says_what_is_required_and_takes_the_rest_from_the_image() -> None:
    found = baseline(b"b==1\na==2", None, IMAGE)
    assert found.required == ("a", "b")
    assert found.required_proof is RequiredProof.PROVEN
    assert found.platform == IMAGE.platform


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (b"python: 3.11.7\nbuild_dependencies: [pip]\n", "3.11.7"),
        (b"python: '3.11.7'", "3.11.7"),
        (b"python: 3.10", "3.10"),
        (None, "3.12.4"),
        (b"build_dependencies: []", "3.12.4"),
        (b"[", "3.12.4"),
        (b"[" * 100_000, "3.12.4"),
        (b"\xff\xfe\x00", "3.12.4"),
    ],
)
def test_the_python_version_is_read_as_text(text: bytes | None, version: str) -> None:
    assert python(text) == version


def test_a_closure_holds_what_its_roots_need() -> None:
    requires = {
        "scikit-learn": ["numpy>=1", "SciPy", "pytest; extra == 'tests'", "old; python_version < '3'", "!!bad"],
        "scipy": ["numpy"],
        "numpy": [],
        "pytest": [],
        "old": [],
        "unrelated": [],
    }
    assert closure(["Scikit_Learn"], requires) == ("numpy", "scikit-learn", "scipy")


def test_a_closure_follows_extras_and_ends_on_circles() -> None:
    requires = {"a": ["b[fast]"], "b": ["a", "c; extra == 'fast'", "absent"], "c": ["a"], "d": []}
    assert closure(["a"], requires) == ("a", "b", "c")
    assert closure(["b"], requires) == ("a", "b", "c")
    assert closure(["gone"], requires) == ()


def locked(*packages: Package, **parts: object) -> list[str]:
    document = IMAGE.model_copy(update={"packages": packages, **parts})
    return lock(document, source="run 1").splitlines()


def test_a_lock_pins_what_the_model_needs_when_that_is_proven() -> None:
    packages = (Package(name="jupyter", version="1"), Package(name="numpy", version="2.0"), Package(name="pip", version="24"))
    lines = locked(*packages, required=("numpy",), required_proof=RequiredProof.PROVEN)
    assert lines[-1] == "numpy==2.0"
    assert "# Python 3.12.4 (cpython)" in lines
    assert "# Platform linux/x86_64, glibc 2.36" in lines
    assert not any("jupyter" in line for line in lines)
    assert locked(*packages)[-2:] == ["jupyter==1", "numpy==2.0"]


def test_a_lock_pins_origins() -> None:
    def line(**origin: str) -> str:
        return locked(Package(name="x", version="1", origin=Origin.model_validate(origin)))[-1]

    assert line(kind="vcs", url="https://g/x", commit="abc") == "x @ git+https://g/x@abc"
    assert line(kind="archive", url="https://e/x.whl", hash="sha256=ab") == "x @ https://e/x.whl#sha256=ab"
    assert line(kind="archive", url="file:///x.whl").startswith("# x==1")
    assert line(kind="editable", url="file:///home/me/x").startswith("# x==1")


@pytest.mark.parametrize("value", ["1.0\n--extra-index-url https://evil", "1\r", "\x1b[2J"])
def test_control_characters_are_refused_since_documents_are_written_into_files(value: str) -> None:
    document = json.dumps(IMAGE.payload() | {"packages": [{"name": "x", "version": value, "tags": []}]})
    with pytest.raises(InvalidDocumentError):
        EnvironmentDocument.parse(document.encode())


def test_a_document_survives_its_own_text() -> None:
    document = IMAGE.model_copy(update={"packages": (Package(name="x", version="1"),), "required": ("x",)})
    again = EnvironmentDocument.parse(document.canonical())
    assert again == document
    assert again.digest == document.digest


@pytest.mark.parametrize(
    "packages",
    [
        [{"name": "b", "version": "1"}, {"name": "a", "version": "1"}],
        [{"name": "a", "version": "1"}, {"name": "a", "version": "2"}],
        [{"name": "a"}],
    ],
)
def test_unsorted_double_or_incomplete_packages_are_refused(packages: list[dict[str, str]]) -> None:
    with pytest.raises(InvalidDocumentError, match="packages"):
        EnvironmentDocument.parse(json.dumps(IMAGE.payload() | {"packages": packages}).encode())


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b'{"schema": "lockstep.dev/environment/v2"}', b" " * (16 * 1024 * 1024 + 1)]
)
def test_what_is_no_document_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidDocumentError):
        EnvironmentDocument.parse(raw)


def test_where_documents_are_kept_is_agreed() -> None:
    assert run_artifact("m-1") == "lockstep/environment-m-1.json"
    assert digest_parameter("m-1") == "lockstep.environment.m-1"
