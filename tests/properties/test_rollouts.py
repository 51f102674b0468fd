"""Rollouts made up by chance, run on real Temporal and NATS servers, against a model of how each must end.

``FRAISIER_EXAMPLES=40`` runs so many batches of them in place of the one of every test run.
"""

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from fraisier.workflows.arithmetic import resolve_parallel
from fraisier.workflows.contracts import RolloutPhase, RolloutResult
from fraisier.workflows.plans import Plan, RegionPlan, TargetPlan, WavePlan
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.verbs import Verb, VerbRequest
from tests.properties.cases import IN_VAIN, cases
from tests.properties.model import NEW, OLD, Case, RegionCase, expected
from tests.support.harness import Ground
from tests.workflows.boundaries import REGIONS, Passage
from tests.workflows.harness import make_plan

BATCHES = int(os.environ.get("FRAISIER_EXAMPLES", "1"))
IN_A_BATCH = 16
ENDS_WITHIN_S = 120


class Crash(Exception):
    """The worker is lost here: the step runs again elsewhere."""


@dataclass
class Ended:
    """A rollout that has ended, and all that was seen of it from outside.

    Attributes:
        answer: ``accepted`` or the refusal of the verb; empty when none was sent.
    """

    case: Case
    result: RolloutResult
    versions: dict[str, str]
    activated: list[str]
    passage: Passage
    answer: str


@settings(
    max_examples=BATCHES,
    deadline=None,
    derandomize="FRAISIER_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(batch=st.lists(cases(), min_size=IN_A_BATCH, max_size=IN_A_BATCH))
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")  # a failed batch is shown whole, and is long
async def test_rollouts_end_as_their_model_says(ground: Ground, batch: list[Case]):
    ended = await asyncio.gather(*(run(ground, case) for case in batch))
    wrong = [found for one in ended for found in faults(one)]
    assert not wrong, "\n".join(wrong)


def faults(one: Ended) -> list[str]:
    """What is wrong with how a rollout ended."""
    found = [*_order(one), *_parallelism(one)]
    if one.case.verb == "rollback" and one.answer == "accepted":
        found += _ended(one, RolloutPhase.ROLLED_BACK, _all(one, OLD))
    elif one.case.verb == "cancel" and one.answer == "accepted":
        found += _ended(one, RolloutPhase.CANCELLED, _all(one, OLD, NEW))
    else:
        model = expected(one.case)
        found += _ended(one, model.phase, model.versions)
    if one.case.verb in IN_VAIN and one.answer == "accepted":
        found.append(f"{one.case.verb} was accepted, and made no sense")
    return [f"{text}\n    {one.case}\n    {one.result}" for text in found]


def _all(one: Ended, *versions: str) -> dict[str, set[str]]:
    return {target: {*versions} for target in one.versions}


def _ended(one: Ended, phase: RolloutPhase, versions: dict[str, set[str]]) -> list[str]:
    wrong = {target: runs for target, runs in one.versions.items() if runs not in versions[target]}
    found = [f"they run {wrong}, and should run {versions}"] if wrong else []
    if one.result.phase is not phase:
        found.append(f"it ended {one.result.phase.value}, and should be {phase.value}; the verb: {one.answer}")
    return found


def _order(one: Ended) -> list[str]:
    """No wave before the one before it."""
    wave_of = {region.name: number for number, wave in enumerate(one.case.waves) for region in wave}
    seen = [wave_of[target[0]] for target in one.activated]
    return [] if seen == sorted(seen) else [f"waves out of order: {one.activated}"]


def _parallelism(one: Ended) -> list[str]:
    allowed = {region.name: max(region.canary, region.max_parallel) for region in one.case.regions}
    allowed[REGIONS] = one.case.wave_parallel
    return [
        f"{count} at a time in {name}, and {allowed[name]} are allowed"
        for name, count in one.passage.busiest.items()
        if count > allowed[name]
    ]


async def run(ground: Ground, case: Case) -> Ended:
    """Run a rollout, with its crash and its verb, to its end."""
    harness, plan = ground.harness, _plan(case)
    handle = harness.client.get_workflow_handle_for(RolloutWorkflow.run, f"rollout:{plan.service}")
    answers: list[asyncio.Task[str]] = []

    async def ask() -> None:
        answers.append(asyncio.create_task(_ask(handle, case.verb)))

    async def crash() -> None:
        raise Crash

    passage = ground.boundaries.passages[plan.service] = Passage(acts={(case.at, "before"): ask} if case.verb else {})
    if case.crash:
        passage.acts.setdefault((case.crash, case.crash_when), crash)
    for region in case.regions:
        harness.world.unhealthy |= {(_host(plan, region, number), NEW) for number in region.ill}
        harness.world.unfit |= {_host(plan, region, number) for number in region.unfit}
    result = await asyncio.wait_for((await harness.start(plan)).result(), ENDS_WITHIN_S)
    # A verb is always answered, also by a rollout that has ended meanwhile.
    answer = await asyncio.wait_for(answers[0], ENDS_WITHIN_S) if answers else ""
    hosts = {
        region.target(n): harness.world.hosts[_host(plan, region, n)] for region in case.regions for n in region.numbers
    }
    return Ended(
        case=case,
        result=result,
        versions={name: host.release.version if host.release else "" for name, host in hosts.items()},
        activated=[t.rpartition("-")[2] for t in harness.world.activations() if t.startswith(plan.service)],
        passage=passage,
        answer=answer,
    )


async def _ask(handle: Any, verb: str) -> str:
    """Send a verb as an update, and the same request again; a pause is ended after it."""
    request = VerbRequest(by="tests", reason="to see", id="1")
    try:
        await handle.execute_update(RolloutWorkflow.verb, args=[Verb(verb), request])
    except WorkflowUpdateFailedError as refused:
        return str(refused.cause)
    except RPCError as ended:
        return f"it has ended: {ended}"
    with suppress(RPCError):  # it may have ended since then
        await handle.execute_update(RolloutWorkflow.verb, args=[Verb(verb), request])
        if verb == "pause":
            await handle.execute_update(RolloutWorkflow.verb, args=[Verb.RESUME, VerbRequest(by="tests", id="2")])
    return "accepted"


def _host(plan: Plan, region: RegionCase, number: int) -> str:
    return f"{plan.service}-{region.target(number)}"


def _plan(case: Case) -> Plan:
    plan = make_plan(*([region.name for region in wave] for wave in case.waves), on_failure=case.on_failure)
    waves = tuple(
        WavePlan(
            number=wave.number,
            regions=wave.regions,
            max_parallel=resolve_parallel(case.wave_parallel, len(wave.regions)),
        )
        for wave in plan.waves
    )
    regions = {region.name: _region(plan, region) for region in case.regions}
    return plan.model_copy(update={"waves": waves, "regions": regions})


def _region(plan: Plan, region: RegionCase) -> RegionPlan:
    targets = tuple(
        TargetPlan(name=region.target(n), provider="simulated", options={"host": _host(plan, region, n)})
        for n in region.numbers
    )
    return plan.regions[region.name].model_copy(
        update={
            "targets": targets,
            "canary": region.canary,
            "max_parallel": region.max_parallel,
            "tolerance": region.tolerance,
        }
    )
