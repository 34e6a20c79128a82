"""Asks a pod that is not ready what the kubelet asks it, so that a refusal can say what it answers."""

import os
from typing import Protocol

import aiohttp

from lockstep.api.server import Server
from lockstep.rollout.manifests import ready_path

_SECONDS = 5.0
_SAID = 200


class Prober(Protocol):
    """Asks one pod for its readiness."""

    async def said(self, *, address: str, server: Server) -> str:
        """Return what the pod at `address` (its IP) answers where its readiness is asked for, as a sentence. Never raises."""
        ...


class HttpProber:
    """Asks over HTTP, as the kubelet's readiness probe does; implements `Prober`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def said(self, *, address: str, server: Server) -> str:
        """See `Prober.said`."""
        host = f"[{address}]" if ":" in address else address
        asked = f"GET {ready_path(server)} on port {server.port}"
        patience = aiohttp.ClientTimeout(total=_SECONDS)
        url = f"http://{host}:{server.port}{ready_path(server)}"
        try:
            async with self._session.get(
                url, headers={"Accept-Encoding": "identity"}, timeout=patience, allow_redirects=False
            ) as response:
                # What a server says that is well is none of ours.
                body = await response.content.read(_SAID) if response.status >= 400 else b""
                said = body.decode("utf-8", "replace").strip()
                return f"{asked} was answered with {response.status}" + (f": {said}" if said else "")
        except TimeoutError:
            return f"{asked} was not answered within {_SECONDS:g} s"
        except aiohttp.ClientConnectorError as error:
            number = error.os_error.errno
            why = os.strerror(number).lower() if number else str(error.os_error)
            return f"{asked}: {why}"
        except (aiohttp.ClientError, ValueError, OSError) as error:
            return f"{asked}: {str(error) or type(error).__name__}"
