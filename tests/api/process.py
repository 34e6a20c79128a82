"""The controller as a process of its own, and an MLflow that knows no model."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from tests.api.installation import OPERATOR, SYSTEM, Installation
from tests.cluster.paths import REPOSITORY
from tests.cluster.say import ClusterError
from tests.cluster.wait import until
from tests.fakes.mlflow_server import free_port


class Controller:
    """`python -m lockstep.controller`, as the chart starts it; killed at the end of the context if it still runs."""

    def __init__(self, api: Installation, folder: Path, identity: str, **settings: str) -> None:
        self.identity = identity
        self._probes, self._metrics = free_port(), free_port()
        self._log = folder / f"{identity}.log"
        self._environment = {
            "KUBECONFIG": str(api.kubeconfig(OPERATOR)),
            "PYTHONPATH": str(REPOSITORY / "operator"),
            "LOCKSTEP_NAMESPACE": SYSTEM,
            "LOCKSTEP_POD_NAME": identity,
            "LOCKSTEP_GUARD_BINDINGS": api.guard_bindings,
            "LOCKSTEP_GUARD_DIGESTS": api.settings["LOCKSTEP_GUARD_DIGESTS"],
            "LOCKSTEP_PLATFORM": "linux/amd64",
            "LOCKSTEP_PROBES_PORT": str(self._probes),
            "LOCKSTEP_METRICS_PORT": str(self._metrics),
            "LOCKSTEP_LOG_FORMAT": "text",
        } | settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        unwanted = ("KUBE", "LOCKSTEP_", "MLFLOW_")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
        with self._log.open("ab") as log:
            # It dies with the thread that started it, so that a killed test run leaves none behind.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "lockstep.controller"],
                env=inherited | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._log.parent,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running.pid

    @property
    def ended(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._running.poll()

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise ClusterError("the controller has not been started")
        return self._process

    def kill(self) -> None:
        """Kill it, as a node does that is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def terminate(self, timeout: float) -> int:
        """Ask it to end as the kubelet does, and return its exit status."""
        self._running.send_signal(signal.SIGTERM)
        try:
            return self._running.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"it still runs {timeout:.0f} s after SIGTERM:\n{self.log[-3000:]}") from None

    def probe(self, path: str) -> int:
        """Ask a probe as the kubelet does; 0 when nothing answers."""
        try:
            with _open(f"http://127.0.0.1:{self._probes}{path}") as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def metrics(self) -> dict[str, float]:
        """Return the metrics by name with labels."""
        with _open(f"http://127.0.0.1:{self._metrics}/metrics") as response:
            lines = [line for line in response.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def ready(self, timeout: float = 30) -> Self:
        """Wait until it is ready."""

        def is_ready() -> bool:
            if self.ended is not None:
                raise ClusterError(f"the controller ended with {self.ended}:\n{self.log[-3000:]}")
            return self.probe("/readyz") == 200

        until(is_ready, timeout, "the controller is ready")
        return self

    def leading(self, timeout: float = 30) -> Self:
        """Wait until it leads."""
        self.ready(timeout)
        until(lambda: self.metrics()["lockstep_leader"] == 1, timeout, f"{self.identity} leads")
        return self


def _open(url: str) -> "urllib.request._UrlopenRet":
    # No proxy that the environment names is asked for loopback.
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5)


class EmptyMLflow:
    """Answers every question with RESOURCE_DOES_NOT_EXIST, as MLflow does for a version that was never registered."""

    _ANSWER: Mapping[str, str] = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Model Version not found"}

    def __init__(self, port: int) -> None:
        self.uri = f"http://127.0.0.1:{port}"
        self.asked = 0

    async def _answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response(dict(self._ANSWER), status=404)

    @classmethod
    @contextmanager
    def started(cls) -> Iterator["EmptyMLflow"]:
        """Serve in a thread of its own."""
        server = cls(free_port())
        loop = asyncio.new_event_loop()
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", server._answer)
        runner = web.AppRunner(app, access_log=None)

        async def serve() -> None:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", int(server.uri.rpartition(":")[2])).start()

        loop.run_until_complete(serve())
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(runner.cleanup())
            loop.close()
