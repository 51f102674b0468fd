"""Every moment at which something can come between two steps: before an activity begins, and before it has ended."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from fraisier.workflows.steps import EventInput

BEFORE, AFTER = "before", "after"
REGIONS = "regions"

Act = Callable[[], Awaitable[None]]


class Boundary(NamedTuple):
    """A moment of a rollout: the same one in every run of it, also where activities that run at once begin by chance.

    Attributes:
        activity: what begins or ends, as `Passage.passed` names it.
        which: the first of that name is 1.
        when: before it begins, or after its effect and before Temporal hears of it.
    """

    activity: str
    which: int
    when: str


@dataclass
class Passage:
    """The boundaries of one rollout, as they are passed, and what shall be done at one of them.

    Attributes:
        acts: what is done at a boundary, once.
        passed: every activity that began, first attempts only: ``name target``, or ``publish type region``.
        running: what runs now: the regions, and by region the targets that are exchanged.
        busiest: how many of each ran at most at one time; ``regions`` and by region.
    """

    acts: dict[Boundary, Act] = field(default_factory=dict)
    passed: list[str] = field(default_factory=list)
    running: dict[str, set[str]] = field(default_factory=dict)
    busiest: dict[str, int] = field(default_factory=dict)

    def boundaries(self, when: str) -> list[Boundary]:
        """All that were passed, in order."""
        return [Boundary(name, self.passed[: at + 1].count(name), when) for at, name in enumerate(self.passed)]

    async def at_boundary(self, boundary: Boundary) -> None:
        """Do what shall be done there."""
        act = self.acts.pop(boundary, None)
        if act is not None:
            await act()

    def began(self, name: str, order: Any) -> None:
        """Keep count: a target is exchanged from its activation on, a region runs from the event of its start on."""
        for one in order.steps if name == "together" else ():
            self.began(order.kind, one)
        if name == "activate":
            self._count(order.step.region, order.target.name)
        elif name == "publish" and order.step.endswith(".region") and order.event_type == "deployment.started":
            self._count(REGIONS, order.region)

    def ended(self, name: str, order: Any) -> None:
        """A target's exchange ends with its health check, a region with the event of its end."""
        for one in order.steps if name == "together" else ():
            self.ended(order.kind, one)
        if name == "check_health" and order.step.name != "verify":
            self.running.get(order.step.region, set()).discard(order.target.name)
        elif name == "publish" and order.step.endswith(".region") and order.event_type != "deployment.started":
            self.running.get(REGIONS, set()).discard(order.region)

    def _count(self, of: str, one: str) -> None:
        busy = self.running.setdefault(of, set())
        busy.add(one)
        self.busiest[of] = max(self.busiest.get(of, 0), len(busy))


class Boundaries(Interceptor):
    """Watches the activities of all rollouts on a worker; by service, in `passages`."""

    def __init__(self) -> None:
        self.passages: dict[str, Passage] = {}

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Watch(next, self.passages)


class _Watch(ActivityInboundInterceptor):
    def __init__(self, after: ActivityInboundInterceptor, passages: dict[str, Passage]) -> None:
        super().__init__(after)
        self._passages = passages

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        info = activity.info()
        passage = self._passages.get((info.workflow_id or "").split(":")[1])
        if passage is None:
            return await self.next.execute_activity(input)
        order = input.args[0] if input.args else None
        name = f"{info.activity_type} {_about(order)}".strip()
        if info.attempt == 1:
            passage.passed.append(name)
        which = passage.passed.count(name) if info.attempt == 1 else 0
        passage.began(info.activity_type, order)
        await passage.at_boundary(Boundary(name, which, BEFORE))
        result = await self.next.execute_activity(input)
        passage.ended(info.activity_type, order)
        await passage.at_boundary(Boundary(name, which, AFTER))
        return result


def _about(order: Any) -> str:
    if isinstance(order, EventInput):
        return f"{order.event_type} {order.region}"
    return getattr(getattr(order, "target", None), "name", "")
