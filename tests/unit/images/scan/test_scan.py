"""Whole images in memory: what they start, and that it does not matter how they are cut into layers."""

import hashlib
import io
import random
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.api.reasons import Reason
from lockstep.environment.document import Cuda, EnvironmentDocument, LibraryKind
from lockstep.formats.canonical import sha256_of
from lockstep.formats.modelfiles import ModelFile, ModelFiles
from lockstep.images.image import ImageError
from lockstep.images.layout import LayoutSource
from lockstep.images.limits import Limits
from lockstep.images.resolve import resolve
from lockstep.images.scan.record import InvalidRecordError, scan_from_record, scan_to_record
from lockstep.images.scan.result import ImageModel, ImageScan, UndeterminedImageError
from lockstep.images.scan.scan import Scanner
from lockstep.observer.report import MappedFile, Process, Report
from tests.fakes.images import LINUX, Item, Layer, MemorySource, directory, hard_link, layer, raw_layer
from tests.fakes.roots import GLIBC, VENV_SITE, Files, To, debian, distribution, elf, items, record_row, shared, venv
from tests.fakes.rpm import BASH, database, package
from tests.fakes.workers import InProcess, scan

PATH = "PATH=/opt/venv/bin:/usr/bin:/bin"
SETTINGS = {"Entrypoint": ["mlflow"], "Cmd": ["models", "serve"], "Env": [PATH]}
PYC = b"\xa7\x0d\x0d\x0a" + bytes(8) + (3).to_bytes(4, "little") + b"code"
MLMODEL = "run_id: 0123456789abcdef0123456789abcdef\nmodel_id: m-1\nflavors:\n  sklearn: {run_id: other}\n"


def root() -> Files:
    files = debian() | venv()
    files |= distribution(VENV_SITE, "numpy", "1.26.4") | distribution(VENV_SITE, "scikit_learn", "1.4.2")
    files |= distribution("/usr/lib/python3/dist-packages", "numpy", "1.0.0")
    files |= {
        "/opt/venv/bin/mlflow": "#!/opt/venv/bin/python3\n",
        "/opt/model/MLmodel": MLMODEL,
        "/opt/model/data.bin": b"\0" * 5000,
        "/usr/share/doc/x": "text",
    }
    return files


async def scanned(*layers: Layer, limits: Limits | None = None, chunk: int = 65536, **settings: Any) -> ImageScan:
    source = MemorySource(chunk)
    source.image(layers, settings=SETTINGS | settings)
    return await scan(source, await source.resolved(), limits or Limits())


