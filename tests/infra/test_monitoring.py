"""Prometheus' own tools and a real Prometheus take the rules; Grafana's own models take the dashboard."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from ruamel.yaml import YAML

from fraisier.nats import NatsEventBus
from fraisier.orchestrator.stack.ports import free_ports
from tests.support.nats import NatsServer
from tests.support.prometheus import prometheus
from tests.support.serving import serving

FOLDER = Path(__file__).parents[2] / "infra" / "monitoring"


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, cwd=FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return loaded


def expressions() -> list[str]:
    """Every question that the dashboard and the rules ask of Prometheus."""
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    rules = YAML(typ="safe").load(FOLDER / "rules.yml")["groups"][0]["rules"]
    return [*panels, *(rule["expr"] for rule in rules)]


def lost(before: Any, after: Any, where: str = "") -> list[str]:
    """The keys that did not survive."""
    if isinstance(before, dict):
        gone = [f"{where}/{key}" for key in before if key not in after]
        return gone + [one for key in before if key in after for one in lost(before[key], after[key], f"{where}/{key}")]
    if isinstance(before, list):
        return [one for at, (a, b) in enumerate(zip(before, after, strict=True)) for one in lost(a, b, f"{where}/{at}")]
    return [] if before == after else [f"{where}: {before} became {after}"]


def test_prometheus_takes_the_configuration_and_each_alert_goes_off_on_its_fault():
    promtool("check", "config", "prometheus.yml")
    promtool("test", "rules", "rules.test.yml")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Grafana's SDK has no release for Python 3.10")
def test_grafanas_own_model_knows_every_key_of_the_dashboard():
    from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: PLC0415
    from grafana_foundation_sdk.models.dashboard import Dashboard  # noqa: PLC0415

    assert lost(dashboard(), json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard())))) == []
    identifiers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(identifiers)) == len(identifiers)


def test_every_question_is_promql_and_asks_of_metrics_that_there_are(tmp_path: Path):
    asked = [one.replace("$__rate_interval", "5m") for one in expressions()]
    rules = {"groups": [{"name": "asked", "rules": [{"record": f"asked:{n}", "expr": e} for n, e in enumerate(asked)]}]}
    (tmp_path / "asked.yml").write_text(json.dumps(rules))
    promtool("check", "rules", tmp_path / "asked.yml")
    there = {family.name for family in REGISTRY.collect()}
    names = {re.sub("_(bucket|count|total)$", "", name) for one in asked for name in re.findall(r"fraisier_\w+", one)}
    assert names
    assert names <= there


async def test_a_metric_moves_when_its_fault_is_made(
    nats_server: NatsServer, bus: NatsEventBus, nats_env: dict[str, str], tmp_path: Path
):
    port = free_ports({"metrics": 0})["metrics"]
    async with (
        serving(port, nats_env | {"ENABLE_WEBHOOK_NOTIFICATIONS": "false"}),
        prometheus(tmp_path / "p", port) as asked,
    ):
        await asked.becomes("fraisier_nats_connected", 1)
        await bus.publish_health_event("health.check_failed", "r1", {"service": "api"}, region="eu-west-1")
        await asked.becomes('fraisier_events_total{event_type="health.check_failed",region="eu-west-1"}', 1)
        await asked.becomes('fraisier_stream_bytes{stream="HEALTH_EVENTS"}', 100)
        await asked.becomes('fraisier_event_latency_seconds_count{stream="HEALTH_EVENTS"}', 1)
        await bus.client.jetstream.publish("fraisier.health.eu-west-1.api.r1.check_failed.x", b"no event")
        await asked.becomes('fraisier_dead_letters_total{stream="HEALTH_EVENTS"}', 1)
        nats_server.kill()
        await asked.becomes("fraisier_nats_connected", 0)
        nats_server.start()
        await asked.becomes("fraisier_nats_connected", 1)
        await asked.becomes("fraisier_nats_disconnects_total", 1)
