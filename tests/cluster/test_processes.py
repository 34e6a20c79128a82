"""The node's helpers: only processes of ours are killed, and waits end."""

import subprocess
from pathlib import Path

import pytest

from tests.cluster.processes import Process, run
from tests.cluster.say import ClusterError
from tests.cluster.wait import until


def test_process_is_known_by_its_start_time(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as sleep:
        process = Process.of(sleep.pid)
        assert process is not None
        (tmp_path / "pid").write_text(str(process))
        assert Process.read(tmp_path / "pid") == process
        stranger = Process(process.pid, "1")
        stranger.kill()
        assert not stranger.alive()
        assert process.alive()
        process.kill()
        assert not process.alive()


@pytest.mark.parametrize("text", ["", "12", "12 x", "-1 5", "a b"])
def test_damaged_pid_file_names_nobody(text: str) -> None:
    assert Process.parse(text) is None


def test_wait_returns_the_result_or_says_what_did_not_happen() -> None:
    assert until(lambda: 7, 1, "seven") == 7
    with pytest.raises(ClusterError, match="the sky falls: not so after 0 s"):
        until(lambda: False, 0, "the sky falls")


def test_missing_program_is_named() -> None:
    with pytest.raises(ClusterError, match="lockstep-no-such-program is needed and was not found: install it"):
        run("lockstep-no-such-program")
