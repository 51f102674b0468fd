"""Gates as they will be asked: the manifest's with every default resolved. Only optional fields may be added."""

from datetime import timedelta
from enum import Enum
from typing import Annotated, Literal

from pydantic import Field

from fraisier.providers.duration import Duration
from fraisier.providers.models import Model

INTERVAL = timedelta(seconds=10)


class Aggregate(str, Enum):
    """How several numbers become one."""

    AVG = "avg"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    LAST = "last"

    def of(self, numbers: list[float]) -> float:
        """The one number; `numbers` is not empty, and the newest is last."""
        if self is Aggregate.LAST:
            return numbers[-1]
        if self is Aggregate.MIN:
            return min(numbers)
        if self is Aggregate.MAX:
            return max(numbers)
        return sum(numbers) / (len(numbers) if self is Aggregate.AVG else 1)


class HttpMeasure(Model):
    """A GET of a URL, as the worker sees it."""

    kind: Literal["http"] = "http"
    url: str


class PrometheusMeasure(Model):
    """An instant query.

    Attributes:
        server: the server's base URL.
        aggregate: how several series become one; without it there may be only one.
    """

    kind: Literal["prometheus"] = "prometheus"
    server: str
    query: str
    aggregate: Aggregate | None = None


class CommandMeasure(Model):
    """A command that the worker runs, as an argument list."""

    kind: Literal["command"] = "command"
    argv: tuple[str, ...]


class MetricMeasure(Model):
    """Metrics events of the service, whoever published them, in each region of the wave by itself.

    Attributes:
        event: their type, such as ``metrics.error_rate``.
        field: the key of their data that holds the number.
        over: how far back they count; never to before the wave.
    """

    kind: Literal["metric"] = "metric"
    event: str
    field: str = "value"
    aggregate: Aggregate = Aggregate.AVG
    over: Duration


Measure = Annotated[HttpMeasure | PrometheusMeasure | CommandMeasure | MetricMeasure, Field(discriminator="kind")]


class Approval(Model):
    """People who are asked.

    Attributes:
        approvers: whose votes count, each once.
        quorum: how many of them must approve. One who rejects fails the gate.
    """

    approvers: tuple[str, ...]
    quorum: int = 1


class GatePlan(Model):
    """A gate that is asked of each wave before the next one starts: by `event`, by `measure` or by `approval`.

    Attributes:
        event: the event type that targets must have stored.
        share: the percentage of a region's targets that must have it.
        count: a number of targets of the wave that must have it instead, whatever their region.
        none_of: event types of which a region may have no more than it tolerates failed targets.
        timeout: how long it waits before it is inconclusive.
        measure: what is measured instead.
        pass_if: the CEL condition under which a measurement passes.
        fail_if: the CEL condition under which it fails. Without one, whatever does not pass fails; with one, what is
            neither is measured again.
        interval: the wait between two measurements.
        approval: who is asked instead.
        dry_run: its verdict is shown and decides nothing.
    """

    name: str
    event: str = ""
    share: int = 100
    count: int | None = None
    none_of: tuple[str, ...] = ()
    timeout: Duration
    measure: Measure | None = None
    pass_if: str = ""
    fail_if: str = ""
    interval: Duration = INTERVAL
    approval: Approval | None = None
    dry_run: bool = False
