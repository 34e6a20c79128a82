"""The key that signs what a training job records."""

from pathlib import Path

import pytest

from lockstep.formats.keys import InvalidKeyError
from lockstep.training import EnvironmentNotLoggedError, log_environment
from lockstep.training.signing import signing_key
from tests.fakes.signing import key, pem_of

RELEASE = key("release")


def test_a_key_is_a_text_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "release.key").write_bytes(pem_of("release"))
    for given in (pem_of("release").decode(), str(tmp_path / "release.key"), tmp_path / "release.key"):
        assert signing_key(given).public == RELEASE.public


def test_a_key_that_can_not_be_used_is_never_shown() -> None:
    broken = pem_of("release").decode().replace("-----BEGIN", "BEGIN")
    with pytest.raises(InvalidKeyError) as caught:
        signing_key(broken)
    assert broken.splitlines()[1] not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_without_a_usable_key_nothing_is_recorded_and_the_job_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_environment(sign_key=tmp_path / "absent") == []
    assert "NOT recorded" in capsys.readouterr().out
    with pytest.raises(EnvironmentNotLoggedError):
        log_environment(sign_key=tmp_path / "absent", strict=True)
