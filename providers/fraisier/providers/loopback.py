"""Which addresses never leave the machine: only there may something be spoken in the clear."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host name or address is the machine itself.

    >>> is_loopback("127.0.0.11"), is_loopback("localhost"), is_loopback("::1"), is_loopback("engine.example")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
