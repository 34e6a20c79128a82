"""The port through which a stranger's bytes are read."""

from collections.abc import AsyncGenerator
from typing import Protocol


class Workers(Protocol):
    """Runs the work of one module of this package on bytes that nobody vouches for."""

    async def run(self, module: str, worker_input: AsyncGenerator[bytes, None], party: str) -> bytes:
        """Return what the module's `work` returns.

        Args:
            module: by name, one of this package that has a `work`: `layer`, `describe`, `observed` or `identity`.
            worker_input: the request line and what follows it.
            party: on whose behalf; parties take turns.

        Raises:
            ImageError: what `work` raised, what reading `worker_input` raised, or ScanFailed (a retry) when it ended otherwise.
        """
        ...
