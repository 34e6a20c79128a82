"""The models in an image: all files below each MLmodel, wherever it lies, as a loader would find them."""

import json
from typing import Any

import pytest

from lockstep.api.reasons import Reason
from lockstep.formats.canonical import sha256_of
from lockstep.formats.modelfiles import MAX_FILES, ModelFile
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.scan.record import scan_from_record, scan_to_record
from lockstep.images.scan.result import ImageModel, ImageScan
from tests.fakes.images import Layer, MemorySource, hard_link, layer
from tests.fakes.roots import Files, To, debian, items, venv
from tests.fakes.workers import scan

MLMODEL = "run_id: 0123456789abcdef0123456789abcdef\nmodel_id: m-1\n"
BASE: Files = debian() | venv()


async def scanned(*layers: Layer, **settings: Any) -> ImageScan:
    source = MemorySource()
    source.image(layers, settings={"Entrypoint": ["/opt/venv/bin/python"]} | settings)
    return await scan(source, await source.resolved(), Limits())


async def models(*files: Files) -> tuple[ImageModel, ...]:
    first, *rest = files
    return (await scanned(layer(*items(BASE | first)), *(layer(*items(one)) for one in rest))).models


def with_mlmodel(files: Files) -> Files:
    """Return the files and the MLmodel of a model at /opt/model."""
    return {"/opt/model/MLmodel": MLMODEL, **files}


async def model(*files: Files) -> ImageModel:
    (found,) = await models(*files)
    return found


def listed(**bodies: str) -> dict[str, ModelFile]:
    """Return files by path; `__` stands for a dot, `_in_` for a slash."""
    named = {name.replace("_in_", "/").replace("__", "."): body.encode() for name, body in bodies.items()}
    return {path: ModelFile(sha256_of(body), len(body)) for path, body in sorted(named.items())}


def files_of(found: ImageModel) -> dict[str, ModelFile]:
    assert found.files is not None, found.undetermined
    return dict(found.files.files)


@pytest.mark.parametrize(
    "folder",
    [
        *("/opt/model", "/opt/ml/model", "/srv/m", "/app/model", "/home/app/m", "/root/m", "/tmp/m", "/usr/src/app/model"),
        *(
            "/usr/local/share/m",
            "/var/cache/m",
            "/var/lib/models/m",
            "/var/www/m",
            "/var/opt/m",
            "/model",
            "/data/a/b/c",
            "/mnt/models/1",
        ),
    ],
)
async def test_all_files_below_an_mlmodel_are_told_wherever_it_lies(folder: str) -> None:
    found = await model({f"{folder}/MLmodel": MLMODEL, f"{folder}/w.bin": "weights", f"{folder}/code/a.py": "x = 1"})
    assert (found.path, found.model_id) == (folder, "m-1")
    assert files_of(found) == listed(MLmodel=MLMODEL, w__bin="weights", code_in_a__py="x = 1")


@pytest.mark.parametrize("folder", ["/usr/share/model", "/usr/lib/model", "/etc/model", "/var/log/model"])
async def test_of_a_model_among_the_distributions_own_files_it_is_said_that_it_can_not_be_told(folder: str) -> None:
    found = await model({f"{folder}/MLmodel": MLMODEL, f"{folder}/w.bin": "weights"})
    assert found.files is None
    assert f"w.bin is {folder}/w.bin" in found.undetermined


async def test_a_later_layers_file_counts() -> None:
    upper: Files = {"/opt/model/w.bin": "others", "/opt/model/new": ""}
    found = await model({"/opt/model/MLmodel": MLMODEL, "/opt/model/w.bin": "weights"}, upper)
    assert files_of(found) == listed(MLmodel=MLMODEL, w__bin="others", new="")


async def test_links_within_the_image_are_followed_as_a_loader_would() -> None:
    linked: Files = {
        "/opt/model/MLmodel": MLMODEL,
        "/opt/model/w.bin": To("/srv/blobs/7"),
        "/opt/model/code": To("../../srv/code"),
        "/srv/blobs/7": "weights",
        "/srv/code/a.py": "x = 1",
    }
    assert files_of(await model(linked)) == listed(MLmodel=MLMODEL, w__bin="weights", code_in_a__py="x = 1")


async def test_a_hard_link_is_the_file_that_it_leads_to() -> None:
    files: Files = {"/opt/model/MLmodel": MLMODEL, "/srv/blob": "weights"}
    found = (await scanned(layer(*items(BASE | files), hard_link("opt/model/w.bin", "srv/blob")))).models[0]
    assert files_of(found) == listed(MLmodel=MLMODEL, w__bin="weights")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"/opt/model/evil": To("/proc/1/root/w")}, "evil is no file, or leads to none"),
        ({"/opt/model/evil": To("/mnt/later")}, "evil is no file, or leads to none"),
        ({"/opt/model/round": To(".")}, "leads to a directory above it"),
        ({"/opt/model/sub/up": To("..")}, "leads to a directory above it"),
        ({"/opt/model/w.bin": To("/usr/share/w.bin"), "/usr/share/w.bin": "x"}, "w.bin is /usr/share/w.bin"),
        ({"/opt/model/a\nb": "x"}, "is not one of a file in a directory"),
    ],
    ids=["proc", "a volume", "itself", "above", "not hashed", "a name"],
)
async def test_what_a_loader_may_find_and_the_scan_can_not_read_makes_a_model_undetermined(files: Files, says: str) -> None:
    found = await model(with_mlmodel(files))
    assert found.files is None
    assert says in found.undetermined


async def test_a_model_of_more_files_than_are_compared_is_undetermined_and_its_image_is_not() -> None:
    many: Files = {f"/opt/model/{number}": "" for number in range(MAX_FILES)}
    found = await model(with_mlmodel(many))
    assert found.files is None
    assert f"more than {MAX_FILES} files" in found.undetermined


