"""``fraisier events serve`` as a process: it logs, notifies, counts; what it cannot do waits to be replayed."""

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE

import httpx

from fraisier.nats import NatsEventBus
from fraisier.orchestrator.stack.ports import free_ports
from tests.support.serving import PATIENCE_S, logged, serving
from tests.support.webhook import Webhook


async def fraisier(*arguments: str, env: dict[str, str]) -> str:
    command = (sys.executable, "-m", "fraisier.orchestrator", "events", *arguments)
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=PIPE)
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


async def publish_failure(bus: NatsEventBus, rollout: str) -> None:
    data = {"service": "api", "error": "it would not start", "duration_s": 1.5}
    await bus.publish_deployment_event("deployment.failed", rollout, data, region="eu-west-1")


async def test_it_logs_notifies_and_counts_and_a_restart_goes_on(bus: NatsEventBus, nats_env: dict[str, str]):
    port = free_ports({"metrics": 0})["metrics"]
    with Webhook().running() as webhook:
        nats_env["WEBHOOK_URL"] = webhook.url
        async with serving(port, nats_env) as process:
            await publish_failure(bus, "r1")
            line = await logged(process, "deployment.failed")
            assert "region=eu-west-1 service=api deployment=r1" in line
            async with httpx.AsyncClient(trust_env=False) as web:
                page = (await web.get(f"http://127.0.0.1:{port}/metrics")).text
            counted = 'fraisier_events_total{event_type="deployment.failed",region="eu-west-1",service="api"} 1.0'
            assert counted in page
            assert re.search(r"^fraisier_nats_connected 1.0$", page, re.MULTILINE)
        await publish_failure(bus, "r2")
        async with serving(port, nats_env) as process:
            await logged(process, "deployment=r2")
    assert [json.loads(body)["deploymentid"] for _, body in webhook.received] == ["r1", "r2"]


async def test_what_the_webhook_refused_is_told_again_when_replayed(bus: NatsEventBus, nats_env: dict[str, str]):
    with Webhook().running() as webhook:
        webhook.statuses = [400]
        nats_env["WEBHOOK_URL"] = webhook.url
        async with serving(0, nats_env) as process:
            await publish_failure(bus, "r1")
            await logged(process, "goes to the dead letters")
            letter = json.loads(await fraisier("dead", "--output", "json", env=nats_env))[0]
            assert letter["handler"].endswith("notify_on_failure")
            assert "HTTP 400" in letter["reason"]
            assert "hidden-token" not in json.dumps(letter)
            assert "deployment.failed eu-west-1 api" in await fraisier("dead", env=nats_env | {"COLUMNS": "200"})
            webhook.statuses, refused = [200], len(webhook.received)
            assert "is handled again" in await fraisier("replay", str(letter["sequence"]), env=nats_env)
            for _ in range(PATIENCE_S * 20):
                if len(webhook.received) > refused:
                    break
                await asyncio.sleep(0.05)
            assert len(webhook.received) == refused + 1
        assert "there are no dead letters" in await fraisier("replay", "--all", env=nats_env)
