"""The manifest's models. A region's provider options are checked by its provider, not here."""

from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fraisier.providers.duration import Duration
from fraisier.providers.hooks import Hooks
from fraisier.providers.migrations.models import Migration
from fraisier.providers.models import HealthCheck
from fraisier.providers.traffic.models import Traffic
from fraisier.workflows.arithmetic import Count
from fraisier.workflows.manifest.gate_parts import GatePart, PromotionPart
from fraisier.workflows.manifest.parts import Name, Part
from fraisier.workflows.manifest.wave_parts import BatchPart, GrowingWavesPart, WavePart, Waves
from fraisier.workflows.manifest.window_parts import WindowPart
from fraisier.workflows.plans import OnFailure, Placement, Preflight


class ReleasePart(Part):
    """What is shipped.

    Attributes:
        version: the version as people say it.
        artifact: a ``.tar.gz``, relative to the manifest; bare metal needs it.
        image: an image reference, best by digest; Docker needs it.
        image_archive: a ``docker save`` archive of `image`, relative to the manifest, for engines without a registry.
    """

    version: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    artifact: Path | None = None
    image: str | None = None
    image_archive: Path | None = None

    @model_validator(mode="after")
    def _something_to_ship(self) -> "ReleasePart":
        if self.artifact is None and self.image is None:
            raise ValueError("give an artifact (bare metal), an image (Docker) or both")
        if self.image_archive is not None and self.image is None:
            raise ValueError("image_archive needs image, the reference that it holds")
        return self


BLUE_GREEN = "blue_green"
"""A strategy that people ask for and that no provider can do: each has one place on a target."""


class Strategy(str, Enum):
    """How a region's targets follow each other."""

    ROLLING = "rolling"
    """Batch by batch."""
    CANARY = "canary"
    """A first few; the rest, batch by batch, when they are promoted."""
    ALL_AT_ONCE = "all_at_once"
    """All in one batch."""


class RegionPart(BaseModel):
    """A region: its targets, and how they are reached and judged.

    Any other key is an option of the provider; given here it holds for all targets, given at a target for that one.

    Attributes:
        provider: ``bare_metal``, ``docker`` or the name of a plug-in.
        targets: one mapping of provider options a target.
        batch: how they are cut into batches; by default as the wave says, else one after the other.
        failure_tolerance: how many targets may fail before the region fails; a percentage rounds down. By default as
            the wave says, else 0.
        strategy: how the targets follow each other.
        promotion: of a canary: what lets the rest follow it.
        spread: a key of every target, such as ``zone`` or ``rack``: batches take of all its values evenly.
        on_failure: what happens when the region fails; by default as the wave says, else as the manifest does.
        soak: how long to wait and watch after the region, before another one takes its place in the wave.
        health: how a target proves that it is healthy.
        time_zone: the IANA zone whose clocks `windows` and `freezes` follow.
        windows: when the region may start; at any time when there are none.
        freezes: when it may not, whatever the windows say.
        traffic: the proxies in front of the targets.
        hooks: commands of one's own around the region, its batches and its targets.
        placement: ``central``, or ``regional`` for workers of its own: ``fraisier worker --region NAME``.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    provider: str
    targets: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]
    batch: BatchPart | None = None
    failure_tolerance: Count | None = None
    strategy: Strategy = Strategy.ROLLING
    promotion: PromotionPart | None = None
    spread: Annotated[str, Field(min_length=1)] | None = None
    on_failure: OnFailure | None = None
    soak: Duration = timedelta(0)
    health: HealthCheck
    time_zone: str = "UTC"
    windows: tuple[WindowPart, ...] = ()
    freezes: tuple[WindowPart, ...] = ()
    traffic: Traffic | None = None
    hooks: Hooks | None = None
    placement: Placement = Placement.CENTRAL

    @field_validator("strategy", mode="before")
    @classmethod
    def _no_second_place(cls, strategy: Any) -> Any:
        if strategy == BLUE_GREEN:
            raise ValueError(
                "no provider can keep two releases of a service ready on a target, so there is no blue_green; "
                "all_at_once stages everywhere and then switches together, canary lets people see a few first"
            )
        return strategy

    @property
    def options(self) -> dict[str, Any]:
        """The provider options that hold for all targets."""
        return dict(self.model_extra or {})


class Manifest(Part):
    """One rollout of one release of one service, as its owner wants it.

    Attributes:
        service: the service's name; at most one rollout of it is open at a time.
        release: what is shipped.
        waves: the order of the regions.
        preflight: whether all regions are looked at before the first wave, or each wave's before it starts.
        requeue: whether what failed or was skipped on the way is tried once more at the end.
        gates: asked between one wave and the next; by default every target's ``health.check_passed``.
        on_failure: what happens when a region or a gate fails.
        decision_timeout: how long a failed rollout waits for retry, skip, rollback or cancel before it ends.
        migrations: what is done to databases before the first batch and after the last soak.
        regions: every region by name.
    """

    service: Name
    release: ReleasePart
    waves: Waves
    preflight: Preflight = Preflight.ALL
    requeue: bool = True
    gates: tuple[GatePart, ...] = ()
    on_failure: OnFailure = OnFailure.ROLLBACK_REGION
    decision_timeout: Duration = timedelta(minutes=10)
    migrations: tuple[Migration, ...] = ()
    regions: Annotated[dict[Name, RegionPart], Field(min_length=1)]

    @property
    def each_wave(self) -> tuple[WavePart, ...]:
        """The waves one by one, grown if they grow."""
        return self.waves.over(tuple(self.regions)) if isinstance(self.waves, GrowingWavesPart) else self.waves

    @field_validator("regions")
    @classmethod
    def _no_reserved_name(cls, regions: dict[str, RegionPart]) -> dict[str, RegionPart]:
        if "global" in regions:
            raise ValueError("global is reserved for the events of the whole rollout; call the region something else")
        return regions
