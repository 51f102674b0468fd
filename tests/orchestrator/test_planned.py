"""What a plan would change at a target, beside what the target says of itself."""

import pytest

from fraisier.orchestrator.planned import Change, changes
from fraisier.providers.models import ReleaseRef, TargetState
from fraisier.workflows.steps import RegionLook
from tests.workflows.harness import make_plan

PLAN = make_plan(["a"])
THEN = PLAN.release.ref
OTHER = f"sha256:{'f' * 64}"


@pytest.mark.parametrize(
    ("now", "change", "why"),
    [
        (None, Change.DEPLOY, ""),
        (THEN, Change.NONE, ""),
        (ReleaseRef(version="1.0.0", digest=OTHER), Change.DEPLOY, ""),
        (
            ReleaseRef(version=THEN.version, digest=OTHER),
            Change.DEPLOY,
            f"another {THEN.version}: ffffffff → {THEN.digest.removeprefix('sha256:')[:8]}",
        ),
    ],
)
def test_another_release_of_the_same_version_is_told_as_such(now: ReleaseRef | None, change: Change, why: str) -> None:
    look = RegionLook(region="a", states={"a1": TargetState(release=now)}, silent={})
    (found,) = changes(PLAN, (look,))
    assert (found.change, found.why) == (change, why)
