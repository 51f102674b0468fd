"""Verbs made up by chance, sent to rollouts on real servers, against a model of what each must answer and do.

``FRAISIER_EXAMPLES=40`` runs so many batches of rollouts in place of the one of every test run.
"""

import asyncio
import os
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from temporalio.client import WorkflowUpdateFailedError

from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.evidence import VERB_EVENTS, VERB_REFUSED
from fraisier.workflows.plans import OnFailure, Plan, PromotionPlan, TargetPlan
from fraisier.workflows.rollout import RolloutWorkflow
from fraisier.workflows.verbs import Adjustment, Verb, VerbRequest
from tests.properties.desk import CANARY, CANARY_WAITS, DECISION, ENDED, REGIONS, SOAK, STEP, TARGETS, Desk
from tests.properties.model import NEW, OLD
from tests.workflows.harness import SECONDS, Harness, make_plan, with_region

BATCHES = int(os.environ.get("FRAISIER_EXAMPLES", "1"))
IN_A_BATCH = 3
WITHIN_S = 90

ASKED = [verb for verb in Verb if verb is not Verb.ADJUST]
LET_THROUGH, AGAIN = "let through", "again"


@dataclass(frozen=True)
class Act:
    """One thing that happens to a rollout.

    Attributes:
        what: a verb, the last verb's request once more, or a step that is let through.
        signal: whether it is sent without waiting for an answer.
    """

    what: Verb | str
    signal: bool


# Verbs that end a rollout are rare, so that much comes before them.
_OFTEN = [LET_THROUGH] * 8 + [AGAIN] * 2 + [Verb.PAUSE, Verb.RESUME, Verb.PROMOTE, Verb.RETRY]
_WHAT = st.sampled_from([*_OFTEN, *ASKED])
ACTS = st.builds(Act, what=_WHAT, signal=st.booleans())
ILL = st.sets(st.sampled_from([f"{region}{n}" for region in REGIONS for n in TARGETS]), max_size=3)
STORIES = st.tuples(ILL, st.lists(ACTS, min_size=4, max_size=16))


EVERY = (
    *(Verb.RESUME, Verb.APPROVE, Verb.REJECT, Verb.OVERRIDE, Verb.PAUSE, Verb.PAUSE, AGAIN),
    *(Verb.RETRY, Verb.RETRY, Verb.SKIP, Verb.PROMOTE, Verb.PROMOTE, Verb.RESUME, AGAIN),
)
"""Every verb that ends nothing, in an order that leaves no pause behind."""

HELD = (Verb.PAUSE, LET_THROUGH, *[Verb.RETRY, Verb.SKIP, Verb.PROMOTE] * 3, Verb.RESUME)
"""A step that ends while the rollout is paused, and time enough for the next one to begin all the same."""

EVERYWHERE = (
    *(*EVERY, LET_THROUGH, LET_THROUGH),
    *(*EVERY, LET_THROUGH, LET_THROUGH),
    *(*EVERY, LET_THROUGH, *HELD, LET_THROUGH),
    *EVERY,
)
"""All of them at a step, at a decision (`a2` is ill), while a canary waits and in the soak."""


def _story(ill: set[str], *acts: Verb | str) -> tuple[set[str], list[Act]]:
    return ill, [Act(what, signal=number % 2 == 0) for number, what in enumerate(acts)]


TOLD = [
    _story({"a2"}, *EVERYWHERE),
    _story({"a2"}, LET_THROUGH, LET_THROUGH, Verb.ROLLBACK),
    _story({"b1"}, *[LET_THROUGH] * 3, Verb.CANCEL),
    _story(set(), LET_THROUGH, Verb.PAUSE, LET_THROUGH, Verb.ROLLBACK),
]
"""Stories that are played every time: all verbs everywhere, and the ends of what has failed or is held."""


