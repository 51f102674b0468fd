"""Hooks around regions, batches and targets: when they run, and what their failures do."""

import pytest

from fraisier.providers.hooks import Hook, Hooks, Moments
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.rollout import RolloutWorkflow
from tests.workflows.harness import Harness, make_plan

MOMENTS = ("before", "after", "on_failure", "on_rollback")


def everywhere(**failing: str) -> Hooks:
    """A hook at every moment, which says its name; ``scope=moment`` names those that fail."""

    def hook(scope: str, moment: str) -> tuple[Hook, ...]:
        return (Hook(run=(scope, moment, "{target}", *(["fails"] if failing.get(scope) == moment else []))),)

    return Hooks(
        **{
            scope: Moments(**{moment: hook(scope, moment) for moment in MOMENTS})
            for scope in ("region", "batch", "target")
        }
    )


def story(harness: Harness) -> list[str]:
    steps = [f"{what} {target}" if " " not in what else what for target, what, _ in harness.world.effects]
    return [step for step in steps if not step.startswith(("prune", "stage"))]


async def test_hooks_run_around_every_part(harness: Harness):
    plan = make_plan(["a"], targets=2, max_parallel=1, final_soak=300, hooks=everywhere())
    handle = await harness.start(plan)
    await harness.until(handle, phase=RolloutPhase.SOAKING)
    assert harness.world.effects[0][1] == "region before a1"
    assert story(harness) == [
        "region before a1",
        *(
            step
            for one in ("a1", "a2")
            for step in (
                f"batch before {one}",
                f"target before {one}",
                f"activate {one}",
                f"target after {one}",
                f"batch after {one}",
            )
        ),
        "region after a1",
    ]
    harness.world.effects.clear()
    await handle.signal(RolloutWorkflow.rollback)
    assert (await harness.finish(handle)).phase is RolloutPhase.ROLLED_BACK
    assert story(harness) == [
        *(
            step
            for one in ("a2", "a1")
            for step in (f"rollback {one}", f"target on_rollback {one}", f"batch on_rollback {one}")
        ),
        "region on_rollback a2",
    ]


BEFORE = ["region before a1", "batch before a1", "target before a1"]
FAILURES = ["target on_failure a1", "batch on_failure a1", "region on_failure a1"]
BACK = ["rollback a1", "target on_rollback a1", "batch on_rollback a1", "region on_rollback a1"]


@pytest.mark.parametrize(
    ("failing", "steps"),
    [
        ({"region": "before"}, ["region before a1 fails", "region on_failure a1"]),
        ({"batch": "before"}, ["region before a1", "batch before a1 fails", *FAILURES[1:]]),
        ({"target": "before"}, [*BEFORE[:2], "target before a1 fails", *FAILURES]),
        ({"target": "after"}, [*BEFORE, "activate a1", "target after a1 fails", *FAILURES, *BACK]),
        (
            {"region": "after", "target": "on_rollback"},
            [
                *(*BEFORE, "activate a1", "target after a1", "batch after a1", "region after a1 fails"),
                *("region on_failure a1", "rollback a1", "target on_rollback a1 fails", *BACK[2:]),
            ],
        ),
    ],
    ids=["region-before", "batch-before", "target-before", "target-after", "region-after"],
)
async def test_a_hook_that_fails(harness: Harness, failing: dict[str, str], steps: list[str]):
    result = await harness.finish(await harness.start(make_plan(["a"], ["b"], hooks=everywhere(**failing))))
    assert result.phase is RolloutPhase.FAILED
    scope, moment = next(iter(failing.items()))
    assert f"the hook {moment} the {scope} failed: a1: {scope} failed" in result.reason
    assert story(harness) == steps
    assert harness.world.versions()["a1"] == "1.0.0"
