"""What people read at the end of a rollout."""

from datetime import datetime, timezone

import pytest

from fraisier.orchestrator.cli.render import final_sentence
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.status import RegionStatus, RolloutStatus, WaveStatus


@pytest.mark.parametrize(
    ("states", "dropped", "says"),
    [
        (("succeeded", "succeeded"), (), "api 2.0.0 runs in every region"),
        (("succeeded", "failed"), (), "api 2.0.0 runs in 1 of 2 regions; not in region-1 (failed)"),
        (("succeeded",), ("eu", "us"), "api 2.0.0 runs in 1 of 3 regions; not in eu (dropped), us (dropped)"),
    ],
)
def test_a_success_says_where_the_release_runs(states: tuple[str, ...], dropped: tuple[str, ...], says: str):
    regions = tuple(RegionStatus(name=f"region-{number}", state=state) for number, state in enumerate(states))
    status = RolloutStatus(
        rollout_id="r",
        service="api",
        version="2.0.0",
        digest="sha256:1",
        started_at=datetime.now(timezone.utc),
        phase=RolloutPhase.SUCCEEDED,
        waves=(WaveStatus(number=1, regions=regions),),
        dropped=dropped,
    )
    assert final_sentence(status) == says