@settings(
    max_examples=BATCHES,
    deadline=None,
    derandomize="FRAISIER_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(batch=st.lists(STORIES, min_size=IN_A_BATCH, max_size=IN_A_BATCH))
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")  # a failed batch is shown whole, and is long
async def test_every_verb_is_answered_and_does_what_its_model_says(
    harness: Harness, batch: list[tuple[set[str], list[Act]]]
) -> None:
    await asyncio.gather(*(_play(harness, *story) for story in (*TOLD, *batch)))


async def _play(harness: Harness, ill: set[str], acts: list[Act]) -> None:
    told = f"ill: {ill}, {[(getattr(act.what, 'value', act.what), act.signal) for act in acts]}"
    story = Story(harness, Desk(ill={*ill}))
    try:
        await asyncio.wait_for(story.play(acts), 2 * WITHIN_S)
    except (AssertionError, asyncio.TimeoutError) as error:
        raise AssertionError(f"{error!r}\n    {told}\n    {story.desk}") from error


class Story:
    """A rollout that is played beside its model."""

    def __init__(self, harness: Harness, desk: Desk) -> None:
        self._harness = harness
        self.desk = desk
        self._plan = _plan()
        self._handle: Any = None
        self._ids = 0
        self._last: tuple[Verb, VerbRequest] | None = None
        for name in (f"{region}{n}" for region in REGIONS for n in TARGETS):
            harness.world.blocked[self._host(name), "activate"] = asyncio.Event()
        self._show_ill()

    async def play(self, acts: list[Act]) -> None:
        """Do all of it, then whatever brings the rollout to its end, and look at what came of it."""
        self._handle = await self._harness.start(self._plan)
        await self._settle()
        for act in acts:
            if self.desk.place == ENDED:
                break
            await self._do(act)
            await self._settle()
        while self.desk.place != ENDED:
            await self._on()
            await self._settle()
        await self._check_end()

    async def _do(self, act: Act) -> None:
        if act.what == LET_THROUGH:
            await self._let_through()
        elif act.what == AGAIN:
            if self._last is not None:
                await self._send(*self._last, signal=act.signal)
        else:
            verb = Verb(act.what)
            self._ids += 1
            request = VerbRequest(by="ann", reason="to see", id=str(self._ids))
            takes = self.desk.takes(verb)
            if verb is Verb.RETRY and takes:
                self.desk.ill.clear()
                self._show_ill()
            refusal = await self._send(verb, request, signal=act.signal)
            assert act.signal or bool(refusal) is not takes, f"{verb.value}: {refusal or 'accepted'}"
            if takes:
                self.desk.obey(verb)
                self._last = verb, request
            elif act.signal:
                self.desk.refused += 1

    async def _send(self, verb: Verb, request: VerbRequest, *, signal: bool) -> str:
        """Send a verb; why it was refused, or nothing."""
        if signal:
            await self._handle.signal(verb.value, {"by": request.by, "reason": request.reason, "id": request.id})
            return ""
        try:
            await self._handle.execute_update(RolloutWorkflow.verb, args=[verb, request])
        except WorkflowUpdateFailedError as refused:
            return str(refused.cause)
        return ""

    async def _let_through(self) -> None:
        if self.desk.place != STEP or not self.desk.begun:
            return
        key = self._host(self.desk.target), "activate"
        opened = self._harness.world.blocked[key]
        self._harness.world.blocked[key] = asyncio.Event()  # a retry is to wait as well
        self._harness.world.entered[key].clear()
        opened.set()
        self.desk.let_through()

    async def _on(self) -> None:
        """Whatever brings it nearer to its end."""
        verbs = {DECISION: Verb.SKIP, CANARY_WAITS: Verb.PROMOTE}
        if self.desk.paused:
            await self._do(Act(Verb.RESUME, signal=False))
        elif self.desk.place in verbs:
            await self._do(Act(verbs[self.desk.place], signal=False))
        elif self.desk.place == SOAK:
            change = VerbRequest(by="ann", adjust=Adjustment(soak="0s"))
            await self._send(Verb.ADJUST, change, signal=False)
            self.desk.place, self.desk.phase = ENDED, RolloutPhase.SUCCEEDED
        else:
            await self._let_through()

    async def _settle(self) -> None:
        """Wait until it stands where it must, and see that it stands nowhere else."""
        desk = self.desk
        if desk.place == ENDED:
            return
        if desk.place == STEP and desk.begun:
            entered = self._harness.world.entered[self._host(desk.target), "activate"]
            await asyncio.wait_for(entered.wait(), WITHIN_S)
        elif desk.place == CANARY_WAITS:
            await self._harness.until_region(self._handle, CANARY, state="canary")
        elif desk.place in (DECISION, SOAK):
            phase = RolloutPhase.DECISION if desk.place == DECISION else RolloutPhase.SOAKING
            await self._harness.until(self._handle, phase=phase)
        status = await self._handle.query(RolloutWorkflow.status)
        assert status.paused is desk.paused
        for _ in range(1800):
            if len(self._activated()) >= len(desk.activated):  # what was let through takes a moment
                break
            await asyncio.sleep(0.05)
        assert self._activated() == desk.activated
        if desk.place == STEP and not desk.begun:
            assert not self._harness.world.entered[self._host(desk.target), "activate"].is_set()

    async def _check_end(self) -> None:
        result = await self._harness.finish(self._handle)
        assert result.phase is self.desk.phase, result.reason
        hosts = self._harness.world.hosts
        runs = {name: hosts[self._host(name)].release for name in self.desk.versions(OLD, NEW)}
        assert {name: one.version if one else "" for name, one in runs.items()} == self.desk.versions(OLD, NEW)
        assert self._activated() == self.desk.activated
        told = [event.event_type for event in await self._harness.events("deployment", self._plan)]
        assert told.count(VERB_REFUSED) == self.desk.refused
        for verb in ASKED:
            assert told.count(VERB_EVENTS[verb]) == self.desk.obeyed.count(verb), verb

    def _host(self, target: str) -> str:
        return f"{self._plan.service}-{target}"

    def _activated(self) -> list[str]:
        ours = (one for one in self._harness.world.activations() if one.startswith(self._plan.service))
        return [one.removeprefix(f"{self._plan.service}-") for one in ours]

    def _show_ill(self) -> None:
        world, ours = self._harness.world, f"{self._plan.service}-"
        world.unhealthy = {one for one in world.unhealthy if not one[0].startswith(ours)}
        world.unhealthy |= {(self._host(name), NEW) for name in self.desk.ill}


def _plan() -> Plan:
    waits = {"decision_timeout": 3600, "final_soak": 3600, "gate_timeout": 60}
    plan = make_plan(*([region] for region in REGIONS), targets=2, on_failure=OnFailure.PAUSE, **waits)
    plan = with_region(plan, CANARY, canary=1, promotion=PromotionPlan(timeout=3600 * SECONDS))
    for region in REGIONS:
        targets = tuple(
            TargetPlan(name=f"{region}{n}", provider="simulated", options={"host": f"{plan.service}-{region}{n}"})
            for n in TARGETS
        )
        plan = with_region(plan, region, targets=targets)
    return plan
