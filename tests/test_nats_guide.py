"""The guide's six examples as programs of their own against a live server, each followed by a sequel that looks."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from fraisier.nats import Event, NatsEventBus, get_nats_config, is_nats_enabled
from fraisier.orchestrator.demo.ssh_host import SshHost, make_key
from tests.support.nats import PASSWORD, USER, NatsServer

PUBLISHING = """
from fraisier.nats import NatsClient, NatsEventBus
from fraisier.nats.config import get_nats_config
import asyncio

async def publish_deployment_event():
    # Get configuration
    config = get_nats_config()

    # Create client and event bus
    client = NatsClient(**config.connection.to_nats_client_kwargs())
    event_bus = NatsEventBus(client)

    # Connect
    await client.connect()

    # Publish deployment event
    await event_bus.publish_deployment_event(
        event_type="deployment.started",
        deployment_id="deploy_123",
        data={
            "service": "api",
            "version": "2.0.0",
            "strategy": "rolling",
            "timestamp": "2024-01-15T10:30:00Z",
        },
        region="us-east-1",
    )

    await client.disconnect()

# Run
asyncio.run(publish_deployment_event())
"""

SUBSCRIBING = """
from fraisier.nats import (
    get_subscriber_registry,
    EventFilter,
    EventHandlers,
)
import asyncio

async def subscribe_to_deployment_events():
    registry = get_subscriber_registry()

    # Log all deployment events
    registry.register(
        EventHandlers.log_event,
        EventFilter(event_type="deployment.started"),
    )

    # Send webhook on deployment failure
    registry.register(
        EventHandlers.notify_on_failure,
        EventFilter(event_type="deployment.failed"),
        is_async=True,
    )

    # Record metrics
    registry.register(
        EventHandlers.create_metric_recorder("deployment.completed"),
        EventFilter(event_type="deployment.completed"),
    )

    print(f"Registered {registry.get_subscription_count()} handlers")

asyncio.run(subscribe_to_deployment_events())
"""

CUSTOM = """
from fraisier.nats import get_subscriber_registry, EventFilter
import asyncio

async def my_deployment_handler(event):
    \"""Custom handler for deployment events.\"""
    service = event.data.get("service")
    status = event.data.get("status")
    print(f"Service {service} deployment status: {status}")

    # Send notification
    if "failed" in event.event_type:
        await send_alert(f"Deployment failed for {service}")

async def setup_custom_handler():
    registry = get_subscriber_registry()

    # Register custom handler
    registry.register(
        my_deployment_handler,
        EventFilter(service="api"),
        is_async=True,
    )

    print("Custom handler registered")

asyncio.run(setup_custom_handler())
"""

PROVIDER = """
from fraisier.providers.bare_metal import BareMetalProvider
from fraisier.nats import NatsClient, NatsEventBus
from fraisier.nats.config import get_nats_config

async def deploy_with_events():
    # Setup NATS
    config = get_nats_config()
    client = NatsClient(**config.connection.to_nats_client_kwargs())
    event_bus = NatsEventBus(client)
    await client.connect()

    # Create provider with event bus
    provider = BareMetalProvider(
        config={
            "host": "deployment.example.com",
            "username": "deploy",
            "key_path": "/home/user/.ssh/deploy_key",
        },
        event_bus=event_bus,
        region=config.regional.region,
    )

    # Connect to target
    await provider.connect()

    # Deploy - events are automatically emitted
    # emit_deployment_started() called
    # emit_health_check_started/passed/failed() called
    # emit_deployment_completed() called

    await provider.disconnect()
    await client.disconnect()

# Run deployment
import asyncio
asyncio.run(deploy_with_events())
"""

