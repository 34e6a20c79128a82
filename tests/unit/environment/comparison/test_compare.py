"""What differs between the training environment and the image's, and how it is said."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.api.environmentspec import EnvironmentSpec
from lockstep.environment.comparison.compare import Comparison, DifferenceKind, RequiredSetError, compare
from lockstep.environment.comparison.projection import Scope, environment_digest
from lockstep.environment.comparison.text import comparison_text
from lockstep.environment.document import (
    BytecodeKind,
    Cuda,
    EnvironmentDocument,
    Interpreter,
    LibraryKind,
    Origin,
    Package,
    Platform,
    RequiredProof,
    Shadow,
    System,
)

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def document(*packages: Package | str, **parts: Any) -> EnvironmentDocument:
    made = [package(p) if isinstance(p, str) else p for p in packages or ("numpy 1.26.4", "scikit-learn 1.4.2")]
    given_parts = {
        "python": Interpreter(implementation="cpython", version="3.11.2"),
        "platform": Platform(os="linux", machine="x86_64", libc="glibc 2.36"),
        "collector": "test",
    } | parts
    return EnvironmentDocument(packages=tuple(sorted(made, key=lambda p: p.name)), **given_parts)


def package(text: str, **parts: Any) -> Package:
    name, version = text.split(" ")
    return Package(name=name, version=version, **parts)


def spec(**parts: Any) -> EnvironmentSpec:
    return EnvironmentSpec.model_validate(parts)


def sentences(trained: EnvironmentDocument, image: EnvironmentDocument, **rules: Any) -> list[str]:
    return [difference.sentence for difference in compare(trained, image, spec(**rules)).differences]


def equal(trained: EnvironmentDocument, image: EnvironmentDocument, **rules: Any) -> bool:
    found = compare(trained, image, spec(**rules))
    assert found.equal == (found.trained_digest == found.image_digest)
    return found.equal


def test_equal_environments_are_equal() -> None:
    found = compare(document(), document(), spec())
    assert found.equal
    assert found.trained_digest == found.image_digest
    assert comparison_text(found) == f"equal: 2 packages compared, environment digest {found.image_digest}"


def test_another_version_is_named() -> None:
    image = document("numpy 1.26.4", "scikit-learn 1.2.0")
    assert sentences(document(), image) == ["scikit-learn: trained with 1.4.2, image has 1.2.0"]


def test_a_missing_package_is_named() -> None:
    assert sentences(document(), document("numpy 1.26.4")) == ["scikit-learn: trained with 1.4.2, missing in the image"]


def test_frameworks_are_named_before_other_packages_and_python_before_all() -> None:
    image = document("numpy 2.0", "scikit-learn 1.2.0", python=Interpreter(implementation="cpython", version="3.12.1"))
    assert sentences(document(), image) == [
        "Python: trained with 3.11.2, image has 3.12.1",
        "scikit-learn: trained with 1.4.2, image has 1.2.0",
        "numpy: trained with 1.26.4, image has 2.0",
    ]


def test_another_implementation_is_named() -> None:
    image = document(python=Interpreter(implementation="pypy", version="3.11.2"))
    assert sentences(document(), image) == ["Python: trained with cpython 3.11.2, image has pypy 3.11.2"]


def test_pythons_patch_number_counts_when_policy_says_so() -> None:
    image = document(python=Interpreter(implementation="cpython", version="3.11.9"))
    assert equal(document(), image)
    assert not equal(document(), image, python="Patch")


def test_versions_are_compared_by_meaning_and_not_by_spelling() -> None:
    assert equal(document("x 1.4"), document("x 1.4.0"))
    assert equal(document("x 1.0rc1"), document("x 1.0-RC.1"))
    assert not equal(document("x 1.0"), document("x 1!1.0"))
    assert equal(document("x not-a-version"), document("x not-a-version"))
    assert not equal(document("x not-a-version"), document("x not-a-Version"))


def test_local_labels_count_unless_policy_ignores_them() -> None:
    trained, image = document("torch 2.7.1+cu128"), document("torch 2.7.1+cpu")
    (sentence,) = sentences(trained, image)
    assert sentence.startswith("torch: trained with 2.7.1+cu128, image has 2.7.1+cpu")
    assert "environment.packages.localVersions" in sentence
    assert equal(trained, image, packages={"localVersions": "Ignore"})
    assert equal(trained, image, accelerator="Any")
    assert not equal(document("x 1+ours"), document("x 1+theirs"), accelerator="Any")


def test_any_accelerator_equates_variants_and_drops_drivers() -> None:
    trained = document("onnxruntime-gpu 1.20", "nvidia-cublas-cu12 12.4", "triton 3.1", "numpy 2.0")
    image = document("onnxruntime 1.20", "numpy 2.0")
    assert equal(trained, image, accelerator="Any")
    assert len(sentences(trained, image)) == 3


@pytest.mark.parametrize(("built", "other"), [("xgboost-cpu", "xgboost"), ("tensorflow-cpu", "tensorflow-gpu")])
def test_builds_of_one_framework_are_equal_for_any_accelerator_and_for_no_other(built: str, other: str) -> None:
    trained, image = document(f"{built} 3.2.0", "numpy 2.0"), document(f"{other} 3.2.0", "numpy 2.0")
    assert equal(trained, image, accelerator="Any")
    assert not equal(trained, image)
    assert not equal(trained, document(f"{other} 3.1.0", "numpy 2.0"), accelerator="Any")


def test_two_builds_of_one_framework_side_by_side_are_equal_to_nothing_else() -> None:
    both, cpu = document("tensorflow 2.15.0", "tensorflow-cpu 2.14.0"), document("tensorflow-cpu 2.14.0")
    gpu = document("tensorflow 2.15.0")
    assert equal(both, both, accelerator="Any")
    assert sentences(both, cpu, accelerator="Any") == ["tensorflow: trained with 2.15.0, missing in the image"]
    assert sentences(both, gpu, accelerator="Any") == ["tensorflow-cpu: trained with 2.14.0, missing in the image"]
    other = document("tensorflow 2.16.0", "tensorflow-cpu 2.14.0")
    assert sentences(both, other, accelerator="Any") == ["tensorflow: trained with 2.15.0, image has 2.16.0"]
    # The one that trained is there, and so is another one in the same place.
    image = document("tensorflow 2.14.0", "tensorflow-cpu 2.15.0")
    assert sentences(cpu, image, accelerator="Any") == ["tensorflow-cpu: trained with 2.14.0, image has 2.15.0"]
    third = document("tensorflow-gpu 2.14.0")
    assert not equal(third, document("tensorflow 2.15.0", "tensorflow-cpu 2.14.0"), accelerator="Any")


def test_what_stands_in_the_way_of_a_variant_is_named_for_any_accelerator() -> None:
    shadow = Shadow(file="/app/xgboost.py", module="xgboost.py", sha256=A, package="xgboost-cpu")
    trained, image = document("xgboost 3.2.0"), document("xgboost-cpu 3.2.0", shadows={"xgboost": shadow})
    (sentence,) = sentences(trained, image, accelerator="Any")
    assert sentence == "xgboost: /app/xgboost.py runs instead of the installed package in the image"


def test_extras_are_allowed_listed_or_denied() -> None:
    trained, image = document("numpy 2.0"), document("numpy 2.0", "flask 3.0")
    assert equal(trained, image)
    assert sentences(trained, image, packages={"extras": "Deny"}) == ["flask: image has 3.0, training had none"]
    assert equal(trained, image, packages={"extras": "Listed", "listedExtras": ["fl*"]})
    assert not equal(trained, image, packages={"extras": "Listed", "listedExtras": ["django"]})
    assert compare(trained, image, spec()).notes == ("1 packages are only in the image: flask",)


def test_tools_are_not_compared_unless_policy_wants_it() -> None:
    trained, image = document("pip 24.0", "numpy 2.0"), document("numpy 2.0")
    assert equal(trained, image)
    assert not equal(trained, image, packages={"ignore": []})
    assert equal(document("numpy 1.0"), document("numpy 2.0"), packages={"ignore": ["num*"]})


def test_mlflow_counts_only_where_the_image_has_it() -> None:
    trained = document("mlflow-skinny 3.4.0", "numpy 2.0")
    assert equal(trained, document("numpy 2.0"))
    assert not equal(trained, document("mlflow-skinny 3.3.0", "numpy 2.0"))


def test_a_proven_set_is_compared_and_nothing_else() -> None:
    trained = document("numpy 2.0", "jupyter 1.0", required=("numpy",), required_proof=RequiredProof.PROVEN)
    assert equal(trained, document("numpy 2.0"))
    assert not equal(trained, document("numpy 2.0"), packages={"scope": "All"})
    assert compare(trained, document("numpy 2.0"), spec()).compared == 1


@pytest.mark.parametrize("proof", [RequiredProof.UNPROVEN, RequiredProof.INCOMPLETE, None])
def test_an_unproven_set_compares_all_or_blocks(proof: RequiredProof | None) -> None:
    trained = document("numpy 2.0", "jupyter 1.0", required=("numpy",), required_proof=proof)
    assert not equal(trained, document("numpy 2.0"))
    with pytest.raises(RequiredSetError) as caught:
        compare(trained, document("numpy 2.0"), spec(packages={"unprovenRequiredSet": "Block"}))
    assert caught.value.proof is (proof or RequiredProof.UNPROVEN)


def test_an_empty_set_proves_nothing_and_every_package_is_compared() -> None:
    trained = document("numpy 2.0.0", required=(), required_proof=RequiredProof.PROVEN)
    assert sentences(trained, document("numpy 1.26.4")) == ["numpy: trained with 2.0.0, image has 1.26.4"]
    with pytest.raises(RequiredSetError):
        compare(trained, document("numpy 2.0.0"), spec(packages={"unprovenRequiredSet": "Block"}))


def test_a_required_package_that_training_itself_lacks_is_no_difference_unless_the_image_has_it() -> None:
    trained = document("numpy 2.0", required=("ghost", "numpy"), required_proof=RequiredProof.PROVEN)
    assert equal(trained, document("numpy 2.0"))
    assert sentences(trained, document("numpy 2.0", "ghost 1")) == ["ghost: image has 1, training had none"]


def test_content_counts_when_policy_says_so_and_both_sides_have_the_same_kind_of_wheel() -> None:
    trained, image = document(package("x 1", content=A, tags=("t",))), document(package("x 1", content=B, tags=("t",)))
    assert equal(trained, image)
    assert sentences(trained, image, packages={"level": "Content"}) == [
        "x 1 has other content in the image than the wheel that trained"
    ]
    for other in ({"tags": ("u",), "content": B}, {"tags": (), "content": B}, {"tags": ("t",), "content": None}):
        assert equal(trained, document(package("x 1", **other)), packages={"level": "Content"})


def changed(*paths: str, tag: str = "t", content: str = B) -> EnvironmentDocument:
    more = {"changed": paths, "changed_count": len(paths)} if paths else {}
    return document(package("x 1", content=content, tags=(tag,), **more))


def test_changed_files_are_named_where_content_counts() -> None:
    trained, image = changed(content=A), changed("a.py", "b.py", "c.py", "d.py")
    assert equal(trained, image)
    assert sentences(trained, image, packages={"level": "Content"}) == [
        "x 1 has other content in the image than the wheel that trained (4 files differ: a.py, b.py, c.py, …)"
    ]
    assert sentences(image, trained, packages={"level": "Content"}) == [
        "x 1 has other content in the image than the wheel that trained (in training 4 files differ: a.py, b.py, c.py, …)"
    ]


def test_changed_files_count_even_where_contents_can_not_be_compared() -> None:
    trained, image = changed(content=A), changed("a.py", tag="other")
    assert sentences(trained, image, packages={"level": "Content"}) == [
        "x 1 has other content in the image than the wheel that trained (1 file differs: a.py)"
    ]
    assert equal(changed("a.py", tag="other"), changed("a.py"), packages={"level": "Content"})
    assert equal(changed("a.py", tag="other"), changed(), packages={"level": "Content"})
    assert equal(trained, image)


def test_files_of_any_package_that_are_not_those_that_it_brought_are_named_whatever_scope_and_level_say() -> None:
    server = package("uvicorn 0.30.0", edited=("../../../bin/uvicorn", "uvicorn/main.py"), edited_count=2)
    trained = document("numpy 1.0", required=("numpy",), required_proof=RequiredProof.PROVEN)
    assert sentences(trained, document("numpy 1.0", server)) == [
        "uvicorn 0.30.0 is not as it was installed in the image: 2 files are not the ones that it brought "
        "(../../../bin/uvicorn, uvicorn/main.py); install it anew (environment.packages.installed: Ignore allows it)"
    ]
    assert equal(trained, document("numpy 1.0", server), packages={"installed": "Ignore"})


def test_a_package_that_is_edited_alike_on_both_sides_is_equal() -> None:
    was = package("numpy 1.0", content=A, changed=("numpy/a.py",), changed_count=1)
    has = package("numpy 1.0", content=A, changed=("numpy/a.py",), changed_count=1, edited=("numpy/a.py",), edited_count=1)
    assert equal(document(was), document(has))
    assert not equal(document(was), document(has.model_copy(update={"content": B})))


def test_other_files_of_one_version_and_wheel_are_named_although_the_record_names_them() -> None:
    def of(files: str | None, *tags: str, **parts: Any) -> EnvironmentDocument:
        server = package("uvicorn 0.30.0", files=files, tags=tags, **parts)
        return document("numpy 1.0", server, required=("numpy",), required_proof=RequiredProof.PROVEN)

    (sentence,) = sentences(of(A, "py3-none-any"), of(B, "py3-none-any"))
    assert sentence.startswith("uvicorn 0.30.0 has other files in the image than the wheel of that version")
    assert equal(of(A, "py3-none-any"), of(B, "py3-none-any"), packages={"installed": "Ignore"})
    # Built on each machine, another kind of wheel, from somewhere else, or recorded before this was told.
    assert equal(of(A, "cp311-cp311-linux_x86_64"), of(B, "cp311-cp311-linux_x86_64"))
    assert equal(of(A, "py3-none-any"), of(B, "py2-none-any"))
    origin = Origin(kind="directory", url="file:///src")
    assert equal(of(A, "py3-none-any"), of(B, "py3-none-any", origin=origin))
    assert equal(of(None, "py3-none-any"), of(B, "py3-none-any"))
    # A file that is missing hides nothing.
    assert not equal(of(A, "py3-none-any"), of(B, "py3-none-any", changed=("README",), changed_count=1))


def test_packages_that_conda_built_are_not_held_against_wheels_of_an_index() -> None:
    def of(files: str, conda: dict[str, str] | None) -> EnvironmentDocument:
        return document(package("joblib 1.0", files=files, tags=("py3-none-any",)), system=System(conda=conda))

    assert equal(of(A, {"joblib": "1.0 pyh_0"}), of(B, None))
    assert not equal(of(A, {"other": "1.0 pyh_0"}), of(B, None))


def test_what_is_not_the_interpreters_own_in_its_library_is_named() -> None:
    image = document(library={"/usr/lib/python3.11/json/__init__.py": LibraryKind.CHANGED})
    (sentence,) = sentences(document(), image)
    assert sentence == (
        "/usr/lib/python3.11/json/__init__.py is among Python's own files, and it is not the file that the package of the "
        "image's Python brought (environment.interpreterLibrary: Ignore allows it)"
    )
    assert equal(document(), image, interpreterLibrary="Ignore")


def test_test_folders_that_hide_those_of_a_package_that_is_not_compared_are_no_difference() -> None:
    module = Shadow(file="/app/tests/__init__.py", module="tests/__init__.py", sha256=B, package="sloppy")
    assert equal(document(), document(shadows={"tests": module}))


def test_preloaded_libraries_are_named_as_such() -> None:
    (sentence,) = sentences(document(startup={}), document(startup={"/etc/ld.so.preload": A}))
    assert sentence == "/etc/ld.so.preload, which preloads libraries into every program, is only in the image"


def vcs(commit: str | None) -> EnvironmentDocument:
    origin = Origin(kind="vcs", url="https://git.example.com/x", commit=commit) if commit else None
    return document(package("x 1", origin=origin))


def test_another_commit_is_named_and_is_no_matter_of_local_labels() -> None:
    assert equal(vcs("a" * 40), vcs("a" * 40))
    assert sentences(vcs("a" * 40), vcs("b" * 40)) == [
        f"x: trained with 1 at commit {'a' * 12}, image has 1 at commit {'b' * 12}"
    ]
    assert sentences(vcs("a" * 40), vcs(None)) == [f"x: trained with 1 at commit {'a' * 12}, image has 1"]


def test_directories_are_noted() -> None:
    local = document(package("x 1", origin=Origin(kind="editable", url="file:///x")))
    assert compare(local, local, spec()).notes == ("installed from a directory, so that the version says little: x",)


def test_the_platform_is_compared() -> None:
    image = document(platform=Platform(os="linux", machine="aarch64", libc="glibc 2.36"))
    assert sentences(document(), image) == ["machine: trained on x86_64, image is for aarch64"]


@pytest.mark.parametrize(
    ("trained", "image", "good"),
    [
        ("glibc 2.36", "glibc 2.36", True),
        ("glibc 2.36", "glibc 2.41", True),
        ("glibc 2.36", "glibc 2.4", False),
        ("glibc 2.36", "musl 1.2.5", False),
        ("glibc 2.36", None, False),
        (None, "glibc 2.36", True),
        (None, None, True),
        ("musl 1.2.5", "musl", False),
    ],
)
def test_the_c_library_is_of_the_same_family_and_not_older(trained: str | None, image: str | None, good: bool) -> None:
    theirs = document(platform=Platform(os="linux", machine="x86_64", libc=trained))
    ours = document(platform=Platform(os="linux", machine="x86_64", libc=image))
    found = compare(theirs, ours, spec())
    assert found.equal is good
    assert found.trained_digest == found.image_digest
    assert compare(theirs, ours, spec(libc="Ignore")).equal


def test_system_packages_are_compared_within_one_distribution() -> None:
    trained = document(system=System(distribution="debian 12", packages={"libgomp1": "12", "libc6": "2", "gone": "1"}))
    image = document(system=System(distribution="debian 12", packages={"libgomp1": "13", "libc6": "3", "new": "1"}))
    assert equal(trained, image)
    assert sentences(trained, image, system=["libgomp*", "gone", "new"]) == [
        "gone: trained with 1, missing in the image",
        "libgomp1: trained with 12, image has 13",
        "new: image has 1, training had none",
    ]
    other = document(system=System(distribution="ubuntu 24.04", packages={"libgomp1": "14"}))
    found = compare(trained, other, spec(system=["*"]))
    assert found.equal
    assert found.notes == ("system packages are not compared: trained on debian 12, image is ubuntu 24.04",)


def test_condas_packages_are_compared_under_its_name_whatever_the_distribution() -> None:
    trained = document(system=System(distribution="debian 12", conda={"libgomp": "13.2 h1", "mkl": "2024.1 h1"}))
    image = document(system=System(distribution="rocky 9", conda={"libgomp": "13.2 h2", "tk": "8 h1"}))
    assert equal(trained, image)
    assert equal(trained, image, system=["libgomp*"])
    assert sentences(trained, image, system=["conda:*"]) == [
        "conda:libgomp: trained with 13.2 h1, image has 13.2 h2",
        "conda:mkl: trained with 2024.1 h1, missing in the image",
        "conda:tk: image has 8 h1, training had none",
    ]


def test_condas_packages_are_compared_only_where_both_sides_use_conda() -> None:
    trained = document(system=System(distribution="debian 12", conda={"mkl": "2024.1 h1"}))
    image = document(system=System(distribution="ubuntu 24.04"))
    assert equal(trained, image, system=["conda:mkl"])
    assert compare(trained, image, spec(system=["conda:mkl"])).notes == (
        "conda's packages are not compared: only training uses conda",
    )
    assert compare(image, trained, spec(system=["conda:mkl"])).notes == (
        "conda's packages are not compared: only the image uses conda",
    )


BASE_CUDA, OTHER_CUDA = Cuda(runtime="12.4.127", cudnn="9.1.0"), Cuda(runtime="12.8.90", cudnn="9.1.0")


def test_the_base_images_cuda_is_compared_for_a_framework_that_is_compared() -> None:
    trained, image = document("torch 2.7.1", cuda=BASE_CUDA), document("torch 2.7.1", cuda=OTHER_CUDA)
    (sentence,) = sentences(trained, image)
    assert sentence.startswith("CUDA runtime: trained with 12.4.127, image has 12.8.90")
    assert equal(trained, document("torch 2.7.1", cuda=BASE_CUDA))
    assert not equal(trained, document("torch 2.7.1", cuda=Cuda(runtime="12.4.127", cudnn="9.2.0")))


def test_cuda_is_not_compared_where_nothing_depends_on_it() -> None:
    def both(*packages: str, **rules: Any) -> bool:
        return equal(document(*packages, cuda=BASE_CUDA), document(*packages, cuda=OTHER_CUDA), **rules)

    assert both("numpy 2.0")
    assert both("torch 2.7.1", accelerator="Any")
    assert both("torch 2.7.1", packages={"ignore": ["torch"]})
    # The wheel is compared as a package.
    assert both("torch 2.7.1", "nvidia-cuda-runtime-cu12 12.4.127")
    assert equal(document("torch 2.7.1", cuda=BASE_CUDA), document("torch 2.7.1"))
    assert equal(document("torch 2.7.1", cuda=Cuda(runtime="1")), document("torch 2.7.1", cuda=Cuda(cudnn="9")))


def lacking(*names: str, package_name: str = "lightgbm") -> Package:
    return package(f"{package_name} 4.6.0", missing=names)


def test_a_shared_library_that_only_the_image_lacks_is_named() -> None:
    trained = document("lightgbm 4.6.0")
    found = compare(trained, document(lacking("libgomp.so.1")), spec())
    assert [d.sentence for d in found.differences] == ["libgomp.so.1 is missing in the image (lightgbm needs it)"]
    assert found.differences[0].kind is DifferenceKind.LIBRARY
    assert found.trained_digest != found.image_digest
    assert equal(document(lacking("libgomp.so.1")), document(lacking("libgomp.so.1")))
    assert equal(document(lacking("libgomp.so.1")), trained)
    assert not equal(document(lacking("libother.so.1")), document(lacking("libgomp.so.1")))


def test_a_library_that_several_packages_lack_is_named_once_and_after_the_packages() -> None:
    trained = document("lightgbm 4.6.0", "xgboost 4.6.0", "numpy 1.0")
    image = document(lacking("libgomp.so.1"), lacking("liba.so", "libgomp.so.1", package_name="xgboost"), "numpy 2.0")
    assert sentences(trained, image) == [
        "numpy: trained with 1.0, image has 2.0",
        "liba.so is missing in the image (xgboost needs it)",
        "libgomp.so.1 is missing in the image (lightgbm, xgboost need it)",
    ]


def test_an_object_whose_needs_can_not_be_told_in_the_image_is_named() -> None:
    image = document(lacking("?lib_lightgbm.so"))
    assert sentences(document("lightgbm 4.6.0"), image) == [
        "which libraries lib_lightgbm.so needs is undetermined in the image (lightgbm needs it)"
    ]
    assert equal(image, image)


def test_what_packages_lack_that_are_not_compared_is_no_difference() -> None:
    trained = document("lightgbm 4.6.0", "plot 1.0", required=("lightgbm",), required_proof=RequiredProof.PROVEN)
    image = document("lightgbm 4.6.0", package("plot 1.0", missing=("libx11.so.6",)), lacking("libz.so", package_name="extra"))
    assert equal(trained, image)
    assert not equal(trained, image, packages={"scope": "All"})


@pytest.mark.parametrize("name", ["libcuda.so.1", "libnvidia-ml.so.1", "libnvcuvid.so.1", "libEGL_nvidia.so.0"])
def test_the_drivers_own_libraries_are_put_in_by_the_container_runtime(name: str) -> None:
    assert equal(document("lightgbm 4.6.0"), document(lacking(name)))
    assert not equal(document("lightgbm 4.6.0"), document(lacking("libcudart.so.12")))


def test_what_is_missing_is_left_out_of_a_document_where_nothing_is() -> None:
    assert b"missing" not in document().canonical()
    one = document(lacking("libgomp.so.1"))
    assert EnvironmentDocument.parse(one.canonical()) == one
    assert b'"missing":["libgomp.so.1"]' in one.canonical()


def test_code_is_compared_by_its_digest() -> None:
    trained = document(code={"a.py": A, "b.py": A, "c.py": A})
    assert sentences(trained, document(code={"a.py": A, "b.py": B, "only_image.py": B})) == [
        "b.py is another file in the image (bbbbbbbbbbbb) than the one that trained (aaaaaaaaaaaa)",
        "c.py trained and is not among the image's own code: copy it to where the image's Python imports from, or install it "
        "from its directory or wheel file",
    ]


def shadowed(digest: str = B, package: str | None = "numpy", **parts: Any) -> EnvironmentDocument:
    module = Shadow(file="/app/np.py", module="np.py", sha256=digest, package=package)
    return document(shadows={"np": module}, code={"np.py": digest}, **parts)


def test_a_module_that_runs_instead_of_a_compared_package_is_named() -> None:
    assert sentences(document(), shadowed()) == ["np: /app/np.py runs instead of the installed package in the image"]
    assert sentences(document(), shadowed(package="flask")) == [
        "np: /app/np.py runs instead of the installed package in the image (flask, which is not compared: "
        "environment.packages.installed: Ignore allows it)"
    ]
    assert equal(document(), shadowed(package="flask"), packages={"installed": "Ignore"})
    assert equal(document(code={"np.py": B}), shadowed())
    assert sentences(document(code={"np.py": A}), shadowed()) == sentences(document(), shadowed())


def test_a_module_that_runs_instead_of_the_standard_librarys_is_named() -> None:
    assert sentences(document(), shadowed(package=None)) == [
        "np: /app/np.py runs instead of the standard library's module in the image"
    ]


def test_start_up_hooks_are_compared_in_both_directions() -> None:
    trained = document(startup={"a.pth": A, "b.pth": A, "same.pth": A})
    image = document(startup={"b.pth": B, "c.pth": B, "same.pth": A})
    assert sentences(trained, image) == [
        "start-up hook a.pth was there in training and is missing in the image",
        "start-up hook b.pth is another file in the image (bbbbbbbbbbbb) than in training (aaaaaaaaaaaa)",
        "start-up hook c.pth is only in the image",
    ]
    assert equal(trained, image, startup="Ignore")


def test_hooks_of_a_record_that_tells_none_are_not_compared_and_that_is_noted() -> None:
    found = compare(document(), document(startup={"a.pth": A}), spec())
    assert found.equal
    assert found.notes == ("start-up hooks are not compared: the record does not state those of training",)
    assert not equal(document(startup={}), document(startup={"a.pth": A}))


def test_a_package_with_a_hook_is_compared_whether_the_model_needs_it_or_not() -> None:
    proven: dict[str, Any] = {"required": ("numpy",), "required_proof": RequiredProof.PROVEN, "startup": {}}
    image = document("numpy 2.0", package("hooked 1", startup=("hooked.pth",)))
    assert sentences(document("numpy 2.0", **proven), image) == ["hooked: image has 1, training had none"]
    assert sentences(document("numpy 2.0", "hooked 2", **proven), image) == ["hooked: trained with 2, image has 1"]
    assert equal(document("numpy 2.0", **proven), image, startup="Ignore")
    assert equal(document("numpy 2.0", **proven), image, packages={"ignore": ["hooked"]})


PANDAS: dict[str, Any] = {"required": ("pandas",), "required_proof": RequiredProof.PROVEN, "startup": {}}


def test_an_accelerator_of_a_compared_package_is_compared_on_either_side() -> None:
    plain, fast = document("pandas 2.0", **PANDAS), document("pandas 2.0", "numexpr 2.9", **PANDAS)
    assert sentences(plain, fast) == ["numexpr: image has 2.9, training had none"]
    assert sentences(fast, plain) == ["numexpr: trained with 2.9, missing in the image"]
    assert equal(document("pandas 2.0", "scikit-learn-intelex 1", **PANDAS), plain)
    assert equal(plain, fast, packages={"ignore": ["numexpr"]})


@pytest.mark.parametrize(
    ("group", "compared"), [("pandas", True), ("pandas_plotting_backends", True), ("pandasql", False), ("xarray", False)]
)
def test_a_plugin_of_a_compared_package_is_compared(group: str, compared: bool) -> None:
    image = document("pandas 2.0", package("plugin 1", plugs=(group,)), startup={})
    assert equal(document("pandas 2.0", **PANDAS), image) is not compared


def test_a_record_that_does_not_tell_of_them_says_nothing_about_those_of_the_image() -> None:
    unstated = {**PANDAS, "startup": None}
    assert equal(document("pandas 2.0", **unstated), document("pandas 2.0", "numexpr 2.9", startup={}))
    assert not equal(document("pandas 2.0", "numexpr 2.8", **unstated), document("pandas 2.0", "numexpr 2.9", startup={}))


def test_byte_code_that_runs_instead_of_its_source_is_named() -> None:
    image = document(bytecode={"/x/a.pyc": "Sourceless", "/x/b.pyc": "Unchecked", "/x/c.pyc": "Stale"})
    assert sentences(document(), image) == [
        "/x/a.pyc runs instead of its source (it has none)",
        "/x/b.pyc runs instead of its source (unchecked hash)",
        "/x/c.pyc runs instead of its source (a later layer changed the source and kept its time and size)",
    ]
    assert equal(document(), image, bytecode="Allow")
    assert equal(image, document())


def test_modules_that_no_package_brought_are_named_where_policy_denies_them() -> None:
    trained, image = document(code={"known.py": A}), document(code={"known.py": A}, unowned={"known.py": A, "x/evil.py": B})
    assert equal(trained, image)
    assert sentences(trained, image, packages={"unowned": "Deny"}) == [
        "x/evil.py is among the image's installed packages, none of them brought it, and training did not have it"
    ]
    assert equal(trained, image, packages={"unowned": "Deny", "allowedUnowned": ["x/*"]})
    assert not equal(trained, image, packages={"unowned": "Deny", "allowedUnowned": ["x"]})


def test_a_comparison_is_shown_as_a_table() -> None:
    shown = comparison_text(compare(document(), document("numpy 1.26.4", "scikit-learn 1.2.0", "x 1"), spec()))
    assert shown.splitlines() == [
        "KIND     SUBJECT       TRAINED  IMAGE",
        "Package  scikit-learn  1.4.2    1.2.0",
        "",
        "- scikit-learn: trained with 1.4.2, image has 1.2.0",
        "note: 1 packages are only in the image: x",
    ]


def test_the_rules_are_part_of_the_digest() -> None:
    sets: dict[str, frozenset[str]] = {field.name: frozenset() for field in fields(Scope) if field.name != "libraries"}
    scope = Scope(**sets, libraries={})
    packages: list[dict[str, Any]] = [{"scope": "All"}, {"level": "Content"}, {"localVersions": "Ignore"}]
    packages += [{"extras": "Deny"}, {"ignore": []}, {"unprovenRequiredSet": "Block"}]
    packages += [{"unowned": "Deny"}, {"allowedUnowned": ["x"]}]
    rules = [
        spec(),
        spec(python="Patch"),
        spec(accelerator="Any"),
        spec(libc="Ignore"),
        spec(system=["x"]),
        spec(startup="Ignore"),
    ]
    rules += [spec(packages=one) for one in packages]
    digests = {environment_digest(document(), scope, rule) for rule in rules}
    assert len(digests) == len(rules)


VERSIONS = st.sampled_from(["1.0", "1.0.0", "1.1", "2.0+cpu", "2.0+cu128", "2.0", "weird!"])
PACKAGES = st.builds(
    Package,
    name=st.sampled_from(
        [
            "numpy",
            "scikit-learn",
            "pip",
            "mlflow",
            "triton",
            "tensorflow",
            "tensorflow-cpu",
            "tensorflow-gpu",
            "flask",
            "nvidia-cuda-runtime-cu12",
        ]
    ),
    version=VERSIONS,
    content=st.sampled_from([None, A, B]),
    tags=st.sampled_from([(), ("t",), ("u",), ("py3-none-any",)]),
    files=st.sampled_from([None, A, B]),
    edited=st.sampled_from([None, ("a.py",), ("a.py", "../../bin/x")]),
    missing=st.sampled_from([(), ("libgomp.so.1",), ("libcuda.so.1",), ("?x.so", "libgomp.so.1", "libz.so.1")]),
    startup=st.sampled_from([None, ("x.pth",)]),
    plugs=st.sampled_from([None, ("numpy",), ("sklearn_x",)]),
    changed=st.sampled_from([None, ("a.py",), ("a.py", "b.py")]),
    changed_count=st.sampled_from([None, 2]),
    origin=st.sampled_from([None, Origin(kind="vcs", url="u", commit="a" * 40), Origin(kind="vcs", url="u", commit="b" * 40)]),
)
DOCUMENTS = st.builds(
    EnvironmentDocument,
    python=st.builds(
        Interpreter,
        implementation=st.sampled_from(["cpython", "pypy"]),
        version=st.sampled_from(["3.11.2", "3.11.3", "3.12.1"]),
    ),
    platform=st.builds(
        Platform, os=st.just("linux"), machine=st.sampled_from(["x86_64", "aarch64"]), libc=st.just("glibc 2.36")
    ),
    packages=st.lists(PACKAGES, unique_by=lambda p: p.name, max_size=6).map(lambda ps: tuple(sorted(ps, key=lambda p: p.name))),
    system=st.builds(
        System,
        distribution=st.sampled_from(["debian 12", "ubuntu 24.04"]),
        packages=st.dictionaries(st.sampled_from(["libc6", "libgomp1"]), st.sampled_from(["1", "2"])),
        conda=st.none() | st.dictionaries(st.sampled_from(["libgomp", "mkl"]), st.sampled_from(["1 a", "1 b"])),
    ),
    cuda=st.none()
    | st.builds(Cuda, runtime=st.sampled_from([None, "12.4.127", "12.8.90"]), cudnn=st.sampled_from([None, "9.1.0"])),
    required=st.none() | st.sampled_from([("flask", "numpy", "tensorflow"), ("tensorflow-cpu",)]),
    required_proof=st.sampled_from(list(RequiredProof)),
    code=st.dictionaries(st.sampled_from(["a.py", "b.py"]), st.sampled_from([A, B])),
    library=st.none() | st.dictionaries(st.sampled_from(["/l/a.py", "/l/b.py"]), st.sampled_from(list(LibraryKind))),
    startup=st.none() | st.dictionaries(st.sampled_from(["a.pth", "b.pth"]), st.sampled_from([A, B])),
    unowned=st.none() | st.dictionaries(st.sampled_from(["a.py", "u.py"]), st.sampled_from([A, B])),
    bytecode=st.none() | st.dictionaries(st.sampled_from(["/a.pyc", "/b.pyc"]), st.sampled_from(list(BytecodeKind))),
    shadows=st.none()
    | st.dictionaries(
        st.just("b"),
        st.builds(
            Shadow,
            file=st.just("/app/b.py"),
            module=st.just("b.py"),
            sha256=st.sampled_from([A, B]),
            package=st.sampled_from([None, "numpy", "tensorflow-cpu"]),
        ),
    ),
    collector=st.just("test"),
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "python": st.sampled_from(["Minor", "Patch"]),
        "bytecode": st.sampled_from(["Deny", "Allow"]),
        "interpreterLibrary": st.sampled_from(["Intact", "Ignore"]),
        "startup": st.sampled_from(["Compare", "Ignore"]),
        "accelerator": st.sampled_from(["Same", "Any"]),
        "system": st.sampled_from([[], ["libgomp*"], ["conda:*"], ["*"]]),
        "packages": st.fixed_dictionaries(
            {},
            optional={
                "scope": st.sampled_from(["Required", "All"]),
                "level": st.sampled_from(["Version", "Content"]),
                "localVersions": st.sampled_from(["Significant", "Ignore"]),
                "extras": st.sampled_from(["Allow", "Listed", "Deny"]),
                "unowned": st.sampled_from(["Allow", "Deny"]),
                "installed": st.sampled_from(["Intact", "Ignore"]),
                "allowedUnowned": st.sampled_from([[], ["u*"]]),
                "ignore": st.sampled_from([[], ["pip"], ["tensor*"]]),
            },
        ),
    },
)


@settings(max_examples=400)
@given(DOCUMENTS, DOCUMENTS, RULES)
def test_digests_are_equal_exactly_when_nothing_differs_that_must_be_equal(
    trained: EnvironmentDocument, image: EnvironmentDocument, rules: dict[str, Any]
) -> None:
    found = compare(trained, image, spec(**rules))
    assert found.equal == (found.trained_digest == found.image_digest)
    assert_said(found)


@settings(max_examples=150)
@given(DOCUMENTS, RULES)
def test_an_environment_equals_itself(one: EnvironmentDocument, rules: dict[str, Any]) -> None:
    assert compare(one, one, spec(**rules)).equal


def assert_said(found: Comparison) -> None:
    for difference in found.differences:
        assert difference.subject.lower() in difference.sentence.lower()
        assert difference.kind in DifferenceKind
        for value in (difference.trained, difference.image):
            assert (
                value is None
                or difference.kind in (DifferenceKind.CODE, DifferenceKind.STARTUP)
                or value in difference.sentence
            )
