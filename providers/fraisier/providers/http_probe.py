"""One HTTP probe, over whatever network reaches the target."""

import re
import ssl

import httpcore

from fraisier.providers.health import Sighting
from fraisier.providers.models import HealthCheck

BODY_LIMIT = 64 * 1024
"""How much of an answer is read, in bytes: a health endpoint that never ends must not fill the worker."""

SHOWN = 120
OK, REDIRECT = 200, 300


async def ask(check: HealthCheck, *, version: str, network: httpcore.AsyncNetworkBackend | None = None) -> Sighting:
    """Send one GET and judge the answer. Proxies in the worker's environment are not used.

    Args:
        check: holds the URL and what is expected.
        version: must stand in the body where the check says ``expect_version``.
        network: reaches the target; unless given, the worker's own does.
    """
    seconds = check.timeout.total_seconds()
    limits = {"timeout": {"connect": seconds, "read": seconds, "write": seconds, "pool": seconds}}
    headers = [("User-Agent", "fraisier"), ("Connection", "close")]
    try:
        async with (
            httpcore.AsyncConnectionPool(ssl_context=_certificates(check), network_backend=network) as pool,
            pool.stream("GET", check.http or "", headers=headers, extensions=limits) as response,
        ):
            return _judge(check, response, await _start_of(response), version)
    except (httpcore.NetworkError, httpcore.TimeoutException) as error:
        why = str(error) or type(error).__name__
        return Sighting(passed=False, answered=False, detail=f"no answer from {check.http}: {why}")
    except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        return Sighting(passed=False, detail=f"{check.http} does not speak HTTP: {error}")


def _certificates(check: HealthCheck) -> ssl.SSLContext | None:
    """The system's, so that a company's own authority counts (or SSL_CERT_FILE's): 30 ms, spent on HTTPS alone."""
    return ssl.create_default_context() if (check.http or "").startswith("https:") else None


async def _start_of(response: httpcore.Response) -> str:
    body = bytearray()
    async for part in response.aiter_stream():
        body += part
        if len(body) >= BODY_LIMIT:
            break
    return bytes(body[:BODY_LIMIT]).decode(errors="replace")


def _judge(check: HealthCheck, response: httpcore.Response, body: str, version: str) -> Sighting:
    status, shown = response.status, repr(body[:SHOWN])
    if status not in (check.status or range(OK, REDIRECT)):
        return Sighting(passed=False, detail=f"HTTP {status}: {shown}")
    wrong = _missing_header(check, response)
    if check.expect_version and not _names(body, version):
        wrong = f"not version {version}: {shown}"
    elif check.body is not None and not check.body.is_in(body):
        wrong = f"{check.body} is not in its body: {shown}"
    return Sighting(passed=not wrong, detail=f"HTTP {status}, but {wrong}" if wrong else f"HTTP {status}")


def _names(body: str, version: str) -> bool:
    """Whether a text names this very version.

    >>> [_names(body, "1.0.0") for body in ("api 1.0.0", "v1.0.0", "api 11.0.0", "api 1.0.0-rc1")]
    [True, True, False, False]
    """
    return re.search(rf"(?<![\w.+-])v?{re.escape(version)}(?![\w+-]|\.\w)", body) is not None


def _missing_header(check: HealthCheck, response: httpcore.Response) -> str:
    """What is wrong with the answer's headers. One that stands several times counts as all of its values."""
    for name, expected in check.headers.items():
        values = [
            value.decode("latin-1") for key, value in response.headers if key.decode("latin-1").lower() == name.lower()
        ]
        if not values:
            return f"it has no header {name}"
        if not expected.is_in(", ".join(values)):
            return f"{expected} is not in its header {name}: {', '.join(values)[:SHOWN]!r}"
    return ""


async def reach(host: str, port: int, *, shown: str, network: httpcore.AsyncNetworkBackend | None = None) -> Sighting:
    """Open a TCP connection and close it again.

    Args:
        host: where to.
        port: where to.
        shown: what the address is called in the verdict.
        network: reaches the target; unless given, the worker's own does.
    """
    try:
        stream = await (network or httpcore.AnyIOBackend()).connect_tcp(host, port)
    except httpcore.NetworkError as error:
        return Sighting(passed=False, answered=False, detail=f"nothing accepts connections at {shown}: {error}")
    await stream.aclose()
    return Sighting(passed=True, detail=f"{shown} accepts connections")