REGIONS = """
from fraisier.nats import (
    get_subscriber_registry,
    EventFilter,
    EventHandlers,
)

async def regional_event_handling():
    registry = get_subscriber_registry()

    # Handler for US region events
    def handle_us_events(event):
        print(f"US Event: {event.event_type}")

    # Handler for EU region events
    def handle_eu_events(event):
        print(f"EU Event: {event.event_type}")

    # Register regional handlers
    registry.register(
        handle_us_events,
        EventFilter(region="us-east-1"),
    )

    registry.register(
        handle_eu_events,
        EventFilter(region="eu-west-1"),
    )

    print(f"Registered {registry.get_subscription_count()} regional handlers")
"""

COORDINATING = """
from fraisier.nats import get_subscriber_registry, EventFilter

async def coordinate_multi_region_deployment():
    registry = get_subscriber_registry()

    # US region handler
    def us_handler(event):
        print(f"[US] Processing: {event.event_type}")

    # EU region handler
    def eu_handler(event):
        print(f"[EU] Processing: {event.event_type}")

    # Register with regional filters
    registry.register(us_handler, EventFilter(region="us-east-1"))
    registry.register(eu_handler, EventFilter(region="eu-west-1"))
"""

PRACTICE = """
from fraisier.nats import EventFilter, NatsEventProvider, get_subscriber_registry, is_nats_enabled

registry = get_subscriber_registry()
handler = critical_handler = lambda event: None
class MyProvider(NatsEventProvider): ...

if is_nats_enabled():
    event_bus = initialize_nats()
else:
    event_bus = None

provider = MyProvider(event_bus=event_bus)

registry.register(
    handler,
    EventFilter(service="api", region="us-east-1"),
)
registry.register(
    critical_handler,
    retry_on_failure=True,
    retry_count=3,
    retry_delay=2.0,
)
sub_id = registry.register(handler)
# ... use handler ...
registry.unregister(sub_id)
print(registry.get_subscription_count(), len(registry.get_subscriptions_for_event_type("deployment.started")))
"""

SEQUEL = """
import logging
from fraisier.nats import NatsClient, NatsEventBus, get_nats_config

logging.basicConfig(level="INFO", format="%(name)s %(message)s")

async def send_alert(text):
    print("ALERT", text)

async def feed():
    config = get_nats_config()
    async with NatsClient(**config.connection.to_nats_client_kwargs()) as client:
        bus = NatsEventBus(client)
        registry = get_subscriber_registry()
        await registry.start(bus)
        for kind, region in (("started", "us-east-1"), ("completed", "eu-west-1"), ("failed", "eu-west-1")):
            data = {"service": "api", "status": kind}
            await bus.publish_deployment_event(f"deployment.{kind}", "deploy_1", data, region)
        await handled(client)
        await registry.stop()

async def handled(client):
    # Events are acknowledged after their handlers.
    while True:
        found = await client.jetstream.consumers_info("DEPLOYMENT_EVENTS")
        if found and not any(one.num_pending or one.num_ack_pending for one in found):
            return
        await asyncio.sleep(0.05)
"""
FEED = "\nasyncio.run(feed())\n"


async def run(program: str, folder: Path, **env: str) -> str:
    """The output of a program that ends well, in a folder of its own with nothing in its environment but `env`."""
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDEVMODE": "1", **env}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=folder, env=clean,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.fixture
def folder(tmp_path: Path, nats_server: NatsServer) -> Path:
    """A working folder with the guide's ``.env`` in it, its server named."""
    made = tmp_path / "work"
    made.mkdir()
    (made / ".env").write_text(
        f"NATS_SERVERS={nats_server.url}\nNATS_USERNAME={USER}\nNATS_PASSWORD={PASSWORD}\nNATS_TIMEOUT=5\n"
        "NATS_MAX_RECONNECT_ATTEMPTS=60\nNATS_RECONNECT_TIME_WAIT=2\nNATS_REGION=us-east-1\n"
        "DEPLOYMENT_REGIONS=us-east-1,us-west-2,eu-west-1\nNATS_DEPLOYMENT_EVENTS_RETENTION=720    # 30 days\n"
    )
    return made


async def events(bus: NatsEventBus) -> list[Event]:
    return [event async for event in bus.read("deployment") if isinstance(event, Event)]


