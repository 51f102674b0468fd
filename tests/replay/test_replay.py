"""Rollouts that an earlier Fraisier began are carried on by today's workflows: every kept history replays."""

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from fraisier.workflows.converter import DATA_CONVERTER
from fraisier.workflows.sandbox import SANDBOX
from tests.replay.histories import load
from tests.support.sandbox import STRICT
from tests.workflows.harness import WORKFLOWS

KEPT = sorted(Path(__file__).parent.glob("*/*/*.json"))


@pytest.fixture(params=[STRICT, SANDBOX], ids=["strict", "workers"])
def replayer(request: pytest.FixtureRequest) -> Replayer:
    """In the sandbox of the tests and in that of the workers."""
    return Replayer(workflows=WORKFLOWS, data_converter=DATA_CONVERTER, workflow_runner=request.param)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_a_kept_history_replays(replayer: Replayer, path: Path):
    await replayer.replay_workflow(load(path))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_the_same_history_with_another_step_does_not(replayer: Replayer, path: Path):
    history = json.loads(path.read_text())
    scheduled = [event for event in history["events"] if "activityTaskScheduledEventAttributes" in event]
    scheduled[-1]["activityTaskScheduledEventAttributes"]["activityType"]["name"] = "another"
    with pytest.raises(NondeterminismError):
        await replayer.replay_workflow(WorkflowHistory.from_json(load(path).workflow_id, history))


def test_every_workflow_has_kept_histories():
    first = [json.loads(path.read_text())["events"][0] for path in KEPT]
    types = {event["workflowExecutionStartedEventAttributes"]["workflowType"]["name"] for event in first}
    # A look lives for seconds: no new worker ever finds one of an old worker's.
    assert types == {workflow.__name__ for workflow in WORKFLOWS} - {"LookWorkflow"}
