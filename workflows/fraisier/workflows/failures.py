"""The only place that turns a provider's errors into Temporal's: what may be retried is said on the class."""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio import activity
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, FailureError, TimeoutType
from temporalio.exceptions import TimeoutError as TimedOut

from fraisier.providers.errors import ProviderError
from fraisier.providers.models import HealthResult, StepResult
from fraisier.workflows.steps import StepOutcome

DEFECT_ATTEMPTS = 5
"""How often an unexpected exception is tried again before it fails the step: a passing cause has passed by then."""


DEFECT = "Defect"
"""The type of what nobody expected."""

NO_WORKER = "NoWorker"
"""The type of a step that nobody is there to take."""


class WorkerStops(Exception):
    """This worker was asked to stop: what only waits goes on at another one."""

    mendable = True


@contextmanager
def mapped_failures() -> Iterator[None]:
    """Raise every provider and event error as an `ApplicationError` of its class's name.

    Those are never retried by Temporal: what may be tried again was tried inside the activity, within the
    target's own deadline. What is left to Temporal's retry is the loss of a worker, and an error that says of itself
    that somebody can mend its cause, such as a full stream: the step waits until that is done.
    """
    try:
        yield
    except ProviderError as error:
        raise ApplicationError(
            str(error),
            {"target": error.target, "step": error.step},
            type=type(error).__name__,
            non_retryable=True,
        ) from error
    except (FailureError, Exception) as error:
        if is_refused(error):
            raise ApplicationError(str(error), type=type(error).__name__, non_retryable=True) from error
        mendable = getattr(error, "mendable", False)
        if mendable or isinstance(error, FailureError) or activity.info().attempt < DEFECT_ATTEMPTS:
            raise
        raise ApplicationError(f"{type(error).__name__}: {error}", type=DEFECT, non_retryable=True) from error


def is_refused(error: Exception) -> bool:
    """Whether an event's error will be there again, however often it is tried."""
    return getattr(error, "mendable", None) is False


def outcome_of(error: ApplicationError) -> StepOutcome:
    """A failure that no retry mends, as one outcome among those of several targets."""
    return StepOutcome(error=describe(error), error_type=error.type or DEFECT)


def of_outcome(outcome: StepOutcome) -> StepResult | HealthResult | None:
    """What a step did.

    Raises:
        ApplicationError: it failed.
        CancelledError: it was asked to end.
    """
    if outcome.stopped:
        raise CancelledError("the step was asked to end")
    if outcome.error_type:
        raise ApplicationError(outcome.error, type=outcome.error_type, non_retryable=True)
    return outcome.health or outcome.result


def describe(error: BaseException) -> str:
    """What went wrong, in one line for people, out of Temporal's nested errors.

    The first error of ours tells it, with target and step; what lies below is what it was made from.
    """
    cause: BaseException = error
    while isinstance(cause, FailureError) and not isinstance(cause, ApplicationError) and cause.cause is not None:
        cause = cause.cause
    if isinstance(cause, TimedOut):
        return "no worker finished the step in time"
    text = cause.message if isinstance(cause, ApplicationError) else str(cause)
    return text or type(cause).__name__


def was_refused(error: BaseException) -> bool:
    """Whether an activity was refused for a reason that is known, as against a defect of ours."""
    return isinstance(error, ActivityError) and getattr(error.cause, "type", DEFECT) != DEFECT


def was_cancelled(error: FailureError) -> bool:
    """Whether a step ended because it was asked to."""
    return isinstance(error, CancelledError) or isinstance(error.cause, CancelledError)


def was_not_taken(error: FailureError) -> bool:
    """Whether no worker took an activity from its task queue in time; an attempt before may have been taken."""
    return isinstance(error.cause, TimedOut) and error.cause.type is TimeoutType.SCHEDULE_TO_START


def with_left(reason: str, left: list[str]) -> str:
    """A reason, and what could not be taken back, which people must look after."""
    return f"{reason}; not everywhere: " + "; ".join(left) if left else reason
