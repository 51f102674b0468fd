"""The only place that turns a provider's errors into Temporal's: what may be retried is said on the class."""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio import activity
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, FailureError
from temporalio.exceptions import TimeoutError as TimedOut

from fraisier.providers.errors import ProviderError

DEFECT_ATTEMPTS = 5
"""How often an unexpected exception is tried again before it fails the step: a passing cause has passed by then."""


@contextmanager
def mapped_failures() -> Iterator[None]:
    """Raise every provider error as an `ApplicationError` of its class's name.

    They are never retried by Temporal: what may be tried again was tried inside the activity, within the
    target's own deadline. What is left to Temporal's retry is the loss of a worker.
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
        if isinstance(error, FailureError) or activity.info().attempt < DEFECT_ATTEMPTS:
            raise
        raise ApplicationError(f"{type(error).__name__}: {error}", type="Defect", non_retryable=True) from error


def describe(error: BaseException) -> str:
    """What went wrong, in one line for people, out of Temporal's nested errors."""
    cause: BaseException = error
    while isinstance(cause, FailureError) and cause.cause is not None:
        cause = cause.cause
    if isinstance(cause, TimedOut):
        return "no worker finished the step in time"
    return str(cause) or type(cause).__name__


def was_cancelled(error: ActivityError) -> bool:
    """Whether an activity ended because it was asked to stop."""
    return isinstance(error.cause, CancelledError)
