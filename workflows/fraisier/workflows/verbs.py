"""The verbs that people send to an open rollout, as signals or as updates."""

import difflib
from enum import Enum
from typing import Annotated, Any

from pydantic import Field, ValidationError

from fraisier.providers.duration import Duration
from fraisier.providers.models import Model
from fraisier.workflows.arithmetic import Count

TEXT_KEPT = 500
"""How much of an actor's or reason's text is kept, in characters."""


class Verb(str, Enum):
    """What can be asked of an open rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    ROLLBACK = "rollback"
    RETRY = "retry"
    SKIP = "skip"
    CANCEL = "cancel"
    APPROVE = "approve"
    REJECT = "reject"
    PROMOTE = "promote"
    ADJUST = "adjust"
    OVERRIDE = "override"


VOTES = (Verb.APPROVE, Verb.REJECT)
"""The verbs that answer a gate which asks people."""


class Adjustment(Model):
    """What shall be otherwise.

    Attributes:
        wave: the wave that it is about; the one under way by default.
        region: the region that it is about, instead of a wave.
        soak: how long the wave, or the region, soaks: also while it does.
        max_parallel: how many regions of the wave, or targets of the region, go together.
        failure_tolerance: how many targets of the region, or of each of the wave's, may fail.
        drop: regions that have not begun and shall not.
        add: dropped regions that shall go after all.
        order: regions of waves that have not begun, in the order in which they shall go; others go after them.
    """

    wave: Annotated[int, Field(ge=1)] | None = None
    region: str | None = None
    soak: Duration | None = None
    max_parallel: Count | None = None
    failure_tolerance: Count | None = None
    drop: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    order: tuple[str, ...] = ()


class VerbRequest(Model):
    """Who asks, and why.

    Attributes:
        by: the actor.
        reason: why, for the audit.
        id: a second request with the same ID changes nothing.
        override: take back what cannot be taken back cleanly, too; needs a reason.
        regions: which regions to promote, or to let start; by default all that wait for it.
        whole: of ``retry``: regions as a whole, not only the targets that failed.
        adjust: of ``adjust``: what shall be otherwise.
    """

    by: str = ""
    reason: str = ""
    id: str = ""
    override: bool = False
    regions: tuple[str, ...] = ()
    whole: bool = False
    adjust: Adjustment | None = None


def unknown_verb(name: str) -> str:
    """Why a signal of that name has no effect, with the way out."""
    verbs = [verb.value for verb in Verb]
    near = difflib.get_close_matches(name.lower(), verbs, n=1)
    return f"there is no verb {name}" + (f"; did you mean {near[0]}?" if near else f"; there are {', '.join(verbs)}")


def refused_one_way(why: str, request: VerbRequest) -> str:
    """Why a rollback over a migration that cannot be taken back is refused; empty when it is overridden."""
    if request.override and request.reason:
        return ""
    if request.override:
        return "an override needs a reason, which the audit keeps"
    return (
        f"{why}, so the release before may not fit its database any more. pause holds the rollout where it is; "
        "rollback with override and a reason takes the regions back all the same (fraisier rollback --override)"
    )


class BadRequest(Exception):
    """What came with a verb that needs more than a name cannot be read; the message says what is wrong."""


def read_request(payload: Any) -> VerbRequest:
    """Read what came with a signal, kindly: a signal from a page or a shell must not be lost over its payload.

    Nothing at all, a bare string (taken as the reason) and objects with other keys are all accepted.
    """
    if isinstance(payload, VerbRequest):
        return payload
    if isinstance(payload, dict):
        texts = {key: str(payload[key])[:TEXT_KEPT] for key in ("by", "reason", "id") if payload.get(key)}
        return VerbRequest(
            **texts,
            override=payload.get("override") is True,
            regions=_names(payload.get("regions")),
            whole=payload.get("whole") is True,
        )
    return VerbRequest(reason=str(payload)[:TEXT_KEPT] if payload else "")


def read_adjustment(payload: Any) -> VerbRequest:
    """Read what came with the signal ``adjust``: what shall be otherwise stands beside by, reason and id.

    Raises:
        BadRequest: a value is wrong.
    """
    if isinstance(payload, VerbRequest):
        return payload
    given = payload if isinstance(payload, dict) else {}
    listed = {key: _names(given[key]) for key in ("drop", "add", "order") if key in given}
    told = {key: given[key] for key in Adjustment.model_fields if key in given} | listed
    try:
        change = Adjustment.model_validate(told)
    except ValidationError as error:
        wrong = ((".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")) for one in error.errors())
        raise BadRequest("; ".join(f"{key}: {why}" for key, why in wrong)) from error
    return read_request(payload).model_copy(update={"adjust": change})


def _names(given: Any) -> tuple[str, ...]:
    """A list of names, or one with commas."""
    names = given.split(",") if isinstance(given, str) else given if isinstance(given, list | tuple) else ()
    return tuple(str(name).strip()[:TEXT_KEPT] for name in names)
