"""The report's line, and what its notice vouches for."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lockstep.observer.report import MAX_REPORT, InvalidReportError, MappedFile, Process, Report, find_report, notice_of
from tests.unit.observer.processes import READY, SERVER, python, running, view

PROCESS = Process(12, 1, "/usr/bin/python3.11", ("python", "serve.py"), "/app", {"PYTHONPATH": "/x"}, True, (0,))
REPORT = Report((PROCESS,), (MappedFile("/usr/bin/python3.11", "ab" * 32),), {"/opt/site-packages": ("a-1.dist-info",)})


def test_a_report_is_read_as_it_was_written() -> None:
    assert Report.parse(REPORT.dump()) == REPORT
    assert b"\n" not in REPORT.dump()


def test_the_log_holds_the_report_among_other_lines() -> None:
    line = REPORT.dump()
    assert find_report(b"starting\n" + line + b"\nmore\n", notice_of(line)) == REPORT


@pytest.mark.parametrize(
    ("log", "notice"),
    [
        (b"", notice_of(REPORT.dump())),
        (Report().dump(), notice_of(REPORT.dump())),
        (REPORT.dump()[:-1], notice_of(REPORT.dump())),
        (REPORT.dump(), "Traceback (most recent call last)"),
        (REPORT.dump(), "{}"),
        (REPORT.dump(), ""),
    ],
)
def test_what_the_notice_is_not_about_is_no_report(log: bytes, notice: str) -> None:
    with pytest.raises(InvalidReportError):
        find_report(log, notice)


CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda stated: stated.pop("processes"),
    lambda stated: stated.update(format="other"),
    lambda stated: stated.update(files=3),
    lambda stated: stated["processes"][0].update(files=[1]),
    lambda stated: stated["processes"][0].update(files=[-1]),
    lambda stated: stated["processes"][0].update(pid="1"),
    lambda stated: stated["processes"][0].update(pid=True),
    lambda stated: stated["processes"][0].update(argv=[1]),
    lambda stated: stated["files"][0].update(path=None),
    lambda stated: stated.update(undetermined=None),
    lambda stated: stated.update(folders=[1]),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_no_report_is_none(change: Callable[[dict[str, Any]], object]) -> None:
    stated = json.loads(REPORT.dump())
    change(stated)
    with pytest.raises(InvalidReportError):
        Report.parse(json.dumps(stated).encode())


@pytest.mark.parametrize("line", [b"", b"[]", b"\xff", b"[" * 100000, b" " * (MAX_REPORT + 1)])
def test_what_is_no_json_is_no_report(line: bytes) -> None:
    with pytest.raises(InvalidReportError):
        Report.parse(line)


def test_the_program_prints_what_its_notice_vouches_for(tmp_path: Path) -> None:
    message = tmp_path / "message"
    with running(*python(SERVER + READY), env={"PYTHONPATH": "/nowhere"}) as server:
        view(tmp_path / "proc", server.pid)
        program = (sys.executable, "-m", "lockstep.observer", "--port", str(server.port), "--variables", "PYTHONPATH")
        places = ("--proc", str(tmp_path / "proc"), "--message", str(message))
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        log = subprocess.run([*program, *places], env=env, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    assert len(message.read_bytes()) < 4096
    (process,) = find_report(log, message.read_text()).processes
    assert (process.pid, process.variables) == (server.pid, {"PYTHONPATH": "/nowhere"})
