"""The key that signs webhooks."""

import base64


def signing_key(secret: str) -> bytes:
    """The key of a ``WEBHOOK_SECRET``: behind ``whsec_`` it stands in base64 (Standard Webhooks), else as it is.

    Raises:
        ValueError: what follows ``whsec_`` is no base64.
    """
    prefix, found, encoded = secret.partition("whsec_")
    if prefix or not found:
        return secret.encode()
    return base64.b64decode(encoded, validate=True)
