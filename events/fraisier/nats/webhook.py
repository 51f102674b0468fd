"""Webhooks: generic CloudEvents JSON, Slack and Discord; signed and retried."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from http import HTTPStatus
from typing import Any

from fraisier.nats.config import HandlerConfig
from fraisier.nats.errors import WebhookRefused
from fraisier.nats.events import Event
from fraisier.nats.signing import signing_key

TIMEOUT_S = 10.0
ATTEMPTS = 3
FIRST_WAIT_S = 0.5

_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})


class _Unlogged(logging.Filter):
    """Drops what would log a webhook's address, as httpx does with every request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether no address is in it."""
        return not any(address in record.getMessage() for address in self.addresses)

    def __init__(self) -> None:
        super().__init__()
        self.addresses: set[str] = set()


_unlogged = _Unlogged()
logging.getLogger("httpx").addFilter(_unlogged)


async def post(event: Event, config: HandlerConfig) -> None:
    """Post the event to the configured webhook.

    Args:
        event: what to tell.
        config: has a `webhook_url`.

    Raises:
        WebhookRefused: it was refused, or not taken in three attempts. The message names the host alone, for the
            path of a Slack or Discord webhook is its password.
    """
    import httpx  # noqa: PLC0415 (slow to import, and most processes post nothing)

    try:
        url = httpx.URL(config.webhook_url.get_secret_value() if config.webhook_url else "")
    except httpx.InvalidURL:
        raise WebhookRefused("WEBHOOK_URL is no URL") from None
    secret = config.webhook_secret.get_secret_value() if config.webhook_secret else ""
    body = json.dumps(_SHAPES[config.webhook_format](event)).encode()
    _unlogged.addresses.add(str(url))
    why = ""
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
            try:
                # The answer's body is not read: it may have no end.
                async with client.stream("POST", url, content=body, headers=_headers(event, body, secret)) as answer:
                    status = answer.status_code
            except httpx.HTTPError as error:
                why = type(error).__name__
                continue
            if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                return
            why = f"HTTP {status}"
            if status not in _WORTH_ANOTHER_TRY:
                break
    raise WebhookRefused(f"the webhook at {url.host} did not take {event.event_type}: {why}")


def _headers(event: Event, body: bytes, secret: str) -> dict[str, str]:
    """Headers of the Standard Webhooks specification; the ID lets the receiver drop what it has already."""
    now = str(int(time.time()))
    headers = {"Content-Type": "application/json", "webhook-id": event.event_id, "webhook-timestamp": now}
    if secret:
        signed = b".".join((event.event_id.encode(), now.encode(), body))
        digest = hmac.new(signing_key(secret), signed, hashlib.sha256).digest()
        headers["webhook-signature"] = "v1," + base64.b64encode(digest).decode()
    return headers


def _sentence(event: Event) -> str:
    target = f" on {event.target}" if event.target else ""
    reason = event.data.get("reason") or event.data.get("error") or event.data.get("detail")
    why = f": {reason}" if reason else ""
    return f"{event.event_type}: {event.service} in {event.region}{target} ({event.deployment_id}){why}"


def _generic(event: Event) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(event.to_json())
    return body


def _slack(event: Event) -> dict[str, Any]:
    # Slack reads <…> and & as markup.
    text = _sentence(event).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": text}


def _discord(event: Event) -> dict[str, Any]:
    # 2,000 characters is Discord's limit; no event may ping people.
    return {"content": _sentence(event)[:2000], "allowed_mentions": {"parse": []}}


_SHAPES = {"json": _generic, "slack": _slack, "discord": _discord}
