"""Nobody answers: the command says so in a moment, names the way out, and ^C is ^C."""

import asyncio
import uuid
from contextlib import suppress
from typing import Any

import pytest
from temporalio.service import RPCError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from fraisier.orchestrator.audit import read_audit
from fraisier.orchestrator.errors import ExitCode, Refused, Unreachable
from fraisier.orchestrator.pollers import answered
from fraisier.orchestrator.steering import Steering
from fraisier.workflows.contracts import RolloutInput, RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.steps import EventInput
from fraisier.workflows.verbs import Adjustment, Verb, VerbRequest
from tests.support.cli import Cli
from tests.workflows.harness import Harness, make_plan, run_worker


async def test_verbs_and_status_say_that_no_worker_answers_and_heed_a_cancellation(harness: Harness, cli: Cli):
    plan, queue = make_plan(["a"]), f"nobody-{uuid.uuid4().hex}"
    order = RolloutInput(rollout_id="r-1", plan=plan, actor="tests")
    handle = await harness.client.start_workflow(
        RolloutWorkflow.run, order, id=f"rollout:{plan.service}", task_queue=queue
    )
    try:
        interrupted = asyncio.create_task(answered(harness.client, handle.query(RolloutWorkflow.status), ""))
        await asyncio.sleep(1)
        interrupted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await interrupted
        paused, asked = await asyncio.gather(cli("pause", plan.service), cli("rollout", "status", plan.service))
        assert paused[0] == asked[0] == ExitCode.UNREACHABLE
        assert "no worker answered" in paused[2]
        assert "pause waits for one as a signal" in paused[2]
        assert "no worker answered" in asked[2]
        async with run_worker(harness.client, harness.bus, harness.nats, harness.world, queue=queue) as late:
            status = await late.until(handle, paused=True)
            assert (status.refused, late.world.activations()) == ("", [])
            await handle.signal(RolloutWorkflow.resume)
            assert (await late.finish(handle)).phase is RolloutPhase.SUCCEEDED
        told = [event.event_type for event in await harness.events("deployment", plan)]
        assert told.count("deployment.paused") == 1
    finally:
        with suppress(RPCError):  # it has ended by itself
            await handle.terminate()


async def test_an_adjustment_that_is_left_as_a_signal_says_all_that_it_would_as_an_update(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("fraisier.orchestrator.pollers.ANSWER_S", 0.5)
    plan, queue = make_plan(["a"], ["b"], ["c"], final_soak=600), f"nobody-{uuid.uuid4().hex}"
    order = RolloutInput(rollout_id="r-1", plan=plan, actor="tests")
    handle = await harness.client.start_workflow(
        RolloutWorkflow.run, order, id=f"rollout:{plan.service}", task_queue=queue
    )
    change = Adjustment(wave=3, soak="0s", drop=("b",))
    request = VerbRequest(by="ann", reason="eu is not ready", id="1", adjust=change)
    with pytest.raises(Unreachable, match="adjust waits for one as a signal"):
        await Steering(harness.client).send(plan.service, Verb.ADJUST, request)
    async with run_worker(harness.client, harness.bus, harness.nats, harness.world, queue=queue) as late:
        result = await late.finish(handle)
    assert (result.phase, harness.world.activations()) == (RolloutPhase.SUCCEEDED, ["a1", "c1"])
    audit = [one async for one in read_audit(harness.bus, plan.service)]
    assert [(one.by, one.reason, one.about) for one in audit if one.what == "adjust"] == [
        ("ann", "eu is not ready", {"wave": 3, "soak": "0s", "drop": ["b"]})
    ]


class NoEvents(Interceptor):
    """No verb's event is stored until NATS is `back`."""

    def __init__(self) -> None:
        self.back = asyncio.Event()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Held(next, self.back)


class _Held(ActivityInboundInterceptor):
    def __init__(self, after: ActivityInboundInterceptor, back: asyncio.Event) -> None:
        super().__init__(after)
        self._back = back

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        if input.args and isinstance(input.args[0], EventInput) and input.args[0].step.startswith("verb."):
            await self._back.wait()
        return await self.next.execute_activity(input)


async def test_a_verb_is_answered_while_its_event_waits_for_nats(harness: Harness, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fraisier.orchestrator.steering.EVENT_S", 0.2)
    away, plan = NoEvents(), make_plan(["a"], final_soak=600)
    queue = f"away-{uuid.uuid4().hex}"
    async with run_worker(
        harness.client, harness.bus, harness.nats, harness.world, queue=queue, interceptors=[away]
    ) as late:
        handle = await late.start(plan)
        await late.until(handle, phase=RolloutPhase.SOAKING)
        steering = Steering(harness.client)
        assert (await steering.send(plan.service, Verb.PAUSE, VerbRequest(by="ann", id="1"))).paused
        with pytest.raises(Refused, match="it is paused already"):
            await steering.send(plan.service, Verb.PAUSE, VerbRequest(by="ann", id="2"))
        await steering.send(plan.service, Verb.ROLLBACK, VerbRequest(by="ann", id="3"))
        away.back.set()
        assert (await late.finish(handle)).phase is RolloutPhase.ROLLED_BACK
    told = [event.event_type for event in await harness.events("deployment", plan)]
    assert (told.count("deployment.paused"), told.count("deployment.rollback_requested")) == (1, 1)
