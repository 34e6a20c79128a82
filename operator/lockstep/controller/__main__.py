"""`python -m lockstep.controller`: reads the settings, connects, runs until SIGTERM or until the Lease is lost."""

import asyncio
import logging
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from lockstep import __version__
from lockstep.controller.clock import SystemClock
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.controller import LEASE_NAME, Controller
from lockstep.controller.leader import Leader, LostError
from lockstep.controller.settings import InvalidSettingError, Settings
from lockstep.controller.sources.images import ImageAccess, registry_options
from lockstep.images.registry.session import registry_session
from lockstep.observability import log

_log = logging.getLogger("lockstep.controller")
_THREADS = 256
_CONNECTIONS = 512


def main() -> int:
    """Run the controller and return the process's exit status."""
    try:
        settings = Settings.from_environment()
    except InvalidSettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    log.configure(settings.log_format)
    _log.info("lockstep %s starts as %s", __version__, settings.identity)
    lost = False
    try:
        asyncio.run(_run(settings))
    except* LostError as group:
        _log.error("the Lease is lost: %s", group.exceptions[0])
        lost = True
    return 1 if lost else 0


async def _run(settings: Settings) -> None:
    await _configure()
    clock = SystemClock()
    # A name server that does not answer holds a thread for as long as it likes, and nobody else's look-up waits for that.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="lockstep"))
    options = registry_options(settings)
    async with (
        _api_client() as client,
        # Of its own: the Lease is renewed however many calls wait for a connection.
        _api_client() as lease,
        _session() as session,
        registry_session(options) as registries,
    ):
        # The Lease is what the fence stands on, so that its own calls can't be fenced.
        leader = Leader(
            KubernetesCluster(lease, lambda: float("inf")),
            clock,
            namespace=settings.namespace,
            name=LEASE_NAME,
            identity=settings.identity,
        )
        cluster = KubernetesCluster(client, leader.remaining)
        images = ImageAccess(cluster, registries, options, settings.limits)
        controller = Controller(settings=settings, cluster=cluster, leader=leader, clock=clock, session=session, images=images)
        loop = asyncio.get_running_loop()
        for signal_ in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_, controller.stop)
        await controller.run()
    _log.info("stopped")


def _api_client() -> ApiClient:
    configuration = Configuration.get_default_copy()
    # Without this each call looks for .netrc and proxies in two threads of the pool that names are looked up in.
    configuration.client_session_kwargs = {"trust_env": False}
    return ApiClient(configuration)


def _session() -> aiohttp.ClientSession:
    # MLflow's server answers kept-alive connections 40 ms later than new ones. How many are asked at a time is bounded by
    # who asks.
    connector = aiohttp.TCPConnector(force_close=True, limit=_CONNECTIONS)
    return aiohttp.ClientSession(connector=connector, auto_decompress=False)


async def _configure() -> None:
    """Connect as a pod does, else with the kubeconfig of whoever runs this."""
    try:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
    except config.ConfigException:
        await config.load_kube_config()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    sys.exit(main())
