"""The events of a region as a whole, told from inside its workflows."""

from typing import Any

from temporalio import workflow

from fraisier.workflows.activities.events import EventActivities
from fraisier.workflows.contracts import RegionInput, RollbackInput
from fraisier.workflows.policy import EVENT
from fraisier.workflows.steps import EventInput


async def tell_of_region(order: RegionInput | RollbackInput, event_type: str, step: str, **data: Any) -> None:
    """Publish an event of a region; returns when it is stored.

    Args:
        order: what the region's workflow was given.
        event_type: the event's.
        step: makes the event's ID, together with the generation.
        data: what it says beside the release, the generation and its scope.
    """
    release = order.release
    common = {"version": release.version, "release_digest": release.digest, "generation": order.generation}
    await workflow.execute_activity_method(
        EventActivities.publish,
        EventInput(
            event_type=event_type,
            rollout_id=order.rollout_id,
            service=release.service,
            region=order.region.name,
            step=f"{order.generation}.{step}",
            data={**common, "scope": "region", **data},
        ),
        summary=f"{event_type} {order.region.name}",
        **EVENT,
    )
