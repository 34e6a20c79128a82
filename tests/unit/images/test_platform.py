"""A platform as people write it: the chart's setting and the command line read it alike."""

import pytest

from lockstep.cli.access.access import parse_platform
from lockstep.cli.exit import CommandError
from lockstep.controller.settings import InvalidSettingError, Settings
from lockstep.images.image import ImagePlatform

GOOD = {
    "linux/amd64": ImagePlatform("linux", "amd64"),
    "linux/arm64/v8": ImagePlatform("linux", "arm64", "v8"),
    "linux/arm/v7": ImagePlatform("linux", "arm", "v7"),
}
BAD = ["linux", "linux/", "/amd64", "linux//v8", "linux/arm64/v8/x", "linux/arm 64", "linux/amd64\n", " linux/amd64"]


@pytest.mark.parametrize(("text", "platform"), GOOD.items())
def test_setting_and_command_line_read_a_platform_alike(text: str, platform: ImagePlatform) -> None:
    assert Settings.from_environment({"LOCKSTEP_PLATFORM": text}).platform == platform
    assert parse_platform(text) == platform
    assert str(platform) == text


@pytest.mark.parametrize("text", BAD)
def test_what_is_not_a_platform_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidSettingError, match=r"LOCKSTEP_PLATFORM.*linux/arm64/v8"):
        Settings.from_environment({"LOCKSTEP_PLATFORM": text})
    with pytest.raises(CommandError, match=r"PlatformNotFound.*linux/arm64/v8"):
        parse_platform(text)