async def test_an_mlmodel_at_the_root_is_a_model_that_can_not_be_told() -> None:
    files: Files = {"/MLmodel": MLMODEL, "/opt/model/MLmodel": MLMODEL, "/opt/model/w": "x", "/usr/share/doc/x": "text"}
    root, inner = await models(files)
    assert (root.path, root.files) == ("/", None)
    assert inner.files is not None


async def test_cached_byte_code_is_told_apart_and_byte_code_elsewhere_is_a_file() -> None:
    pyc = b"\xa7\x0d\x0d\x0a" + bytes(12) + b"code"
    found = await model(
        {
            "/opt/model/MLmodel": MLMODEL,
            "/opt/model/code/a.py": "x = 1",
            "/opt/model/code/__pycache__/a.cpython-311.pyc": pyc,
            "/opt/model/code/b.pyc": pyc,
        }
    )
    assert found.caches == ("code/__pycache__/a.cpython-311.pyc",)
    assert set(files_of(found)) == {"MLmodel", "code/a.py", "code/b.pyc"}


async def test_a_link_to_cached_byte_code_is_byte_code_without_a_source() -> None:
    pyc = b"\xa7\x0d\x0d\x0a" + bytes(12) + b"code"
    cache = "/srv/__pycache__/a.cpython-311.pyc"
    found = await model({"/opt/model/MLmodel": MLMODEL, "/opt/model/evil.pyc": To(cache), cache: pyc})
    assert (found.files, found.caches) == (None, ())


async def test_a_model_within_a_model_is_one_too_and_part_of_the_other() -> None:
    outer, inner = await models({"/opt/m/MLmodel": MLMODEL, "/opt/m/artifacts/MLmodel": MLMODEL, "/opt/m/artifacts/w": "x"})
    assert (outer.path, inner.path) == ("/opt/m", "/opt/m/artifacts")
    assert set(files_of(outer)) == {"MLmodel", "artifacts/MLmodel", "artifacts/w"}
    assert set(files_of(inner)) == {"MLmodel", "w"}


SETTINGS = {"name": "m", "implementation": "mlserver_mlflow.MLflowRuntime"}


@pytest.mark.parametrize(
    ("settings", "harmless"),
    [
        (SETTINGS, True),
        (SETTINGS | {"parameters": {"uri": "."}}, True),
        (SETTINGS | {"parameters": {"uri": "./"}, "parallel_workers": 2, "platform": "x"}, True),
        (SETTINGS | {"parameters": {"uri": "/opt/model", "version": "1"}}, True),
        ({"name": "m", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "model.pkl"}}, True),
        (SETTINGS | {"parameters": {"uri": "../other"}}, False),
        (SETTINGS | {"parameters": {"uri": "/opt/model2"}}, False),
        (SETTINGS | {"parameters": {"uri": "models:/x/2"}}, False),
        (SETTINGS | {"parameters": {"uri": "s3://bucket/x"}}, False),
        (SETTINGS | {"parameters": {"uri": 7}}, False),
        (SETTINGS | {"parameters": {"environment_tarball": "env.tgz"}}, False),
        (SETTINGS | {"parameters": {"extra": {"a": 1}}}, False),
        (SETTINGS | {"parameters": []}, True),
        (SETTINGS | {"parameters": ["uri"]}, False),
        ({"name": "m", "implementation": "serve.Evil"}, False),
        ({"name": "m"}, False),
        (SETTINGS | {"new_key": 1}, False),
        ([], False),
    ],
)
async def test_mlservers_settings_are_harmless_only_where_they_serve_this_very_model(settings: object, harmless: bool) -> None:
    files: Files = {"/opt/model/MLmodel": MLMODEL, "/opt/model/model-settings.json": json.dumps(settings)}
    assert (await model(files)).harmless == (("model-settings.json",) if harmless else ())


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ('{"http_port": 8080, "debug": false}', True),
        ('{"environments_dir": "/opt/evil"}', False),
        ('{"extensions": ["evil"]}', False),
        ('{"logging_settings": "/opt/evil.ini"}', False),
        ("{", False),
        ('{"debug": true, "debug": false}', False),
    ],
)
async def test_the_servers_own_settings_are_harmless_where_they_bring_no_code(text: str, harmless: bool) -> None:
    found = await model({"/opt/model/MLmodel": MLMODEL, "/opt/model/settings.json": text})
    assert found.harmless == (("settings.json",) if harmless else ())


async def test_settings_further_down_are_files_like_others() -> None:
    found = await model({"/opt/model/MLmodel": MLMODEL, "/opt/model/sub/settings.json": '{"debug": true}'})
    assert found.harmless == ()


async def test_many_models_with_many_files_exceed_a_limit() -> None:
    files: Files = {}
    for number in range(4):
        files |= {f"/opt/{number}/MLmodel": MLMODEL} | {f"/opt/{number}/{n}": f"{number}-{n}" for n in range(5000)}
    with pytest.raises(ImageError) as caught:
        await models(files)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


async def test_a_scan_with_models_comes_back_from_its_record() -> None:
    files: Files = {
        "/opt/model/MLmodel": MLMODEL,
        "/opt/model/settings.json": "{}",
        "/opt/model/code/__pycache__/a.cpython-311.pyc": b"x" * 20,
        "/opt/undetermined/MLmodel": MLMODEL,
        "/opt/undetermined/evil": To("/nowhere"),
    }
    found = await scanned(layer(*items(BASE | files)))
    assert {bool(one.undetermined) for one in found.models} == {True, False}
    assert scan_from_record(scan_to_record(found)) == found
