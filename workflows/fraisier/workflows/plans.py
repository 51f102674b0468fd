"""Rollouts as they will be done: the manifest with every default resolved. Only optional fields may be added."""

from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from fraisier.providers.duration import Duration
from fraisier.providers.hooks import Hooks
from fraisier.providers.migrations.models import Migration
from fraisier.providers.models import HealthCheck, Model, ReleaseRef
from fraisier.providers.traffic.models import Traffic
from fraisier.workflows.gate_plans import GatePlan


class OnFailure(str, Enum):
    """What a rollout does when a region or a gate fails."""

    ROLLBACK_REGION = "rollback_region"
    ROLLBACK_ALL = "rollback_all"
    PAUSE = "pause"
    CONTINUE = "continue"


class Preflight(str, Enum):
    """When targets are looked at: all of them before the first wave, or each wave's before it starts."""

    ALL = "all"
    WAVE = "wave"


class StoredArtifact(Model):
    """A file in the artifact store.

    Attributes:
        digest: ``sha256:<64 hex digits>``, also its name in the store.
        size: in bytes.
        name: the file name it was given by people.
        unpacked: what is in it, in bytes; 0 when that is not known.
    """

    digest: str
    size: int
    name: str
    unpacked: int = 0


class ReleasePlan(ReleaseRef):
    """What is shipped. `digest` names the artifact, or the image where there is no artifact."""

    service: str
    artifact: StoredArtifact | None = None
    image: str | None = None
    image_archive: StoredArtifact | None = None

    @property
    def ref(self) -> ReleaseRef:
        """The release by name alone."""
        return ReleaseRef(version=self.version, digest=self.digest)


class TargetPlan(Model):
    """One host or one engine, and the options its provider needs."""

    name: str
    provider: str
    options: dict[str, Any]


class Placement(str, Enum):
    """Which workers take a region's steps."""

    CENTRAL = "central"
    REGIONAL = "regional"


class WindowPlan(Model):
    """A stretch of time, once or again and again, by the clocks of its region.

    Attributes:
        rrule: an iCalendar recurrence rule; empty for once.
        start: its first beginning, or for a rule where its counting begins; without a zone.
        lasts: how long it is.
        why: what people call it.
    """

    rrule: str = ""
    start: datetime
    lasts: Duration
    why: str = ""


class PromotionPlan(Model):
    """How a canary is promoted.

    Attributes:
        gates: asked about the canary, one after the other; when all pass it is promoted.
        timeout: how long it waits for somebody to promote it; then it has failed. A pause stops this clock.
    """

    gates: tuple[GatePlan, ...] = ()
    timeout: Duration = timedelta(hours=1)


class RegionPlan(Model):
    """A region's part, with every count resolved.

    Attributes:
        canary: how many targets form the first batch, 0 for none.
        max_parallel: how many targets go together after it.
        tolerance: how many targets may fail before the region fails.
        promotion: how its canary is promoted; None for one that the rest follows at once.
        on_failure: what its failure does; None for what the wave says.
        soak: how long to wait after it before another region takes its place in the wave.
        time_zone: the IANA zone of its windows and freezes.
        windows: when it may start; at any time when there are none.
        freezes: when it may not start, whatever the windows say.
        traffic: the proxies that a target is taken out of before it changes, and put back into once it is healthy.
        hooks: the manifest's own commands around the region, its batches and its targets.
        placement: which workers take its steps.
    """

    name: str
    targets: tuple[TargetPlan, ...]
    canary: int = 0
    max_parallel: int = 1
    tolerance: int = 0
    promotion: PromotionPlan | None = None
    on_failure: OnFailure | None = None
    soak: Duration = timedelta(0)
    health: HealthCheck
    time_zone: str = "UTC"
    windows: tuple[WindowPlan, ...] = ()
    freezes: tuple[WindowPlan, ...] = ()
    traffic: Traffic | None = None
    hooks: Hooks | None = None
    placement: Placement = Placement.CENTRAL


class WavePlan(Model):
    """Regions that go together.

    Attributes:
        number: counts from 1.
        on_failure: what the failure of a region or of a gate after it does; None for what the plan says.
    """

    number: int
    regions: tuple[str, ...]
    max_parallel: int
    soak: Duration = timedelta(0)
    on_failure: OnFailure | None = None


class Plan(Model):
    """A rollout as it will be done: the manifest with every default and count resolved.

    Attributes:
        requeue: whether what failed or was skipped on the way is tried once more at the end.
        heeds_events: whether verbs to it may come as events.
        heeds_freeze: whether a freeze of all services keeps its regions from starting.
    """

    service: str
    release: ReleasePlan
    waves: tuple[WavePlan, ...]
    regions: dict[str, RegionPlan]
    gates: tuple[GatePlan, ...]
    on_failure: OnFailure = OnFailure.ROLLBACK_REGION
    decision_timeout: Duration = timedelta(minutes=10)
    migrations: tuple[Migration, ...] = ()
    preflight: Preflight = Preflight.ALL
    requeue: bool = False
    heeds_freeze: bool = False
    heeds_events: bool = False

    def wave(self, number: int) -> WavePlan:
        """A wave by its number."""
        return self.waves[number - 1]

    def is_last(self, wave: WavePlan) -> bool:
        """Whether no region comes after a wave."""
        return not any(later.regions for later in self.waves[wave.number :])

    def when_fails(self, wave: WavePlan, region: str | None = None) -> OnFailure:
        """What a failure does: of a region of a wave, or of the wave itself, such as a gate after it."""
        own = self.regions[region].on_failure if region is not None else None
        return own or wave.on_failure or self.on_failure
