"""The waves of a manifest: a list of them, or one line from which they grow."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from fraisier.providers.duration import Duration
from fraisier.workflows.arithmetic import Count, resolve_parallel
from fraisier.workflows.manifest.parts import Part
from fraisier.workflows.plans import OnFailure


class BatchPart(Part):
    """How a region's targets are cut into batches.

    Attributes:
        canary: how many targets go first, alone.
        max_parallel: how many go together after them.
    """

    canary: Annotated[int, Field(ge=0)] = 0
    max_parallel: Count = 1


class WaveSettings(Part):
    """What holds for a wave; the last three for those of its regions that do not say it themselves.

    Attributes:
        max_parallel: how many of its regions at once; all by default.
        soak: how long to wait and watch after the wave; after the last one a rollback is one signal away.
        on_failure: what happens when one of its regions or a gate after it fails; by default what the manifest says.
        batch: how the regions' targets are cut into batches.
        failure_tolerance: how many targets of a region may fail.
    """

    max_parallel: Count = "100%"
    soak: Duration = timedelta(0)
    on_failure: OnFailure | None = None
    batch: BatchPart | None = None
    failure_tolerance: Count | None = None


class WavePart(WaveSettings):
    """Regions that go together.

    Attributes:
        regions: their names, in order.
    """

    regions: Annotated[tuple[str, ...], Field(min_length=1)]


class GrowingWavesPart(WaveSettings):
    """Waves that take the regions in the order in which they stand in the manifest; its settings hold for each.

    Attributes:
        progressive: the size of each wave; whatever is left goes on in the last size.
    """

    progressive: Annotated[tuple[Count, ...], Field(min_length=1)]

    def over(self, regions: Sequence[str]) -> tuple[WavePart, ...]:
        """The waves over these regions."""
        settings = {name: getattr(self, name) for name in WaveSettings.model_fields}
        sizes = [resolve_parallel(size, len(regions)) for size in self.progressive]
        waves: list[WavePart] = []
        rest = list(regions)
        while rest:
            size = sizes[min(len(waves), len(sizes) - 1)]
            waves.append(WavePart(regions=tuple(rest[:size]), **settings))
            rest = rest[size:]
        return tuple(waves)


def _kind(given: Any) -> str:
    return "[growing]" if isinstance(given, dict | GrowingWavesPart) else "[list]"


Waves = Annotated[
    Annotated[tuple[WavePart, ...], Field(min_length=1), Tag("[list]")] | Annotated[GrowingWavesPart, Tag("[growing]")],
    Discriminator(_kind),
]
"""A list of waves, or ``{progressive: [1, 2, 4]}``."""
