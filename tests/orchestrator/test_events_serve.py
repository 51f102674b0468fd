"""``fraisier events serve`` as a process: it logs, notifies, counts; what it cannot do waits to be replayed."""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from fraisier.nats import NatsEventBus
from fraisier.orchestrator.stack.ports import free_ports
from tests.support.nats import PASSWORD, USER, NatsServer
from tests.support.webhook import Webhook

PATIENCE_S = 30


@pytest.fixture
def env(nats_server: NatsServer, tmp_path: Path) -> dict[str, str]:
    own = {"NATS_SERVERS": nats_server.url, "NATS_USERNAME": USER, "NATS_PASSWORD": PASSWORD}
    return os.environ | own | {"FRAISIER_HOME": str(tmp_path / "home")}


async def fraisier(*arguments: str, env: dict[str, str]) -> str:
    command = (sys.executable, "-m", "fraisier.orchestrator", "events", *arguments)
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=PIPE)
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


@asynccontextmanager
async def serving(port: int, env: dict[str, str]) -> AsyncIterator[Process]:
    """The process, ended by SIGTERM; it must end well."""
    command = (sys.executable, "-m", "fraisier.orchestrator", "events", "serve", "--port", str(port))
    process = await asyncio.create_subprocess_exec(*command, env=env, stderr=PIPE)
    try:
        await logged(process, "events are logged")
        yield process
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def logged(process: Process, text: str) -> str:
    """Read the log up to a line with this text, and return that line."""
    assert process.stderr is not None
    lines = []

    async def read() -> str:
        assert process.stderr is not None
        async for raw in process.stderr:
            lines.append(raw.decode())
            if text in lines[-1]:
                return lines[-1]
        raise AssertionError(f"never logged {text!r}: {lines}")

    return await asyncio.wait_for(read(), PATIENCE_S)


async def publish_failure(bus: NatsEventBus, rollout: str) -> None:
    data = {"service": "api", "error": "it would not start", "duration_s": 1.5}
    await bus.publish_deployment_event("deployment.failed", rollout, data, region="eu-west-1")


async def test_it_logs_notifies_and_counts_and_a_restart_goes_on(bus: NatsEventBus, env: dict[str, str]):
    port = free_ports({"metrics": 0})["metrics"]
    with Webhook().running() as webhook:
        env["WEBHOOK_URL"] = webhook.url
        async with serving(port, env) as process:
            await publish_failure(bus, "r1")
            line = await logged(process, "deployment.failed")
            assert "region=eu-west-1 service=api deployment=r1" in line
            async with httpx.AsyncClient(trust_env=False) as web:
                page = (await web.get(f"http://127.0.0.1:{port}/metrics")).text
            counted = 'fraisier_events_total{event_type="deployment.failed",region="eu-west-1",service="api"} 1.0'
            assert counted in page
            assert re.search(r"^fraisier_nats_connected 1.0$", page, re.MULTILINE)
        await publish_failure(bus, "r2")
        async with serving(port, env) as process:
            await logged(process, "deployment=r2")
    assert [json.loads(body)["deploymentid"] for _, body in webhook.received] == ["r1", "r2"]


async def test_what_the_webhook_refused_is_told_again_when_replayed(bus: NatsEventBus, env: dict[str, str]):
    with Webhook().running() as webhook:
        webhook.statuses = [400]
        env["WEBHOOK_URL"] = webhook.url
        async with serving(0, env) as process:
            await publish_failure(bus, "r1")
            await logged(process, "goes to the dead letters")
            letter = json.loads(await fraisier("dead", "--output", "json", env=env))[0]
            assert letter["handler"].endswith("notify_on_failure")
            assert "HTTP 400" in letter["reason"]
            assert "hidden-token" not in json.dumps(letter)
            assert "deployment.failed eu-west-1 api" in await fraisier("dead", env=env | {"COLUMNS": "200"})
            webhook.statuses, refused = [200], len(webhook.received)
            assert "is handled again" in await fraisier("replay", str(letter["sequence"]), env=env)
            for _ in range(PATIENCE_S * 20):
                if len(webhook.received) > refused:
                    break
                await asyncio.sleep(0.05)
            assert len(webhook.received) == refused + 1
        assert "there are no dead letters" in await fraisier("replay", "--all", env=env)
