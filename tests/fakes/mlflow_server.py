"""A real MLflow tracking server on loopback, with a store and artifacts of its own."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

_START_SECONDS = 120


def free_port() -> int:
    """Return a loopback port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MLflowServer:
    """`mlflow server`, running from `with` to its end."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Keep everything below `folder`; `options` take the place of those that let the server proxy artifacts."""
        self._folder = folder
        self._options = options or ("--artifacts-destination", str(self.artifacts))
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def artifacts(self) -> Path:
        """Where the artifacts are that the server proxies."""
        return self._folder / "artifacts"

    @property
    def log(self) -> str:
        return (self._folder / "server.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder / 'store.db'}"]
        command += self._options
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self._folder / "server.log").open("wb") as log:
            # A session of its own, so that its workers end with it.
            self._process = subprocess.Popen(
                command, env=environment, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and its workers."""
        process, self._process = self._process, None
        if process is None:
            return
        for end in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, end)
                process.wait(20)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue

    def _wait(self) -> None:
        assert self._process is not None
        deadline, pause = time.monotonic() + _START_SECONDS, threading.Event()
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the MLflow server ended: {self.log[-2000:]}")
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pause.wait(0.1)
        raise RuntimeError(f"the MLflow server did not become healthy: {self.log[-2000:]}")
