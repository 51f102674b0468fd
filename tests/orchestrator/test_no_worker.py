"""Nobody answers: the command says so in a moment, names the way out, and ^C is ^C."""

import asyncio
import uuid

import pytest

from fraisier.orchestrator.errors import ExitCode
from fraisier.orchestrator.pollers import answered
from fraisier.workflows.contracts import RolloutInput
from fraisier.workflows.rollout import RolloutWorkflow
from tests.support.cli import Cli
from tests.workflows.harness import Harness, make_plan


async def test_verbs_and_status_say_that_no_worker_answers_and_heed_a_cancellation(harness: Harness, cli: Cli):
    plan = make_plan(["a"])
    order = RolloutInput(rollout_id="r-1", plan=plan, actor="tests")
    handle = await harness.client.start_workflow(
        RolloutWorkflow.run, order, id=f"rollout:{plan.service}", task_queue=f"nobody-{uuid.uuid4().hex}"
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
        assert "pause may still take effect" in paused[2]
        assert "no worker answered" in asked[2]
    finally:
        await handle.terminate()