async def refused(*layers: Layer, limits: Limits | None = None, **settings: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        await scanned(*layers, limits=limits, **settings)
    return caught.value


def versions(document: EnvironmentDocument) -> dict[str, str]:
    return {package.name: package.version for package in document.packages}


async def test_an_image_is_described_by_what_it_starts() -> None:
    found = await scanned(layer(*items(root())))
    document = found.document
    assert versions(document) == {"numpy": "1.26.4", "scikit-learn": "1.4.2"}
    assert (document.python.implementation, document.python.version) == ("cpython", "3.11.2")
    assert (document.platform.os, document.platform.machine, document.platform.libc) == ("linux", "x86_64", "glibc 2.36")
    assert document.system.distribution == "debian 12"
    assert document.system.packages["libgomp1"] == "12.2.0-14"
    assert all(package.content and package.tags == ("py3-none-any",) for package in document.packages)


RPMS = database(package(*BASH))
CONDA = '{"name": "mkl", "version": "2024.1", "build": "h1_0"}'
SYSTEMS: list[tuple[Files, dict[str, str]]] = [
    ({"/var/lib/rpm/rpmdb.sqlite": RPMS, "/var/lib/rpm/rpmdb.sqlite-wal": ""}, {"bash": "5.1.8-9.el9"}),
    ({"/var/lib/rpm": To("../../usr/lib/sysimage/rpm"), "/usr/lib/sysimage/rpm/rpmdb.sqlite": RPMS}, {"bash": "5.1.8-9.el9"}),
    ({"/usr/share/rpm/rpmdb.sqlite": RPMS}, {"bash": "5.1.8-9.el9"}),
    ({"/var/lib/rpmmanifest/container-manifest-2": "a\t1-2\t0\t0\tv\t(none)\t1\tx86_64\t0\ts\n"}, {"a": "1-2"}),
    # Debian's /lib is a link to usr/lib.
    ({"/usr/lib/apk/db/installed": "P:musl\nV:1.2.5-r0\n"}, {"musl": "1.2.5-r0"}),
]


@pytest.mark.parametrize(("files", "expected"), SYSTEMS)
async def test_the_databases_of_package_managers_are_kept(files: Files, expected: dict[str, str]) -> None:
    without = {path: value for path, value in root().items() if path != "/var/lib/dpkg/status"}
    found = await scanned(layer(*items(without | {"/usr/bin/python3.11": elf()})), layer(*items(files)))
    assert found.document.system.packages == expected


@pytest.mark.parametrize("path", ["rpmdb.sqlite-wal", "Packages", "Packages.db"])
async def test_a_database_that_can_not_be_verified_refuses_the_image(path: str) -> None:
    files: Files = {"/var/lib/rpm/rpmdb.sqlite": RPMS, f"/var/lib/rpm/{path}": "x"}
    assert (await refused(layer(*items(root() | files)))).reason is Reason.SYSTEM_UNVERIFIABLE


async def test_condas_records_and_the_toolkits_version_are_kept() -> None:
    files: Files = {
        "/opt/conda/bin/python": elf(),
        "/opt/conda/lib/python3.11/os.py": "",
        "/opt/conda/conda-meta/mkl-2024.1-h1_0.json": CONDA,
        # Larger than what is kept of a record.
        "/opt/conda/conda-meta/boost-1.86.0-h2_0.json": " " * 1_100_000,
        "/usr/local/cuda": To("cuda-12.4"),
        "/usr/local/cuda-12.4/version.json": '{"cuda_cudart": {"version": "12.4.127"}}',
    }
    found = await scanned(layer(*items(root() | files)), Entrypoint=["/opt/conda/bin/python"])
    assert found.document.system.conda == {"mkl": "2024.1 h1_0", "boost": "1.86.0 h2_0"}
    assert found.document.cuda == Cuda(runtime="12.4.127")


def native(*needed: str, **parts: Any) -> Files:
    path = "lightgbm/lib/lib_lightgbm.so"
    files = distribution(VENV_SITE, "lightgbm", "4.6.0", RECORD=f"{path},,\n")
    return files | {f"{VENV_SITE}/{path}": shared(*needed, **parts)}


def missing(found: ImageScan) -> dict[str, tuple[str, ...]]:
    return {package.name: package.missing for package in found.document.packages if package.missing}


GOMP: Files = {"/opt/lib/libgomp.so.1": To("libgomp.so.1.0.0"), "/opt/lib/libgomp.so.1.0.0": shared()}


async def test_shared_libraries_that_the_image_lacks_are_named() -> None:
    lower, upper = layer(*items(root() | native("libgomp.so.1"))), layer(*items(GOMP))
    assert missing(await scanned(lower)) == {"lightgbm": ("libgomp.so.1",)}
    assert missing(await scanned(lower, upper)) == {"lightgbm": ("libgomp.so.1",)}
    variable = [PATH, "LD_LIBRARY_PATH=/opt/lib"]
    assert missing(await scanned(lower, upper, Env=variable)) == {}
    configured = layer(*items({"/etc/ld.so.conf": "include ld.so.conf.d/*.conf\n", "/etc/ld.so.conf.d/x.conf": "/opt/lib\n"}))
    assert missing(await scanned(lower, upper, configured)) == {}
    assert missing(await scanned(lower, upper, configured, layer(Item("opt/lib/.wh.libgomp.so.1.0.0")))) != {}


async def test_a_large_library_is_read_while_it_streams_past() -> None:
    large = root() | native("libgomp.so.1", gap=5 << 20)
    assert missing(await scanned(layer(*items(large)))) == {"lightgbm": ("libgomp.so.1",)}
    searched = [PATH, "LD_LIBRARY_PATH=/opt/lib"]
    assert missing(await scanned(layer(*items(large | GOMP)), Env=searched)) == {}


async def test_the_names_that_objects_need_count_as_evidence_that_is_kept() -> None:
    names = native(*(f"lib{number:0200}.so" for number in range(1000)))
    assert (await refused(layer(*items(root() | names)), limits=Limits(kept=200_000))).reason is Reason.LIMIT_EXCEEDED


START = '#!/bin/sh\nset -e\n. /opt/venv/bin/activate\nexec mlflow "$@"\n'
ACTIVATE = 'VIRTUAL_ENV="/opt/venv"\nexport VIRTUAL_ENV\nPATH="$VIRTUAL_ENV/bin:$PATH"\nexport PATH\n'


@pytest.mark.parametrize("path", ["/entrypoint.sh", "/app/start", "/srv/run_server", "/docker-entrypoint", "/x/y/serve.bash"])
async def test_entrypoint_scripts_are_kept_by_their_names(path: str) -> None:
    files = root() | {path: START, "/opt/venv/bin/activate": ACTIVATE}
    found = await scanned(layer(*items(files)), Entrypoint=[path], Cmd=["serve"], Env=[])
    assert versions(found.document) == {"numpy": "1.26.4", "scikit-learn": "1.4.2"}


async def test_a_script_of_any_other_name_is_refused_with_what_to_do() -> None:
    error = await refused(layer(*items(root() | {"/x/boot": START})), Entrypoint=["/x/boot"])
    assert error.reason is Reason.INTERPRETER_AMBIGUOUS
    assert "/entrypoint.sh" in error.message


async def test_a_binary_that_is_too_large_to_keep_is_known_by_how_it_begins() -> None:
    tini = b"\x7fELF".ljust(100_000, b"\0")
    for path in ("/tini", "/sbin/tini"):
        found = await scanned(layer(*items(root() | {path: tini})), Entrypoint=[path, "--", "mlflow"])
        assert versions(found.document)["numpy"] == "1.26.4"
    script = b"#!/bin/sh\n".ljust(100_000, b" ")
    assert (await refused(layer(*items(root() | {"/tini": script})), Entrypoint=["/tini", "--", "mlflow"])).reason is (
        Reason.INTERPRETER_AMBIGUOUS
    )


async def test_a_zipped_egg_is_kept_and_read() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as egg:
        egg.writestr("EGG-INFO/PKG-INFO", "Name: old\nVersion: 1.0\n")
    files: Files = {f"{VENV_SITE}/easy-install.pth": "./old-1.0.egg\n", f"{VENV_SITE}/old-1.0.egg": stream.getvalue()}
    assert versions((await scanned(layer(*items(root() | files)))).document)["old"] == "1.0"


async def test_where_a_script_can_not_be_followed_every_interpreter_that_could_be_meant_must_agree() -> None:
    script = '#!/bin/sh\nif [ "$X" ]; then set -- x; fi\nexec mlflow "$@"\n'
    found = await scanned(layer(*items(root() | {"/entrypoint.sh": script})), Entrypoint=["/entrypoint.sh"])
    assert versions(found.document) == {"numpy": "1.26.4", "scikit-learn": "1.4.2"}
    decoy_site = "/opt/other/lib/python3.11/site-packages"
    files = root() | {"/entrypoint.sh": script} | venv("/opt/other") | distribution(decoy_site, "scikit_learn", "9.9")
    error = await refused(layer(*items(files)), Entrypoint=["/entrypoint.sh"])
    assert error.reason is Reason.INTERPRETER_AMBIGUOUS
    assert isinstance(error, UndeterminedImageError)
    assert [model.path for model in error.models] == ["/opt/model"]
    assert {one.executable.rpartition("/bin/")[0] for one in error.candidates} == {"/opt/venv", "/opt/other"}
    assert {versions(one.document)["scikit-learn"] for one in error.candidates if one.document} == {"1.4.2", "9.9"}
    assert "/opt/other/bin/python" in error.message


async def test_programs_of_the_size_that_programs_have_are_told() -> None:
    """Their bodies are not kept: what they say of themselves is."""
    rest = bytes(200_000)
    large: Files = {
        "/usr/bin/python3.11": elf() + rest,
        "/usr/lib/x86_64-linux-gnu/libc.so.6": GLIBC + rest,
        "/usr/bin/dash": b"\x7fELF" + rest,
    }
    script: Files = {"/entrypoint.sh": '#!/bin/sh\nset -e\nexec "$@"\n'}
    document = (await scanned(layer(*items(root() | large | script)), Entrypoint=["/entrypoint.sh", "mlflow"])).document
    assert (document.python.version, document.platform.libc) == ("3.11.2", "glibc 2.36")


async def test_models_inside_are_found() -> None:
    found = await scanned(layer(*items(root())))
    run = "0123456789abcdef0123456789abcdef"
    bodies = {"MLmodel": MLMODEL.encode(), "data.bin": bytes(5000)}
    files = ModelFiles({path: ModelFile(sha256_of(body), len(body)) for path, body in bodies.items()})
    assert found.models == (ImageModel("/opt/model", sha256_of(MLMODEL.encode()), "m-1", run, files=files),)


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("run_id: 12345678901234567890123456789012\n", "12345678901234567890123456789012"),
        ("run_id: 'null'\n", "null"),
        ("run_id: null\n", None),
        ("run_id: {a: b}\nx: [run_id, y]\n", None),
        ("other: *a\n", None),
        ("", None),
        ('flavors: {}\nrun_id: "abc"\n', "abc"),
        ("a: &a [1]\nb: [*a, *a]\nrun_id: abc\n", "abc"),
    ],
)
async def test_a_models_identity_is_read_as_text(text: str, run: str | None) -> None:
    found = await scanned(layer(*items(root() | {"/opt/model/MLmodel": text})))
    assert found.models[0].run_id == run


