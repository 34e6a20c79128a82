"""What is reported of real processes."""

import hashlib
import os
import shutil
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from lockstep.observer.look import look
from lockstep.observer.report import Process, Report
from tests.unit.observer.processes import READY, SERVER, python, running, view

OWN = os.getpid()
MAPS = (
    SERVER + "import ctypes\nctypes.CDLL(os.environ['OBJECT'])\nif 'AFTER' in os.environ: exec(os.environ['AFTER'])\n" + READY
)


def one(report: Report) -> Process:
    assert report.undetermined == ""
    (process,) = report.processes
    return process


def test_a_process_is_reported_with_what_it_runs(tmp_path: Path) -> None:
    with running(*python(SERVER + READY), env={"PYTHONPATH": "/nowhere", "COLOUR": "mauve"}, cwd=tmp_path) as server:
        report = look(view(tmp_path / "proc", server.pid), server.port, {"PYTHONPAT*"}, OWN)
    process = one(report)
    assert (process.pid, process.parent, process.serves) == (server.pid, OWN, True)
    assert process.executable == os.path.realpath(sys.executable)
    assert process.argv == python(SERVER + READY)
    assert process.working_directory == str(tmp_path)
    assert process.variables == {"PYTHONPATH": "/nowhere"}
    assert b"mauve" not in report.dump()


def test_what_it_maps_is_reported_by_the_digest_of_its_bytes(tmp_path: Path) -> None:
    with running(*python(SERVER + READY)) as server:
        report = look(view(tmp_path / "proc", server.pid), server.port, (), OWN)
    mapped = {report.files[number].path: report.files[number] for number in one(report).files}
    interpreter = os.path.realpath(sys.executable)
    assert mapped[interpreter].sha256 == hashlib.sha256(Path(interpreter).read_bytes()).hexdigest()
    assert any("/libc.so." in path or "/ld-musl" in path for path in mapped)
    assert not any(file.deleted for file in mapped.values())


def an_object(folder: Path) -> Path:
    """Return a copy of one of Python's extension modules, which a process can load."""
    modules = Path(sysconfig.get_path("stdlib")) / "lib-dynload"
    return Path(shutil.copy(min(modules.glob("*.so")), folder / "model.so"))


@pytest.mark.parametrize("after", ["os.remove(os.environ['OBJECT'])", "os.rename(os.environ['OTHER'], os.environ['OBJECT'])"])
def test_a_mapped_file_that_was_taken_away_is_deleted(after: str, tmp_path: Path) -> None:
    loaded = an_object(tmp_path)
    (tmp_path / "other").write_text("innocent")
    env = {"OBJECT": str(loaded), "OTHER": str(tmp_path / "other"), "AFTER": after}
    with running(*python(MAPS), env=env) as server:
        report = look(view(tmp_path / "proc", server.pid), server.port, (), OWN)
    (file,) = [file for file in report.files if file.path == str(loaded)]
    assert file.deleted
    assert file.sha256 is None


def test_code_that_is_in_no_file_is_reported(tmp_path: Path) -> None:
    after = "import mmap; held = mmap.mmap(os.memfd_create('model.so'), 0 or 4096, prot=5)"
    env = {"OBJECT": str(an_object(tmp_path)), "AFTER": f"fd = os.memfd_create('model.so'); os.truncate(fd, 4096); {after}"}
    env["AFTER"] = env["AFTER"].replace("os.memfd_create('model.so'), 0 or", "fd,")
    with running(*python(MAPS), env=env) as server:
        report = look(view(tmp_path / "proc", server.pid), server.port, (), OWN)
    assert any(file.path == "/memfd:model.so" and file.deleted for file in report.files)


def test_workers_name_the_same_files_once(tmp_path: Path) -> None:
    code = SERVER + "r, w = os.pipe()\nif not os.fork():\n    os.read(r, 1)\n    os._exit(0)\n" + READY
    with running(*python(code)) as server:
        report = look(view(tmp_path / "proc", *server.pids()), server.port, (), OWN)
    first, second = report.processes
    assert set(first.files) == set(second.files)
    assert len(report.files) == len(first.files)


def test_packages_are_listed_where_the_interpreter_finds_them(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv").glob("lib/python3*/site-packages")
    (site / "model-1.0.dist-info").mkdir()
    (site / "model.py").write_text("")
    extra = tmp_path / "extra"
    (extra / "late-2.0.dist-info").mkdir(parents=True)
    env = {"PYTHONPATH": f"{extra}:relative", "PYTHONUSERBASE": str(tmp_path / "user")}
    with running(*python(SERVER + READY, executable=str(tmp_path / "venv/bin/python")), env=env) as server:
        report = look(view(tmp_path / "proc", server.pid), server.port, set(env), OWN)
    assert report.folders is not None
    assert report.folders[str(site)] == ("model-1.0.dist-info",)
    assert report.folders[str(extra)] == ("late-2.0.dist-info",)


def test_secrets_of_variables_are_taken_out_of_command_lines(tmp_path: Path) -> None:
    argv = (*python(SERVER + READY), "--key=correct-horse", "/opt/venv/x", "--short=abc")
    env = {"API_KEY": "correct-horse", "VENV": "/opt/venv", "MY_TOKEN": "abc"}
    with running(*argv, env=env) as server:
        report = look(view(tmp_path / "proc", server.pid), server.port, (), OWN)
    assert one(report).argv[3:] == ("--key=${API_KEY}", "/opt/venv/x", "--short=abc")


def test_a_link_leads_where_the_process_sees_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("here")
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "relative").symlink_to("../" + tmp_path.name + "/absolute")
    (tmp_path / "round").symlink_to("round")
    with running(*python(SERVER + READY)) as server:
        proc = view(tmp_path / "proc", server.pid)
        digest, size = proc.sha256(server.pid, str(tmp_path / "relative/file"), 100)
        assert proc.sha256(server.pid, str(tmp_path / "relative/file"), 3)[0] is None
        with pytest.raises(OSError, match="too many links"):
            proc.resolve(server.pid, str(tmp_path / "round/x"))
        assert proc.resolve(server.pid, "/etc/../..").startswith(str(tmp_path / "proc"))
    assert (digest, size) == (hashlib.sha256(b"here").hexdigest(), 4)


def test_who_can_not_be_found_is_said(tmp_path: Path) -> None:
    with running(*python(SERVER + READY)) as server:
        report = look(view(tmp_path / "proc", server.pid), 1, (), OWN)
    assert "listens at port 1" in report.undetermined
    assert report.processes == ()
