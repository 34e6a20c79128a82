"""Which CUDA runtime and cuDNN a framework finds."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.describe import describe
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.catalogue.native.cuda import VERSION_FILE, cuda, runtime_version
from lockstep.environment.document import Cuda, Package
from tests.fakes.roots import Files, To, debian, tree

TOOLKIT = json.dumps({"cuda": {"version": "12.4.1"}, "cuda_cudart": {"name": "CUDA Runtime (cudart)", "version": "12.4.127"}})
BASE: Files = {
    "/usr/local/cuda": To("/etc/alternatives/cuda"),
    "/etc/alternatives/cuda": To("/usr/local/cuda-12.4"),
    "/usr/local/cuda-12.4/lib64": To("targets/x86_64-linux/lib"),
    "/usr/local/cuda-12.4/targets/x86_64-linux/lib/libcudart.so.12": To("libcudart.so.12.4.99"),
    "/usr/local/cuda-12.4/targets/x86_64-linux/lib/libcudart.so.12.4.99": "",
    "/usr/lib/x86_64-linux-gnu/libcudnn.so.9": To("libcudnn.so.9.1.0"),
    "/usr/lib/x86_64-linux-gnu/libcudnn.so.9.1.0": "",
    "/usr/lib/x86_64-linux-gnu/libcudnn_ops.so.9.2.0": "",
}


def found(*files: Files, packages: tuple[str, ...] = ()) -> Cuda | None:
    installed = [Package(name=text.split()[0], version=text.split()[1]) for text in packages]
    return cuda(tree(*files), installed, "/opt/conda", "x86_64")


def test_the_base_images_libraries_are_known_by_their_names() -> None:
    assert found(BASE) == Cuda(runtime="12.4.99", cudnn="9.1.0")


def test_the_toolkit_states_its_runtime_and_not_its_own_version() -> None:
    assert found(BASE, {"/usr/local/cuda-12.4/version.json": TOOLKIT}) == Cuda(runtime="12.4.127", cudnn="9.1.0")


@pytest.mark.parametrize("suffix", ["-cu12", ""])
def test_wheels_come_before_the_base_image(suffix: str) -> None:
    wheels = (f"nvidia-cuda-runtime{suffix} 12.8.90", f"nvidia-cudnn{suffix} 9.8.0.87", "nvidia-cudnn-frontend 1.5.0")
    assert found(BASE, packages=wheels) == Cuda(runtime="12.8.90", cudnn="9.8.0")


def test_condas_libraries_come_before_the_base_image() -> None:
    assert found(BASE, {"/opt/conda/lib/libcudart.so.11.8.89": ""}) == Cuda(runtime="11.8.89", cudnn="9.1.0")


def test_toolkits_side_by_side_without_a_link_that_chooses_are_all_said() -> None:
    both = {f"/usr/local/cuda-{n}/lib64/libcudart.so.{n}.1": "" for n in ("12.4", "11.8")}
    assert found(dict(both)) == Cuda(runtime="11.8.1, 12.4.1")
    assert found(dict(both), {"/usr/local/cuda": To("cuda-11.8")}) == Cuda(runtime="11.8.1")


def test_where_there_is_none_the_document_says_nothing() -> None:
    assert found(debian()) is None
    launch = Launch(("python3",), {})
    assert "cuda" not in describe(tree(debian()), launch, machine="x86_64", collector="t").payload()
    stated = describe(tree(debian(), BASE), launch, machine="x86_64", collector="t").payload()["cuda"]
    assert stated == {"runtime": "12.4.99", "cudnn": "9.1.0"}


@pytest.mark.parametrize("body", [b"{}", b'{"cuda": {"version": "12.4.1"}}', b'{"cuda_cudart": null}'])
def test_a_toolkit_without_a_runtime_states_none(body: bytes) -> None:
    assert runtime_version(body) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"cuda_cudart": {}}', b'{"cuda_cudart": "x"}', b'{"cuda_cudart": {"version": "x\\u001b"}}', b"[" * 500_000],
)
def test_a_toolkits_file_that_can_not_be_understood_is_refused(body: bytes) -> None:
    with pytest.raises(CatalogueError) as caught:
        found({VERSION_FILE: body})
    assert caught.value.reason is Reason.SYSTEM_UNVERIFIABLE


@given(st.binary(max_size=200) | st.dictionaries(st.just("cuda_cudart"), st.text() | st.none()).map(json.dumps).map(str.encode))
def test_whatever_the_bytes_are_they_state_a_version_or_nothing_or_are_refused(body: bytes) -> None:
    with contextlib.suppress(CatalogueError):
        assert runtime_version(body) is None