@pytest.mark.parametrize(
    "text",
    [
        "run_id: a\nrun_id: b\n",
        "? [a]\n: run_id\nb: c\n",
        "<<: {run_id: a}\n",
        "[a, b]\n",
        "a: [\n",
        "[" * 20_000,
        "\0",
        "run_id: a\n---\nx: b\n",
    ],
)
async def test_a_model_that_can_be_read_differently_is_refused(text: str) -> None:
    assert (await refused(layer(*items(root() | {"/opt/model/MLmodel": text})))).reason is Reason.FILE_UNREADABLE


async def test_a_model_of_aliases_of_aliases_takes_no_memory() -> None:
    lines = ["a0: &a0 {k: v}"] + [f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    found = await scanned(layer(*items(root() | {"/opt/model/MLmodel": "\n".join([*lines, "run_id: abc"])})))
    assert found.models[0].run_id == "abc"


async def test_the_code_of_a_model_inside_is_part_of_the_document() -> None:
    found = await scanned(layer(*items(root() | {"/opt/model/code/fraud.py": "x = 1"})))
    assert found.document.code["fraud.py"] == sha256_of(b"x = 1")


async def test_an_edited_file_of_a_package_is_found_in_whichever_layer_it_was_edited() -> None:
    path = f"{VENV_SITE}/numpy/__init__.py"
    found = await scanned(layer(*items(root())), layer(*items({path: "evil"})))
    assert {package.name: package.changed for package in found.document.packages} == {
        "numpy": ("numpy/__init__.py",),
        "scikit-learn": None,
    }


async def test_a_package_in_any_directory_outside_the_systems_is_read() -> None:
    data = {"/libs/own/data.bin": "data"}
    files = root() | distribution("/libs", "own", "1.0", RECORD=record_row("own/data.bin", "data")) | data
    found = await scanned(layer(*items(files)), Env=[*SETTINGS["Env"], "PYTHONPATH=/libs"])
    assert {package.name: package.changed for package in found.document.packages}["own"] is None


async def test_byte_code_of_a_source_that_a_later_layer_changed_is_found() -> None:
    cache = f"{VENV_SITE}/numpy/__pycache__/loose.cpython-311.pyc"
    lower = root() | {f"{VENV_SITE}/numpy/loose.py": "abc", cache: PYC}
    assert (await scanned(layer(*items(lower)))).document.bytecode is None
    upper = layer(*items({f"{VENV_SITE}/numpy/loose.py": "xyz"}))
    found = await scanned(layer(*items(lower)), upper)
    assert found.document.bytecode == {cache: "Stale"}
    same = layer(*items({f"{VENV_SITE}/numpy/loose.py": "abc"}))
    assert (await scanned(layer(*items(lower)), same)).document.bytecode is None


async def test_the_number_of_models_is_bounded() -> None:
    many: Files = {f"/m/{n}/MLmodel": "" for n in range(65)}
    assert (await refused(layer(*items(root() | many)))).reason is Reason.LIMIT_EXCEEDED


async def test_packages_that_an_upper_layer_removes_are_gone() -> None:
    upper = layer(Item(f"{VENV_SITE[1:]}/.wh.numpy-1.26.4.dist-info"), *items(distribution(VENV_SITE, "numpy", "2.0.0")))
    found = await scanned(layer(*items(root())), upper)
    assert versions(found.document)["numpy"] == "2.0.0"
    opaque = layer(Item(f"{VENV_SITE[1:]}/.wh..wh..opq"))
    assert versions((await scanned(layer(*items(root())), opaque)).document) == {}


async def test_a_hard_linked_metadata_is_read() -> None:
    cache, site = "/root/.cache/uv/x/torch-2.0.dist-info/METADATA", f"{VENV_SITE}/torch-2.0.dist-info/METADATA"
    linked = [Item(cache[1:], b"Name: torch\nVersion: 2.0\n"), hard_link(site[1:], cache[1:])]
    found = await scanned(layer(*items(root())), layer(*linked))
    assert versions(found.document)["torch"] == "2.0"


@pytest.mark.parametrize("cache", ["/root/.cache/uv", "/tmp/uv-cache", "/var/cache/uv"])
async def test_an_environment_of_hard_links_into_the_installers_cache_is_read(cache: str) -> None:
    """As uv installs, where its cache stays in the image."""
    table = "a,b\n1,2\n"
    files = distribution(VENV_SITE, "joblib", "1.4.0") | {f"{VENV_SITE}/joblib/data/iris.csv": table}
    record = f"{VENV_SITE}/joblib-1.4.0.dist-info/RECORD"
    files[record] = str(files[record]) + record_row("joblib/data/iris.csv", table)
    linked = [
        item
        for path, body in files.items()
        for stored in [f"{cache[1:]}/archive-v0/x{path.removeprefix(VENV_SITE)}"]
        for item in ((Item(stored, str(body).encode()), hard_link(path[1:], stored)) if path != record else ())
    ]
    found = await scanned(layer(*items(root())), layer(*linked, Item(record[1:], str(files[record]).encode())))
    assert versions(found.document)["joblib"] == "1.4.0"
    assert found.document.unowned is None


async def test_what_is_hidden_behind_a_hard_link_can_not_be_told() -> None:
    site = f"{VENV_SITE}/torch-2.0.dist-info/METADATA"
    linked = [Item("blob", b"Name: torch\nVersion: 2.0\n"), hard_link(site[1:], "blob")]
    assert (await refused(layer(*items(root())), layer(*linked))).reason is Reason.FILE_UNREADABLE


@pytest.mark.parametrize("value", ["9" * 600, "1.0\x1b[2J", ""])
async def test_metadata_that_no_document_can_hold_is_refused(value: str) -> None:
    bad = {f"{VENV_SITE}/x-1.dist-info/METADATA": f"Name: x\nVersion: {value}\n"}
    assert (await refused(layer(*items(root() | bad)))).reason is Reason.METADATA_INVALID


async def test_a_distribution_name_that_no_document_can_hold_is_refused() -> None:
    bad: Files = {"/usr/lib/os-release": f"ID={'x' * 600}\n"}
    assert (await refused(layer(*items(root() | bad)))).reason is Reason.METADATA_INVALID


async def test_an_image_that_starts_nothing_is_refused() -> None:
    assert (await refused(layer(*items(root())), Entrypoint=None, Cmd=None)).reason is Reason.INTERPRETER_NOT_FOUND
    assert (await refused()).reason is Reason.INTERPRETER_NOT_FOUND


async def test_a_digest_that_the_layer_does_not_have_is_refused() -> None:
    one = layer(*items(root()))
    lying = Layer(one.blob, one.media_type, sha256_of(b"other"))
    assert (await refused(lying)).reason is Reason.LAYER_CORRUPT


async def test_a_layer_that_was_exchanged_is_refused_and_may_be_tried_again() -> None:
    source = MemorySource()
    one = layer(*items(root()), kind="")
    source.image([one], settings=SETTINGS)
    source.blobs[one.descriptor.digest] = one.blob.replace(b"1.26.4", b"1.26.5")
    with pytest.raises(ImageError) as caught:
        await scan(source, await source.resolved(), Limits())
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert caught.value.retry


def own_python() -> bytes:
    shared = Path(sysconfig.get_config_var("LIBDIR") or "") / str(sysconfig.get_config_var("INSTSONAME"))
    return (shared if shared.is_file() else Path(sys.executable).resolve()).read_bytes()


async def test_the_python_of_this_machine_is_told() -> None:
    body = own_python()
    series = ".".join(str(part) for part in sys.version_info[:2])
    files = {f"/usr/local/bin/python{series}": b"\x7fELF", f"/usr/local/lib/libpython{series}.so.1.0": body}
    files |= {f"/usr/local/lib/python{series}/os.py": b""}
    found = await scanned(layer(*items(files)), Entrypoint=[f"/usr/local/bin/python{series}"], Cmd=[])
    assert found.document.python.version == sys.version.split()[0].rstrip("+")


async def test_a_bomb_ends_quickly() -> None:
    zeros = raw_layer(layer(Item("zeros", bytes(96 << 20)), kind="").blob, "zstd")
    error = await refused(zeros, limits=Limits(uncompressed=16 << 20))
    assert error.reason is Reason.LIMIT_EXCEEDED
    assert not error.retry


async def test_layers_and_chunks_of_every_size_are_read() -> None:
    whole = await scanned(layer(*items(root()), kind="zstd"))
    assert (await scanned(layer(*items(root())), chunk=7)).document == whole.document


async def test_a_layout_on_disk_is_read(tmp_path: Path) -> None:
    source = MemorySource()
    digest = source.image([layer(*items(root()))], settings=SETTINGS)
    source.write(tmp_path / "layout")
    expected = await scan(source, await source.resolved(), Limits())
    layout = LayoutSource.directory(tmp_path / "layout")
    for wanted in ("1", "", "latest", digest):
        image = await resolve(layout, wanted, LINUX, Limits())
        assert (await scan(layout, image, Limits())).document == expected.document
    with pytest.raises(ImageError) as caught:
        await layout.manifest("absent")
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND


async def test_a_layout_with_other_content_is_refused(tmp_path: Path) -> None:
    source = MemorySource()
    digest = source.image([layer(*items(root()))])
    source.blobs[digest] += b" "
    source.write(tmp_path / "layout")
    with pytest.raises(ImageError) as caught:
        await LayoutSource.directory(tmp_path / "layout").manifest("1")
    assert caught.value.reason is Reason.DIGEST_MISMATCH


async def test_a_record_gives_the_scan_back() -> None:
    found = await scanned(layer(*items(root())))
    assert scan_from_record(scan_to_record(found)) == found


async def test_a_record_that_was_changed_is_refused() -> None:
    record = scan_to_record(await scanned(layer(*items(root()))))
    for change in (
        {"documentDigest": "sha256:" + "0" * 64},
        {"documentDeflated": "!"},
        {"models": "{}1"},
        {"models": '[{"x": 1}]'},
    ):
        with pytest.raises(InvalidRecordError):
            scan_from_record(record | change)
    with pytest.raises(InvalidRecordError):
        scan_from_record({})


def cut(files: Files, seed: int) -> list[Layer]:
    """Cut a root file system into random layers, with files that come, go and come back on the way."""
    rng = random.Random(seed)
    paths = list(files)
    rng.shuffle(paths)
    count = rng.randint(1, 5)
    layers: list[list[Item]] = [[] for _ in range(count)]
    prefixes = ("", "./", "/")
    for path in paths:
        at = rng.randrange(count)
        (item,) = items({path: files[path]})
        if item.type == "0" and at and rng.random() < 0.4:
            before = rng.randrange(at)
            layers[before].append(Item(path.lstrip("/"), rng.choice([b"old", item.body + b"old"])))
            if at - before > 1 and rng.random() < 0.5:
                folder, _, name = path.lstrip("/").rpartition("/")
                layers[before + 1].append(Item(f"{folder}/.wh.{name}"))
        layers[at].append(Item(rng.choice(prefixes) + item.name, item.body, item.type, item.link))
    if count > 1 and rng.random() < 0.5:
        layers[0].append(Item("gone/site/evil-1.0.dist-info/METADATA", b"Name: evil\nVersion: 1.0\n"))
        layers[1].append(rng.choice([Item(".wh.gone"), Item("gone/.wh..wh..opq")]))
    for one in layers:
        if rng.random() < 0.5:
            one.append(directory("opt"))
        rng.shuffle(one)
    return [layer(*one, kind=rng.choice(["", "gzip", "zstd"])) for one in layers]


FIXED = root()


@settings(max_examples=60)
@given(st.integers(0, 2**32))
async def test_it_does_not_matter_how_a_tree_is_cut_into_layers(seed: int) -> None:
    whole, pieces = await scanned(layer(*items(FIXED))), await scanned(*cut(FIXED, seed))
    assert pieces.document.canonical() == whole.document.canonical()
    assert pieces.models == whole.models


@settings(max_examples=40)
@given(st.sampled_from(["numpy", "scikit_learn"]), st.sampled_from(["1.0", "2.0+cpu"]), st.integers(0, 2**32))
async def test_any_other_package_gives_another_document(name: str, version: str, seed: int) -> None:
    files = {path: body for path, body in FIXED.items() if f"/{name}-" not in path}
    changed = files | distribution(VENV_SITE, name, version)
    assert (await scanned(*cut(changed, seed))).document.digest != (await scanned(layer(*items(FIXED)))).document.digest


def decoy(mode: int) -> Layer:
    """Put another interpreter with the right packages where the PATH leads first."""
    files = venv("/opt/decoy") | distribution("/opt/decoy/lib/python3.11/site-packages", "numpy", "2.0.0")
    del files["/opt/decoy/bin/python3"]
    interpreter = Item("opt/decoy/bin/python3", elf(), mode=mode)
    return layer(*items(files), interpreter)


DECOY_FIRST: dict[str, Any] = {
    "Entrypoint": ["python3"],
    "Cmd": ["serve.py"],
    "Env": ["PATH=/opt/decoy/bin:/opt/venv/bin:/usr/bin"],
}


async def test_a_decoy_on_the_path_that_nobody_may_execute_is_passed_over_as_the_kernel_does() -> None:
    found = await scanned(layer(*items(root())), decoy(0o644), **DECOY_FIRST)
    assert versions(found.document)["numpy"] == "1.26.4"
    assert versions((await scanned(layer(*items(root())), decoy(0o755), **DECOY_FIRST)).document)["numpy"] == "2.0.0"


@pytest.mark.parametrize("mode", [0o700, 0o744, 0o655])
async def test_an_interpreter_that_only_some_may_execute_is_ambiguous(mode: int) -> None:
    error = await refused(layer(*items(root())), decoy(mode), **DECOY_FIRST)
    assert error.reason is Reason.INTERPRETER_AMBIGUOUS


async def test_an_entrypoint_that_nobody_may_execute_starts_nothing() -> None:
    error = await refused(layer(*items(root())), decoy(0o644), Entrypoint=["/opt/decoy/bin/python3"])
    assert error.reason is Reason.INTERPRETER_NOT_FOUND


def uvicorn(python: str = "/opt/venv/bin/python3") -> Files:
    text = f"#!{python}\nimport sys\nfrom uvicorn.main import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    return {"/opt/venv/bin/uvicorn": text, "/app/main.py": "app"}


async def test_the_whole_start_is_told_from_layers() -> None:
    files = root() | uvicorn() | {"/app/numpy.py": "evil"}
    found = (await scanned(layer(*items(files)), Entrypoint=["uvicorn"], Cmd=["main:app"], WorkingDir="/app")).document
    assert found.start is not None
    assert (found.start.executable, found.start.program) == ("/opt/venv/bin/python3", "/opt/venv/bin/uvicorn")
    assert (found.start.server, found.start.path[0]) == ("uvicorn", "/app")
    assert (found.shadows or {})["numpy"].file == "/app/numpy.py"


async def test_settings_of_servers_and_what_the_linker_preloads_are_kept() -> None:
    text = str(uvicorn()["/opt/venv/bin/uvicorn"]).replace("uvicorn.main import main", "gunicorn.app.wsgiapp import run")
    files = root() | {"/opt/venv/bin/gunicorn": text.replace("main())", "run())")}
    files |= {"/etc/gunicorn/conf.py": "chdir = '/opt/e'\n", "/etc/ld.so.preload": "/x.so\n"}
    found = await scanned(layer(*items(files)), Entrypoint=["gunicorn"], Cmd=["-c", "/etc/gunicorn/conf.py", "main:app"])
    assert found.document.start is not None
    assert found.document.start.path[0] == "/opt/e"
    assert list(found.document.startup or {}) == ["/etc/ld.so.preload"]


def library(**changes: str) -> Files:
    names = ("os", "re", "abc", "enum", "ast", "io", "site2", "types", "json")
    return {f"/usr/lib/python3.11/{name}.py": changes.get(name, name) for name in {*names, *changes}}


async def test_a_module_of_the_library_that_a_later_layer_changed_or_added_is_named() -> None:
    base = layer(*items(root() | library()))
    own = ["/usr/lib/python3.11/os.py"]

    async def named(*layers: Layer) -> list[str]:
        return list((await scanned(*layers)).document.library or {})

    assert await named(base) == []
    assert await named(base, layer(Item(own[0][1:], b"os", mode=0o600))) == []
    assert await named(base, layer(*items({own[0]: "evil"}))) == own
    assert await named(base, layer(*items(library(new="x")))) == ["/usr/lib/python3.11/new.py"]
    assert await named(layer(*items(root() | library(os="evil", new="x")))) == []


async def test_digests_that_package_managers_know_survive_the_layers_record() -> None:
    stated = library() | {"/usr/bin/python3.11": elf()}
    rows = "".join(f"{hashlib.md5(_raw(body)).hexdigest()}  {path[1:]}\n" for path, body in stated.items())
    lists = layer(*items({"/var/lib/dpkg/info/libpython3.11-stdlib:amd64.md5sums": rows}))
    base = layer(*items(root() | library()))
    assert (await scanned(base, lists)).document.library is None
    evil = layer(*items({"/usr/lib/python3.11/re.py": "evil"}))
    assert (await scanned(base, lists, evil)).document.library == {"/usr/lib/python3.11/re.py": LibraryKind.CHANGED}


def _raw(body: bytes | str | To | None) -> bytes:
    assert isinstance(body, bytes | str)
    return body.encode() if isinstance(body, str) else body


async def test_what_was_seen_in_a_pod_is_explained_by_the_layers() -> None:
    source = MemorySource()
    source.image([layer(*items(root() | {"/app/serve.py": ""}))], settings={"Entrypoint": ["supervisord"]})
    process = Process(7, 1, "/usr/bin/python3.11", ("/opt/venv/bin/python", "serve.py"), "/app", {"PATH": "/bin"}, True, (0,))
    report = Report((process,), (MappedFile("/tmp/x.so", "ab" * 32),))
    for scanner in (Scanner(Limits()), Scanner(Limits(), workers=InProcess())):
        found = await scanner.explain(source, await source.resolved(), report, {"COLOUR": "mauve"})
        (one,) = found.environments
        assert one.document is not None, one.fault
        assert versions(one.document)["scikit-learn"] == "1.4.2"
        assert await scanner.identify(source, await source.resolved(), "app") == (1000, 1000)
        assert found.findings == ("pid 7 runs /tmp/x.so, which is no file of the image",)
