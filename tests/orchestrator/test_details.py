"""What runs where is asked of the targets, not of what Fraisier remembers."""

import pytest

from fraisier.orchestrator.client import FraisierClient
from fraisier.orchestrator.errors import Refused
from fraisier.providers.models import ReleaseRef
from tests.workflows.harness import Harness, make_plan

BY_HAND = ReleaseRef(version="0.9.9", digest="sha256:" + "9" * 64)


async def test_every_target_tells_what_it_runs_now(harness: Harness, rollouts: FraisierClient):
    plan = make_plan(["a"], ["b"], targets=2)
    await harness.finish(await harness.start(plan))
    harness.world.hosts["a2"].release = BY_HAND
    harness.world.hosts["b1"].release = None
    harness.world.unreachable.add("b2")
    new = ReleaseRef(version="2.0.0", digest=plan.release.digest)
    a, b = await rollouts.details(plan.service)
    assert {name: state.release for name, state in a.states.items()} == {"a1": new, "a2": BY_HAND}
    assert ({name: state.release for name, state in b.states.items()}, a.silent) == ({"b1": None}, {})
    assert b.silent == {"b2": "b2 does not answer"}


async def test_a_service_that_was_never_rolled_out_is_refused(rollouts: FraisierClient):
    with pytest.raises(Refused, match="there was never a rollout of nothing"):
        await rollouts.details("nothing")
