"""Asks the stack's own pages over plain HTTP on the loopback."""

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fraisier.orchestrator.stack.ports import LOOPBACK

if TYPE_CHECKING:
    import httpx

ANSWER_S = 3.0
"""Seconds that one answer may take."""

# Nothing here speaks TLS, and loading the machine's certificates would hold the event loop up for 100 ms a client.
_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def get(port: int, path: str, params: Mapping[str, str] | None = None) -> "httpx.Response | None":
    """The answer of a page on the loopback, or None when nobody answers in time."""
    import httpx  # noqa: PLC0415 (slow to import, and most commands ask nothing)

    async with httpx.AsyncClient(timeout=ANSWER_S, trust_env=False, verify=_NO_CERTIFICATES) as client:
        try:
            return await client.get(f"http://{LOOPBACK}:{port}{path}", params=params)
        except httpx.TransportError:
            return None
