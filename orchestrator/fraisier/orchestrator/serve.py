"""The process behind ``fraisier events serve``: logs, notifies and counts what happens."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from nats.errors import Error as NatsError
from nats.js.errors import APIError
from prometheus_client import start_http_server

from fraisier.nats import EventHandlers, EventSubscriberRegistry, NatsEventBus
from fraisier.orchestrator.connections import connect_nats
from fraisier.orchestrator.errors import CommandError, Unreachable
from fraisier.orchestrator.stopping import stop_on_signals, stopped_or_lost

logger = logging.getLogger(__name__)

DURABLE = "fraisier-serve"
RETRIES = 2
RETRY_S = 1.0
"""Few and short, for a notification is tried several times at each; then it is a dead letter that can be replayed."""


MEASURE_S = 5.0
"""How often the streams' sizes are looked at, in seconds: more often than Prometheus scrapes."""


def everyday_handlers() -> EventSubscriberRegistry:
    """A registry that logs every event, counts every type, and notifies of failures."""
    registry = EventSubscriberRegistry()
    registry.register(EventHandlers.log_event)
    registry.register(EventHandlers.create_metric_recorder("*"))
    registry.register(EventHandlers.notify_on_failure, retry_on_failure=True, retry_count=RETRIES, retry_delay=RETRY_S)
    return registry


async def serve(address: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; what is being handled is finished first.

    Args:
        address: where the metrics page listens.
        port: of the metrics page; 0 for none.

    Raises:
        CommandError: the port is taken.
        Unreachable: NATS does not answer, or was lost for good.
    """
    client, config = await connect_nats(patient=True)
    registry = everyday_handlers()
    with _metrics(address, port), stop_on_signals() as stop:
        try:
            bus = NatsEventBus(client, config.streams)
            await registry.start(bus, durable=DURABLE)
            measuring = asyncio.create_task(_measure(bus))
            logger.info("events are logged, counted and notified of; stop with SIGTERM")
            await stopped_or_lost(stop, client.closed)
            measuring.cancel()
        finally:
            await registry.stop()
            await client.disconnect()
    if not stop.is_set():
        raise Unreachable(f"NATS was lost for good: {client.last_error}. Start again when it is back.")


async def _measure(bus: NatsEventBus) -> None:
    """Look at the streams' sizes again and again; while NATS is away the last ones stay."""
    while True:
        try:
            await bus.measure_streams()
        except (NatsError, APIError, asyncio.TimeoutError) as error:
            logger.warning("the streams cannot be measured: %s", str(error) or type(error).__name__)
        await asyncio.sleep(MEASURE_S)


@contextlib.contextmanager
def _metrics(address: str, port: int) -> Iterator[None]:
    if not port:
        yield
        return
    try:
        server, thread = start_http_server(port, address)
    except OSError as error:
        raise CommandError(f"the metrics page cannot listen on {address}:{port}: {error.strerror}") from error
    logger.info("metrics: http://%s:%s/metrics", address, port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
