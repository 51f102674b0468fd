"""The handlers that come along: a webhook that is a real server, Prometheus, the log, and their switches."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from fraisier.nats import Event, EventHandlers, WebhookRefused, new_event
from fraisier.nats.handlers import handler_config
from tests.support.webhook import Webhook


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with Webhook().running() as made:
        monkeypatch.setenv("WEBHOOK_URL", made.url)
        handler_config.cache_clear()
        yield made
    handler_config.cache_clear()


def configure(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    handler_config.cache_clear()


def failed(kind: str = "deployment.failed", **data: Any) -> Event:
    return new_event(kind, deployment_id="r1", region="eu", service="api", target="a", data=data)


async def test_a_failure_is_posted_signed_so_that_the_receiver_can_check_it(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, WEBHOOK_SECRET="whisper")
    event = failed(reason="it burns")
    await EventHandlers.notify_on_failure(event)
    ((headers, body),) = webhook.received
    assert Event.from_json(body) == event
    assert headers["webhook-id"] == event.event_id
    signed = f"{event.event_id}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"whisper", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


@pytest.mark.parametrize(("shape", "key"), [("slack", "text"), ("discord", "content")])
async def test_chats_get_a_sentence(webhook: Webhook, monkeypatch: pytest.MonkeyPatch, shape: str, key: str) -> None:
    configure(monkeypatch, WEBHOOK_FORMAT=shape)
    await EventHandlers.notify_on_failure(failed(reason="<!channel> it burns"))
    body = json.loads(webhook.received[0][1])
    assert body[key].startswith("deployment.failed: api in eu on a (r1): ")
    if shape == "slack":
        assert "<!channel>" not in body[key]
    else:
        assert body["allowed_mentions"] == {"parse": []}


async def test_a_webhook_that_is_busy_is_tried_again(webhook: Webhook) -> None:
    webhook.statuses = [503, 429, 204]
    await EventHandlers.notify_on_failure(failed())
    assert len(webhook.received) == 3
    assert len({headers["webhook-id"] for headers, _ in webhook.received}) == 1


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (500, 3)])
async def test_a_refusal_names_the_host_and_never_the_token(
    webhook: Webhook, caplog: pytest.LogCaptureFixture, status: int, attempts: int
) -> None:
    caplog.set_level("DEBUG")
    webhook.statuses = [status]
    with pytest.raises(WebhookRefused, match=rf"127\.0\.0\.1 did not take deployment\.failed: HTTP {status}") as error:
        await EventHandlers.notify_on_failure(failed())
    assert len(webhook.received) == attempts
    assert "hidden-token" not in f"{error.value!r} {error.value.__cause__!r} {handler_config()!r} {caplog.text}"


async def test_nobody_at_the_webhook_is_a_refusal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, WEBHOOK_URL="http://127.0.0.1:9/hidden-token")
    with pytest.raises(WebhookRefused, match=r"127\.0\.0\.1 did not take .*ConnectError") as error:
        await EventHandlers.notify_on_failure(failed())
    assert "hidden-token" not in repr(error.value)
    handler_config.cache_clear()


@pytest.mark.parametrize("kind", ["deployment.completed", "health.check_passed"])
async def test_only_failures_are_posted(webhook: Webhook, kind: str) -> None:
    await EventHandlers.notify_on_failure(failed(kind))
    assert webhook.received == []


async def test_the_switch_turns_notifications_off(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, ENABLE_WEBHOOK_NOTIFICATIONS="false")
    await EventHandlers.notify_on_failure(failed())
    assert webhook.received == []


def counted(region: str) -> float | None:
    labels = {"event_type": "deployment.completed", "region": region, "service": "api"}
    return REGISTRY.get_sample_value("fraisier_events_total", labels)


@pytest.mark.parametrize("on", [True, False])
def test_a_recorder_counts_its_own_type_while_it_is_switched_on(monkeypatch: pytest.MonkeyPatch, on: bool) -> None:
    configure(monkeypatch, ENABLE_METRICS_RECORDING=str(on))
    record, region = EventHandlers.create_metric_recorder("deployment.completed"), f"recorder-{on}"
    for kind in ("deployment.completed", "deployment.failed"):
        record(new_event(kind, deployment_id="r", region=region, service="api", data={"duration_s": 7}))
    assert counted(region) == (1 if on else None)
    labels = {"event_type": "deployment.completed", "region": region, "service": "api"}
    assert REGISTRY.get_sample_value("fraisier_event_duration_seconds_sum", labels) == (7 if on else None)
    handler_config.cache_clear()


@pytest.mark.parametrize("on", [True, False])
def test_the_log_has_its_switch(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, on: bool) -> None:
    configure(monkeypatch, ENABLE_EVENT_LOGGING=str(on))
    with caplog.at_level("INFO"):
        EventHandlers.log_event(failed())
    assert ("deployment.failed region=eu service=api deployment=r1 target=a" in caplog.text) is on
    handler_config.cache_clear()
