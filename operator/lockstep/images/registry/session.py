"""The HTTP session of the registry client: shared by all namespaces, so that it keeps nothing of any."""

import aiohttp

from lockstep.images.registry.options import RegistryOptions
from lockstep.images.registry.resolver import GuardedResolver

_CONNECTIONS = 512
_CONNECTIONS_PER_HOST = 128
"""Fewer, so that a slow registry does not take those of all the others."""


def registry_session(options: RegistryOptions) -> aiohttp.ClientSession:
    """Open the session for image registries and their token services; nothing else goes through it.

    Bodies arrive as they were sent, since digests are of those bytes. Cookies are not kept: a session that one
    namespace's login opened must not serve another's request. Proxies and .netrc of the process are not used.
    """
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(aiohttp.ThreadedResolver(), options),
        limit=_CONNECTIONS,
        limit_per_host=_CONNECTIONS_PER_HOST,
    )
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
    )
