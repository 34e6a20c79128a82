"""Settings from the environment."""

from dataclasses import replace

import pytest

from lockstep.controller.settings import InvalidSettingError, Settings
from lockstep.controller.sources.images import registry_options
from lockstep.images.image import ImagePlatform
from lockstep.images.limits import MIB, Limits
from lockstep.lineage.reading import ReadingLimits


def test_settings_are_read_from_the_environment() -> None:
    found = Settings.from_environment(
        {
            "LOCKSTEP_NAMESPACE": "platform",
            "LOCKSTEP_POD_NAME": "lockstep-0",
            "LOCKSTEP_GUARD_BINDINGS": "one, two,",
            "LOCKSTEP_GUARD_DIGESTS": f"one={'a' * 64},two={'b' * 64}",
            "LOCKSTEP_INSECURE_REGISTRIES": "localhost:5000",
            "LOCKSTEP_PRIVATE_REGISTRIES": "r.svc:5000, s.svc",
            "LOCKSTEP_TOKEN_SERVICES": "gitlab.example.com",
            "LOCKSTEP_CLUSTER_RANGES": "10.244.0.0/16,fd00:10:96::/112",
            "KUBERNETES_SERVICE_HOST": "10.96.0.1",
            "LOCKSTEP_WATCH_NAMESPACES": "team",
            "LOCKSTEP_PLATFORM": "linux/arm64",
            "LOCKSTEP_METRICS_PORT": "9090",
            "LOCKSTEP_WORKERS": "8",
            "LOCKSTEP_SCAN_LIMITS": '{"entries": 600000, "zstdWindow": 8388608}',
            "LOCKSTEP_SCAN_PROCESSES": "4",
            "LOCKSTEP_MODEL_READS": "3",
            "LOCKSTEP_MODEL_GIGABYTES": "500",
            "LOCKSTEP_MODEL_SECONDS": "7200",
        }
    )
    assert (found.namespace, found.identity, found.workers, found.metrics_port) == ("platform", "lockstep-0", 8, 9090)
    assert found.guard_bindings == ("one", "two")
    assert found.guard_digests == {"one": "a" * 64, "two": "b" * 64}
    assert found.limits == replace(Limits(), entries=600_000, zstd_window=8 * MIB)
    assert found.scan_processes == 4
    assert (found.model_reads, found.reading_limits) == (3, ReadingLimits(bytes=500 * 10**9, seconds=7200.0))
    assert found.insecure_registries == {"localhost:5000"}
    assert found.platform == ImagePlatform("linux", "arm64")
    options = registry_options(found)
    assert options.base_url("localhost:5000") == "http://localhost:5000"
    assert options.private == {"r.svc:5000", "s.svc"}
    assert options.token_services == {"gitlab.example.com"}
    for address in ("127.0.0.1", "10.244.3.4", "fd00:10:96::1", "10.96.0.1"):
        assert options.refusal("elsewhere", 443, address) is not None
        assert options.refusal("s.svc", 443, address) is None
    assert options.refusal("elsewhere", 443, "10.96.0.2") is None


@pytest.mark.parametrize("host", ["", "api.example.com", "fd00:10:96::1"])
def test_the_api_servers_address_may_be_a_name(host: str) -> None:
    found = Settings.from_environment({"KUBERNETES_SERVICE_HOST": host})
    assert [str(network) for network in found.cluster_ranges] == (["fd00:10:96::1/128"] if ":" in host else [])


def test_an_empty_environment_gives_the_defaults_and_a_name() -> None:
    found = Settings.from_environment({})
    assert (found.namespace, found.workers, found.platform) == ("lockstep-system", 4, None)
    assert (found.model_reads, found.reading_limits) == (2, ReadingLimits())
    assert found.identity


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOCKSTEP_WORKERS", "0"),
        ("LOCKSTEP_WORKERS", "many"),
        ("LOCKSTEP_METRICS_PORT", "-1"),
        ("LOCKSTEP_MODEL_READS", "65"),
        ("LOCKSTEP_MODEL_GIGABYTES", "0"),
        ("LOCKSTEP_MODEL_SECONDS", "1h"),
        ("LOCKSTEP_PLATFORM", "amd64"),
        ("LOCKSTEP_PLATFORM", "linux/"),
        ("LOCKSTEP_GUARD_DIGESTS", "one"),
        ("LOCKSTEP_GUARD_DIGESTS", "one=abc"),
        ("LOCKSTEP_METRICS_PORT", "²"),
        ("LOCKSTEP_METRICS_PORT", "70000"),
        ("LOCKSTEP_LOG_FORMAT", "xml"),
        ("LOCKSTEP_PROMOTION_DAYS", "0"),
        ("LOCKSTEP_REFUSALS_PER_DEPLOYMENT", "2000"),
        ("LOCKSTEP_CLUSTER_RANGES", "10.96.0.0/40"),
        ("LOCKSTEP_CLUSTER_RANGES", "10.96.0.1/12"),
        ("LOCKSTEP_CLUSTER_RANGES", "cluster"),
        ("LOCKSTEP_SCAN_LIMITS", "many"),
        ("LOCKSTEP_SCAN_LIMITS", "[]"),
        ("LOCKSTEP_SCAN_LIMITS", "7"),
        ("LOCKSTEP_SCAN_LIMITS", '{"layer": 1}'),
        ("LOCKSTEP_SCAN_LIMITS", '{"layers": 0}'),
        ("LOCKSTEP_SCAN_LIMITS", '{"layers": true}'),
        ("LOCKSTEP_SCAN_LIMITS", '{"layers": "9"}'),
    ],
)
def test_a_setting_that_can_not_be_understood_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidSettingError, match=name):
        Settings.from_environment({name: value})