async def test_example_1_publishes(folder: Path, bus: NatsEventBus) -> None:
    await run(PUBLISHING, folder)
    (event,) = await events(bus)
    assert (event.event_type, event.deployment_id, event.region) == ("deployment.started", "deploy_123", "us-east-1")
    assert event.data["strategy"] == "rolling"
    assert event.service == "api"


async def test_example_2_logs_notifies_and_counts(folder: Path) -> None:
    counted = "\nfrom prometheus_client import generate_latest\nprint(generate_latest().decode())"
    output = await run(SUBSCRIBING + SEQUEL + FEED + counted, folder)
    assert "Registered 3 handlers" in output
    assert output.count("fraisier.events deployment.started region=us-east-1 service=api") == 1
    assert "WEBHOOK_URL is not set" in output
    assert 'fraisier_events_total{event_type="deployment.completed",region="eu-west-1",service="api"} 1.0' in output


async def test_example_3_calls_a_handler_of_ones_own(folder: Path) -> None:
    output = await run(CUSTOM + SEQUEL + FEED, folder)
    assert "Custom handler registered" in output
    statuses = [line for line in output.splitlines() if line.startswith(("Service", "ALERT"))]
    assert statuses == [
        "Service api deployment status: started",
        "Service api deployment status: completed",
        "Service api deployment status: failed",
        "ALERT Deployment failed for api",
    ]


async def test_example_4_connects_a_provider_that_emits(folder: Path, bus: NatsEventBus) -> None:
    (folder / ".ssh").mkdir()
    key = make_key(folder / ".ssh" / "deploy_key")
    async with SshHost(folder / "host", client_key=key) as host:
        (folder / ".ssh" / "known_hosts").write_text(host.known_hosts_line)
        # SSH hosts of a test cannot have port 22: the port is the one line more.
        here = PROVIDER.replace('"deployment.example.com",', f'"{host.host}", "port": {host.port},')
        here = here.replace("/home/user/.ssh/deploy_key", str(key))
        emitting = "    await provider.emit_deployment_started('deploy_1', service='api', data={'version': '2.0.0'})\n"
        where = "    await provider.disconnect()\n"
        assert where in here
        await run(here, folder)
        assert await events(bus) == []
        await run(here.replace(where, emitting + where), folder)
    (event,) = await events(bus)
    assert (event.event_type, event.region, event.data["version"]) == ("deployment.started", "us-east-1", "2.0.0")


def lines(output: str, start: str) -> list[str]:
    """What one handler wrote: it keeps the order of the events, whatever the others do meanwhile."""
    return [line for line in output.splitlines() if line.startswith(start)]


async def test_example_5_routes_by_region(folder: Path) -> None:
    output = await run(REGIONS + "import asyncio\nasyncio.run(regional_event_handling())" + SEQUEL + FEED, folder)
    assert "Registered 2 regional handlers" in output
    assert lines(output, "US") == ["US Event: deployment.started"]
    assert lines(output, "EU") == ["EU Event: deployment.completed", "EU Event: deployment.failed"]


async def test_example_6_coordinates_regions(folder: Path) -> None:
    started = COORDINATING + "import asyncio\nasyncio.run(coordinate_multi_region_deployment())"
    output = await run(started + SEQUEL + FEED, folder)
    assert lines(output, "[US]") == ["[US] Processing: deployment.started"]
    assert lines(output, "[EU]") == ["[EU] Processing: deployment.completed", "[EU] Processing: deployment.failed"]


async def test_the_practices_hold_with_no_nats_at_all(tmp_path: Path) -> None:
    # `initialize_nats` does not exist, so that reaching it would fail.
    assert "2 2" in await run(PRACTICE, tmp_path)


async def test_configuration_loads_as_in_the_guide(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NATS_SERVERS", "NATS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    assert is_nats_enabled()
    config = get_nats_config()
    assert config.connection.servers[0].startswith("nats://127.0.0.1")
    assert (config.regional.region, config.streams.deployment_events_retention_hours) == ("us-east-1", 720)
