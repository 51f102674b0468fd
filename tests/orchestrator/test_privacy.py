"""What Temporal keeps is encrypted, readable again with the keys, and says so where a key is missing."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client

from fraisier.nats import NatsClient, NatsEventBus
from fraisier.orchestrator.codec_server import serving
from fraisier.orchestrator.errors import ExitCode
from fraisier.orchestrator.stack import LocalStack
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.converter import data_converter
from fraisier.workflows.payloads import PACKED_FROM, KeyRing, KeysUnusable, PayloadUnreadable, Sealing
from fraisier.workflows.rollout import RolloutWorkflow
from tests.support.browser import shoot, show
from tests.support.cli import Cli
from tests.support.simulated import World
from tests.workflows.harness import Harness, make_plan, run_worker

MARKER = "marzipan"


def key(byte: bytes) -> str:
    return base64.b64encode(byte * 32).decode()


OLD, NEW = f"2025:{key(b'o')}", f"2026:{key(b'n')}"


@pytest.fixture
async def harness(temporal_server: str, nats_client: NatsClient) -> AsyncIterator[Harness]:
    """A worker whose payloads are encrypted."""
    client = await Client.connect(temporal_server, data_converter=data_converter(KeyRing.parse(NEW)))
    async with run_worker(client, NatsEventBus(nats_client), nats_client, World()) as running:
        yield running


async def raw(client: Client, workflow_id: str) -> bytes:
    """A history as the server tells it."""
    asked = GetWorkflowExecutionHistoryRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
    )
    answer = await client.workflow_service.get_workflow_execution_history(asked)
    assert not answer.next_page_token
    return answer.SerializeToString()


async def failing(harness: Harness) -> Any:
    """A rollout with a marker wherever somebody may write something, which waits for a decision about a failure."""
    harness.world.unhealthy.add(("a1", "2.0.0"))
    plan = make_plan(["a"], decision_timeout=300)
    health = plan.regions["a"].health.model_copy(update={"command": ("true", MARKER)})
    region = plan.regions["a"].model_copy(update={"health": health})
    plan = plan.model_copy(update={"regions": {"a": region}})
    handle = await harness.start(plan)
    return handle, await harness.until(handle, phase=RolloutPhase.DECISION)


async def test_no_history_holds_what_somebody_wrote(harness: Harness, local_stack: LocalStack, cli: Cli):
    handle, status = await failing(harness)
    await handle.signal(RolloutWorkflow.pause, {"by": MARKER, "reason": MARKER})
    await handle.signal(RolloutWorkflow.cancel, {"by": MARKER, "reason": MARKER})
    result = await harness.finish(handle)
    assert MARKER in result.reason
    histories = [await raw(harness.client, name) for name in (handle.id, f"{handle.id}:{status.rollout_id}:a")]
    for text in (MARKER, "not healthy", "health.check_passed"):
        assert [text.encode() in history for history in histories] == [False, False], text
    for file in local_stack.folder.glob("temporal.db*"):
        assert MARKER.encode() not in file.read_bytes()

    service = handle.id.partition(":")[2]
    code, out, _ = await cli("rollout", "status", service, FRAISIER_PAYLOAD_KEYS="env:KEYS", KEYS=f"{OLD}\n{NEW}")
    assert (code, MARKER in out) == (ExitCode.OK, True)
    code, _, error = await cli("rollout", "status", service, FRAISIER_PAYLOAD_KEYS="env:KEYS", KEYS=OLD)
    assert code == ExitCode.INVALID
    assert "encrypted with the key 2026, which is not in FRAISIER_PAYLOAD_KEYS (it has 2025)" in error
    code, _, error = await cli("rollout", "status", service)
    assert (code, "FRAISIER_PAYLOAD_KEYS (it is not set)" in error) == (ExitCode.INVALID, True)
    code, out, _ = await cli("rollout", "list")
    (row,) = (line for line in out.splitlines() if service in line)
    assert (code, "cancelled" in row) == (ExitCode.OK, True)


@pytest.mark.browser
@pytest.mark.timeout(400)
async def test_the_page_shows_it_through_the_codec_server(harness: Harness, local_stack: LocalStack, page: Page):
    handle, _ = await failing(harness)
    origin = local_stack.env()["TEMPORAL_UI_URL"]
    history = f"{origin}/namespaces/default/workflows/{handle.id}/{handle.result_run_id}/history"
    await show(page, history, page.get_by_text("Start Child Workflow").or_(page.get_by_text("RegionWorkflow")))
    await expect(page.get_by_text("2.0.0")).to_have_count(0)
    with serving(Sealing(KeyRing.parse(NEW)), "127.0.0.1", 0, origins=[origin]) as url:
        await page.evaluate("url => localStorage.setItem('endpoint', JSON.stringify(url))", url)
        await show(page, history, page.get_by_text("2.0.0"))
        await shoot(page, "decoded")
        await expect(page.get_by_text("2.0.0").first).to_be_visible()
    await handle.terminate()


async def test_the_codec_server_answers_the_ui_alone():
    ring = Sealing(KeyRing.parse(NEW))
    plain = Payload(metadata={"encoding": b"json/plain"}, data=b'"x"')
    body = _body(ring.hidden(plain))
    ui = {"Origin": "http://ui.example"}
    with serving(ring, "127.0.0.1", 0, origins=["http://ui.example"], token="sesame") as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as web:
            good = {**ui, "Authorization": "Bearer sesame"}
            answer = await web.post("/decode", json=body, headers=good)
            assert answer.json() == _body(plain)
            assert answer.headers["Access-Control-Allow-Origin"] == "http://ui.example"
            assert (await web.post("/encode", json=_body(plain), headers=good)).json() != _body(plain)
            asked = await web.options("/decode", headers={**ui, "Access-Control-Request-Method": "POST"})
            assert (asked.status_code, asked.headers["Access-Control-Allow-Methods"]) == (204, "POST")
            evil = {**good, "Origin": "http://evil.example"}
            refused = [
                await web.post("/decode", json=body, headers=evil),
                await web.options("/decode", headers=evil),
                await web.post("/decode", json=body, headers=ui),
                await web.post("/decode", json=body, headers={**ui, "Authorization": "Bearer open"}),
                await web.post("/else", json=body, headers=good),
                await web.post("/decode", content=b"no json", headers=good),
                await web.post("/decode", json={"payloads": [{"nothing": 1}]}, headers=good),
                await web.post("/decode", content=b"", headers=good),
                await web.post("/decode", json=_body(Sealing(KeyRing.parse(OLD)).hidden(plain)), headers=good),
            ]
            assert [one.status_code for one in refused] == [403, 403, 401, 401, 404, 400, 400, 413, 422]
            assert not any("evil" in one.headers.get("Access-Control-Allow-Origin", "") for one in refused)


def _body(payload: Payload) -> Any:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415

    return MessageToDict(Payloads(payloads=[payload]))


def test_a_new_key_encrypts_and_an_old_one_still_decrypts():
    plain = Payload(metadata={"encoding": b"json/plain"}, data=MARKER.encode())
    before = Sealing(KeyRing.parse(OLD)).hidden(plain)
    rotated = Sealing(KeyRing.parse(f"# the newest first\n{NEW}\n\n{OLD}\n"))
    after = rotated.hidden(plain)
    assert (rotated.plain(before), rotated.plain(after), rotated.plain(plain)) == (plain, plain, plain)
    assert MARKER.encode() not in before.data + after.data
    assert after != rotated.hidden(plain)
    with pytest.raises(PayloadUnreadable, match="the key 2026, which is not in FRAISIER_PAYLOAD_KEYS"):
        Sealing(KeyRing.parse(OLD)).plain(after)


def test_what_was_changed_or_encrypted_by_another_key_of_that_name_is_refused():
    sealed = Sealing(KeyRing.parse(NEW)).hidden(Payload(data=b"x"))
    with pytest.raises(PayloadUnreadable, match="does not fit the key 2026"):
        Sealing(KeyRing.parse(f"2026:{key(b'x')}")).plain(sealed)
    sealed.data = sealed.data[:-1] + bytes([sealed.data[-1] ^ 1])
    with pytest.raises(PayloadUnreadable, match="does not fit the key 2026"):
        Sealing(KeyRing.parse(NEW)).plain(sealed)


@pytest.mark.parametrize("ring", [None, KeyRing.parse(NEW)])
def test_a_large_payload_is_packed(ring: KeyRing | None):
    large = Payload(metadata={"encoding": b"json/plain"}, data=b'{"host": "a.example"}' * PACKED_FROM)
    kept = Sealing(ring).hidden(large)
    assert kept.ByteSize() * 50 < large.ByteSize()
    assert Sealing(ring).plain(kept) == large
    small = Payload(data=b"x")
    assert Sealing().hidden(small) == small


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no key"),
        (f"2026:{MARKER}", "line 1: not <id>:<32 bytes in base64>"),
        (f"{NEW}\n{NEW}", "line 2: the key 2026 stands there twice"),
        (MARKER, "line 1: not <id>"),
    ],
)
def test_keys_that_are_none_are_refused_and_not_shown(text: str, why: str):
    with pytest.raises(KeysUnusable, match=why) as refused:
        KeyRing.parse(text)
    assert MARKER not in str(refused.value)
    assert NEW not in repr(KeyRing.parse(NEW))


async def test_the_command_refuses_keys_that_it_cannot_use(cli: Cli, tmp_path: Path):
    for given, why in {
        NEW: "never the keys themselves",
        "env:NOTHING": "the worker's environment has no NOTHING",
        f"file:{tmp_path}/none": "cannot read",
    }.items():
        code, _, error = await cli("codec-server", FRAISIER_PAYLOAD_KEYS=given)
        assert (code, why in error, NEW in error) == (ExitCode.INVALID, True, False), error
    code, _, error = await cli("codec-server")
    assert (code, "nothing is encrypted" in error) == (ExitCode.INVALID, True)
    keys = {"FRAISIER_PAYLOAD_KEYS": "env:KEYS", "KEYS": NEW}
    code, _, error = await cli("codec-server", "--address", "0.0.0.0", **keys)
    assert (code, "set FRAISIER_CODEC_TOKEN" in error) == (ExitCode.INVALID, True)
