"""What people read of an error that went through Temporal."""

import pytest
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutType
from temporalio.exceptions import TimeoutError as TimedOut

from fraisier.workflows.failures import describe, was_refused


def activity_error(cause: BaseException) -> ActivityError:
    error = ActivityError(
        "Activity task failed", scheduled_event_id=1, started_event_id=2, identity="w", activity_type="stage",
        activity_id="1", retry_state=RetryState.NON_RETRYABLE_FAILURE,
    )  # fmt: skip
    error.__cause__ = cause
    return error


def test_the_first_error_of_ours_tells_it_and_not_what_it_was_made_from() -> None:
    ours = ApplicationError("host-1: web.tar.gz: not a gzip file", type="ArtifactRejected")
    ours.__cause__ = ApplicationError("not a gzip file", type="ReadError")
    assert describe(activity_error(ours)) == "host-1: web.tar.gz: not a gzip file"


def test_a_timeout_is_told_in_words() -> None:
    late = TimedOut("activity Heartbeat timeout", type=TimeoutType.HEARTBEAT, last_heartbeat_details=[])
    assert describe(activity_error(late)) == "no worker finished the step in time"


@pytest.mark.parametrize(("kind", "refused"), [("EventConflict", True), ("PermissionDenied", True), ("Defect", False)])
def test_a_defect_is_not_a_refusal(kind: str, refused: bool) -> None:
    assert was_refused(activity_error(ApplicationError("why", type=kind))) is refused
