"""`/healthz`, `/readyz` and `/metrics` over HTTP."""

import asyncio
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

_SHUTDOWN_SECONDS = 1.0


class Health:
    """What the probes answer. Alive: the watches and the lease loop run. Ready: everything has been listed once."""

    def __init__(self) -> None:
        self.alive = True
        self.ready = asyncio.Event()


async def serve_probes(health: Health, port: int, host: str | None = None) -> web.AppRunner:
    """Serve liveness and readiness; the caller cleans the runner up."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if health.alive else web.Response(status=503, text="stopping\n")

    async def readyz(_: web.Request) -> web.Response:
        ready = health.ready.is_set() and health.alive
        return web.Response(text="ok\n") if ready else web.Response(status=503, text="starting\n")

    return await _serve({"/healthz": healthz, "/readyz": readyz}, port, host)


async def serve_metrics(
    registry: CollectorRegistry, update: Callable[[], None], port: int, host: str | None = None
) -> web.AppRunner:
    """Serve the metrics; `update` is called before each scrape."""

    async def metrics(_: web.Request) -> web.Response:
        update()
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return await _serve({"/metrics": metrics}, port, host)


async def _serve(routes: "dict[str, Callable[[web.Request], object]]", port: int, host: str | None) -> web.AppRunner:
    app = web.Application()
    for path, handler in routes.items():
        app.router.add_get(path, handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
