"""Whether the server has an event on its disk before it acknowledges it."""

from typing import TYPE_CHECKING

from fraisier.nats.config import ConnectionConfig
from fraisier.nats.errors import NotDurable

if TYPE_CHECKING:
    import httpx

ASK_S = 5.0


async def check_durability(config: ConnectionConfig) -> str:
    """Ask every monitoring page whether its server syncs before it acks; one line for people.

    By default JetStream acks first and syncs every two minutes: a power cut takes what was acknowledged meanwhile,
    in the worst case the whole stream (https://jepsen.io/analyses/nats-2.12.1).

    Raises:
        NotDurable: a server does not, or its page does not answer.
    """
    if config.durability == "relaxed":
        return "a power cut may take acknowledged events: NATS_DURABILITY is relaxed"
    if not config.monitoring_urls:
        return "not known whether NATS syncs before it acks: set NATS_MONITORING_URLS, such as http://localhost:8222"
    import httpx  # noqa: PLC0415 (slow to import, and most processes do not ask)

    async with httpx.AsyncClient(timeout=ASK_S, trust_env=False) as web:
        for url in config.monitoring_urls:
            await _check(web, str(url).rstrip("/"))
    return "synced before they are acknowledged"


async def _check(web: "httpx.AsyncClient", url: str) -> None:
    import httpx  # noqa: PLC0415

    try:
        answer = (await web.get(f"{url}/varz")).raise_for_status().json()
        synced = answer.get("jetstream", {}).get("config", {}).get("sync_always", False)
    except (httpx.HTTPError, ValueError, AttributeError) as error:
        raise NotDurable(
            f"the monitoring page at {url} (NATS_MONITORING_URLS) does not tell how the server syncs: "
            f"{str(error) or type(error).__name__}"
        ) from error
    if not synced:
        raise NotDurable(
            f"the NATS server behind {url} acknowledges events before they are on its disk, so a power cut can take "
            "them. Set `sync_interval: always` in its jetstream block and restart it, or accept the loss with "
            "NATS_DURABILITY=relaxed"
        )
