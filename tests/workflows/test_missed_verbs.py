"""Verbs that come while a region is just being started, when it can be told of none."""

import asyncio
import uuid
from typing import Any

from temporalio import workflow
from temporalio.worker import (
    Interceptor,
    StartChildWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ChildWorkflowHandle

from fraisier.workflows.contracts import REGION_WAITS, RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from tests.workflows.harness import Harness, make_plan, run_worker, strict_replayer


class SlowStarts(Interceptor):
    """Lets a rollout hear that a region was started no sooner than it has been paused."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(WorkflowOutboundInterceptor):
    async def start_child_workflow(self, input: StartChildWorkflowInput) -> ChildWorkflowHandle[Any, Any]:  # noqa: A002
        started = await self.next.start_child_workflow(input)
        rollout: Any = workflow.instance()
        await workflow.wait_condition(lambda: rollout.status().paused)
        return started


async def test_a_region_hears_of_verbs_that_came_while_it_was_being_started(harness: Harness) -> None:
    slow, queue = SlowStarts(), f"slow-{uuid.uuid4().hex}"
    staged = harness.world.blocked["a1", "stage"] = asyncio.Event()
    plan = make_plan(["a"], targets=2).model_copy(update={"heeds_freeze": True})
    async with run_worker(
        harness.client, harness.bus, harness.nats, harness.world, queue=queue, interceptors=[slow]
    ) as late:
        handle = await late.start(plan)
        await asyncio.wait_for(late.world.entered["a1", "stage"].wait(), 60)
        await handle.signal(REGION_WAITS, {"region": "a", "why": "all services are frozen"})
        await handle.signal(RolloutWorkflow.override, {"by": "ops", "reason": "the fix", "regions": ["a"]})
        await handle.signal(RolloutWorkflow.adjust, {"region": "a", "max_parallel": 2})
        await handle.signal(RolloutWorkflow.pause)
        rollout = (await late.until(handle, paused=True)).rollout_id
        region = f"{handle.id}:{rollout}:a"
        for _ in range(600):
            told = await late.signals(region)
            if len(told) == 3:
                break
            await asyncio.sleep(0.05)
        settings = [{"max_parallel": 2, "tolerance": 0}]
        assert told == [("hold", []), ("adjust", settings), ("let_go", [])]
        staged.set()
        await handle.signal(RolloutWorkflow.resume)
        assert (await asyncio.wait_for(handle.result(), 90)).phase is RolloutPhase.SUCCEEDED
    replayer = strict_replayer(interceptors=[slow])
    await replayer.replay_workflow(await handle.fetch_history())
    await harness.replay(region)
