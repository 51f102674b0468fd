"""``fraisier worker`` with places where it can be stopped, and a log of what NATS acknowledged to it.

A place is an activity's name with what it is about, and a moment: ``before`` it begins, ``untold`` when its effect is
done and its event not published, ``after`` when all is done and Temporal has not heard of it. Where
``$FAULTS/armed/<service>`` names the place that is reached, it becomes ``reached/<service>``, and the activity stands
until that file is gone. What stands in ``blocking`` is for how many seconds the whole process stands still there.
"""

import asyncio
import functools
import json
import logging
import os
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

import fraisier.orchestrator.worker as product
from fraisier.nats import Event, NatsEventBus, StoredEvent

FOLDER = Path(os.environ["FAULTS"])
STANDS_S = 90.0
"""How long an activity stands at most; who stopped it may be gone."""

COUNT_S = 2.0

TELLS = ("health.check_passed", "health.check_failed", "health.check_timeout", "deployment.rolled_back")
"""Events that follow the effect of a target's step."""

LABELS: ContextVar[list[str]] = ContextVar("LABELS", default=[])  # noqa: B039 (never changed in place)


class Places(Interceptor):
    """Stops activities where they are armed."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Places(next)


class _Places(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        labels = labels_of(activity.info().activity_type, input.args[0] if input.args else None)
        LABELS.set(labels)
        for label in labels:
            await _stand(f"{label} before")
        result = await self.next.execute_activity(input)
        for label in labels:
            await _stand(f"{label} after")
        return result


class LoggedBus(NatsEventBus):
    """Writes down every acknowledgement, as a client of its own would."""

    async def publish_event(self, event: Event) -> StoredEvent:
        if event.target is not None and event.event_type in TELLS:
            for label in LABELS.get():
                if len(LABELS.get()) == 1 or label.endswith(f":{event.target}"):
                    await _stand(f"{label} untold")
        stored = await super().publish_event(event)
        _append("acks", {"id": event.event_id, "stream": stored.stream, "sequence": stored.sequence})
        return stored


def labels_of(name: str, order: Any) -> list[str]:
    """An activity's label; of one that takes a step on several targets, the label of each."""
    return [label_of(order.kind, one) for one in order.steps] if name == "together" else [label_of(name, order)]


def label_of(name: str, order: Any) -> str:
    """An activity's name with what it is about: ``activate:127.0.0.1:2201``, ``publish:deployment.started:east``."""
    if name == "publish":
        return f"publish:{order.event_type}:{order.region}"
    if hasattr(order, "step") and hasattr(order.step, "name"):
        return f"{order.step.name}:{order.target.name}"
    return f"{name}:{order.region.name}" if name == "preflight" else name


async def _stand(place: str) -> None:
    service = (activity.info().workflow_id or "").split(":")[1]
    armed, reached = FOLDER / "armed" / service, FOLDER / "reached" / service
    try:
        if armed.read_text() != place:
            return
        armed.rename(reached)
    except FileNotFoundError:
        return
    end = time.monotonic() + STANDS_S
    while reached.exists() and time.monotonic() < end:
        activity.heartbeat()
        if (FOLDER / "blocking").exists():
            time.sleep(float((FOLDER / "blocking").read_text()))  # noqa: ASYNC251 (the fault: everything stands still)
            (FOLDER / "blocking").unlink(missing_ok=True)
        await asyncio.sleep(0.05)


def _append(name: str, line: dict[str, Any]) -> None:
    with (FOLDER / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


async def _count_tasks() -> None:
    """Say all the while how many tasks there are."""
    while True:
        (FOLDER / "tasks").write_text(str(len(asyncio.all_tasks())))
        await asyncio.sleep(COUNT_S)


async def work() -> None:
    """Run the product's worker with all that in it."""
    product.Worker = functools.partial(Worker, interceptors=[Places()])  # type: ignore[misc,assignment]
    from fraisier.orchestrator import connections  # noqa: PLC0415

    connections.NatsEventBus = LoggedBus  # type: ignore[misc]
    counting = asyncio.create_task(_count_tasks())
    try:
        await product.run_worker()
    finally:
        counting.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    asyncio.run(work())
