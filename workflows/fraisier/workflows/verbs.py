"""The verbs that people send to an open rollout, as signals or as updates."""

from enum import Enum
from typing import Any

from fraisier.providers.models import Model

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


VOTES = (Verb.APPROVE, Verb.REJECT)
"""The verbs that answer a gate which asks people."""


class VerbRequest(Model):
    """Who asks, and why.

    Attributes:
        by: the actor.
        reason: why, for the audit.
        id: a second request with the same ID changes nothing.
        override: take back what cannot be taken back cleanly, too; needs a reason.
    """

    by: str = ""
    reason: str = ""
    id: str = ""
    override: bool = False


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


def read_request(payload: Any) -> VerbRequest:
    """Read what came with a signal, kindly: a signal from a page or a shell must not be lost over its payload.

    Nothing at all, a bare string (taken as the reason) and objects with other keys are all accepted.
    """
    if isinstance(payload, VerbRequest):
        return payload
    if isinstance(payload, dict):
        texts = {key: str(payload[key])[:TEXT_KEPT] for key in ("by", "reason", "id") if payload.get(key)}
        return VerbRequest(**texts, override=payload.get("override") is True)
    return VerbRequest(reason=str(payload)[:TEXT_KEPT] if payload else "")
