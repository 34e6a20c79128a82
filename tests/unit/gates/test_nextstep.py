"""The next step of a refused image: what helps for each kind of difference, with the command last where there is one."""

from typing import Any

import pytest

from lockstep.api.environmentspec import EnvironmentSpec
from lockstep.api.reasons import Reason
from lockstep.environment.comparison.compare import Difference, DifferenceKind
from lockstep.environment.document import Package
from lockstep.gates.chain import evaluate
from lockstep.gates.nextstep import image_step
from lockstep.images.scan.result import ImageModel
from tests.fakes import builders as build

K = DifferenceKind
LOCK = "build it from the recorded environment: lockstep environment lock models:/iris/3"


def difference(kind: DifferenceKind, subject: str, trained: str | None, image: str | None) -> Difference:
    return Difference(kind, subject, trained, image, "differs")


def step(
    *differences: tuple[DifferenceKind, str, str | None, str | None], reference: str = f"r/iris@{build.DIGEST}", **rules: Any
) -> str:
    spec = EnvironmentSpec.model_validate(rules)
    made = [difference(*one) for one in differences]
    return image_step(made, spec, model="models:/iris/3", reference=reference).removeprefix("Next step (image): ")


@pytest.mark.parametrize(
    ("differs", "helps"),
    [
        ((K.PACKAGE, "scikit-learn", "1.4.2", "1.2.0"), LOCK),
        ((K.PACKAGE, "joblib", "1.5.3", None), LOCK),
        (
            (K.PACKAGE, "debugpy", None, "1.8"),
            "remove debugpy, or ask the platform team to list it (environment.packages.listedExtras)",
        ),
        (
            (K.PACKAGE, "numpy", "2.4.6", "2.4.6"),
            "install numpy again from its wheel, that of training where training had it, and leave its files as they are",
        ),
        ((K.PYTHON, "python", "3.12.1", "3.11.2"), "take a base image with Python 3.12, which no lock changes"),
        (
            (K.PYTHON, "python", "pypy 3.10.14", "cpython 3.11.2"),
            "take a base image with Python 3.10 (pypy), which no lock changes",
        ),
        (
            (K.LIBRARY, "libgomp.so.1", None, "missing"),
            "install the system package that has libgomp.so.1 (on Debian and Ubuntu: apt-get install libgomp1)",
        ),
        ((K.LIBRARY, "libodd.so.7", None, "missing"), "install the system package that has libodd.so.7"),
        ((K.LIBRARY, "_x.so", None, "undetermined"), "install again the package whose libraries can't be read"),
        (
            (K.CODE, "feat.py", "sha256:1", None),
            "copy feat.py to where the image's Python imports from, or log the model with code_paths",
        ),
        ((K.CODE, "json.py", None, "sha256:2"), "remove the file json.py, which training did not have"),
        (
            (K.CODE, "/usr/lib/python3.11/json/decoder.py", None, "not its own"),
            "leave Python's own library as the base image has it: /usr/lib/python3.11/json/decoder.py",
        ),
        ((K.CODE, "feat.py", "sha256:1", "sha256:2"), "put the file feat.py of training in its place"),
        ((K.STARTUP, "a.pth", "sha256:1", None), "copy a.pth to where the image's Python imports from"),
        ((K.STARTUP, "a.pth", None, "sha256:1"), "remove the start-up hook a.pth, which training did not have"),
        ((K.PLATFORM, "libc", "glibc 2.36", "glibc 2.31"), "take a base image with glibc 2.36 or newer"),
        ((K.PLATFORM, "machine", "x86_64", "aarch64"), "build it for x86_64"),
        ((K.PLATFORM, "cuDNN", "9.1", None), "take a base image with cuDNN 9.1"),
        ((K.PLATFORM, "cuDNN", None, "9.1"), "take a base image without cuDNN, as in training"),
        (
            (K.SYSTEM, "libgomp1", "12.2.0-14", "13.1"),
            "install the system packages of training (on Debian and Ubuntu: apt-get install libgomp1=12.2.0-14)",
        ),
        ((K.SYSTEM, "conda:mkl", "2024.0 h1", None), "install conda's packages of training: conda install 'mkl=2024.0=h1'"),
        ((K.SYSTEM, "libx", None, "1"), "remove the system packages libx, which training did not have"),
    ],
)
def test_the_step_is_one_that_helps(differs: tuple[DifferenceKind, str, str | None, str | None], helps: str) -> None:
    assert step(differs) == helps


def test_a_server_that_was_edited_in_the_image_is_installed_anew_and_not_removed() -> None:
    packages = [Package(name="uvicorn", version="0.30.0", edited=("uvicorn/main.py",))]
    image = build.document().model_copy(update={"packages": (*build.document().packages, *packages)})
    said = evaluate(build.evidence(scan=build.scan(document=image))).blocking
    assert said is not None
    assert said.next_step is not None
    assert "install uvicorn again from its wheel" in said.next_step
    assert "remove" not in said.next_step
    assert "lockstep environment lock" not in said.next_step


def test_a_lock_is_named_only_where_it_mends_something_and_then_last() -> None:
    both = step((K.PYTHON, "python", "3.12.1", "3.11.2"), (K.PACKAGE, "scipy", "1.2", "1.1"))
    assert both == f"take a base image with Python 3.12, which no lock changes; {LOCK}"
    assert "lock" not in step((K.LIBRARY, "libgomp.so.1", None, "missing"))


def test_the_policys_level_of_python_is_the_one_that_is_asked_for() -> None:
    assert "Python 3.12.1," in step((K.PYTHON, "python", "3.12.1", "3.12.2"), python="Patch")


def test_many_are_named_a_few_at_a_time() -> None:
    found = step(*((K.LIBRARY, f"lib{number}.so", None, "missing") for number in range(50)))
    assert found == "install the system package that has lib0.so, lib1.so, lib2.so, lib3.so, lib4.so, …"


def test_who_pushes_again_under_the_same_tag_is_told_that_nothing_will_happen() -> None:
    told = "push it under a new tag, or raise spec.retry: a tag is resolved once"
    package = (K.PACKAGE, "scipy", "1.2", "1.1")
    assert step(package, reference="r.example.com/iris:1") == f"{told}; {LOCK}"
    assert step((K.CODE, "feat.py", "sha256:1", None), reference="r.example.com:5000/iris").endswith(told)
    assert told not in step(package)


@pytest.mark.parametrize(
    ("image", "told"), [("registry.example.com/team/iris:2026-11", True), (f"{build.REPOSITORY}@{build.DIGEST}", False)]
)
@pytest.mark.parametrize(
    ("models", "reason"),
    [
        ((), Reason.MODEL_NOT_IN_IMAGE),
        ((build.held(files=build.files_of(build.contents(model__skops=b"others"))),), Reason.MODEL_FILES_DIFFER),
    ],
)
def test_so_is_who_is_refused_by_the_image_gate(image: str, told: bool, models: tuple[ImageModel, ...], reason: Reason) -> None:
    other = build.scan(models=models)
    strict = build.policy(images={"modelInImage": "Required"})
    verdict = evaluate(build.evidence(spec=build.spec(image=image), scan=other, policy=strict))
    (result,) = (one for one in verdict.results if one.gate == "image")
    assert result.reason is reason
    assert ("a tag is resolved once" in (result.next_step or "")) is told
