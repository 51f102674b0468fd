"""Where an engine is, as people write it."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from fraisier.providers.loopback import is_loopback

SOCKET = "/var/run/docker.sock"


def in_the_clear(address: str, certificates: Path | None) -> bool:
    """Whether an engine would be spoken to over a network without TLS.

    >>> in_the_clear("tcp://10.0.0.1:2375", None), in_the_clear("tcp://127.0.0.1:2375", None)
    (True, False)
    """
    url = urlsplit(address)
    return url.scheme == "tcp" and certificates is None and not is_loopback(url.hostname or "")


def socket_of(address: str) -> str:
    """The engine's socket on the host of an ``ssh://`` address.

    >>> socket_of("ssh://deploy@eu1.example"), socket_of("ssh://eu1.example/run/user/1000/docker.sock")
    ('/var/run/docker.sock', '/run/user/1000/docker.sock')
    """
    return urlsplit(address).path.rstrip("/") or SOCKET


def _reachable(address: str) -> str:
    url = urlsplit(address)
    if url.scheme == "unix":
        return address
    try:
        port = url.port
    except ValueError as error:
        raise ValueError(f"the port of {address} is none: {error}") from None
    if url.password is not None:
        raise ValueError("must not hold a password: log in with a key, or with certificates")
    if not url.hostname or (url.scheme == "tcp" and port is None):
        raise ValueError(f"give {url.scheme}://host{':port' if url.scheme == 'tcp' else ''}, not {address}")
    return address


Address = Annotated[str, Field(pattern=r"^(unix:///|tcp://|ssh://)\S+$"), AfterValidator(_reachable)]
"""``unix:///path``, ``tcp://host:port`` or ``ssh://[user@]host[:port][/path of its socket]``."""
