"""What a rollout must come to, told from its plan and from which targets will fail, with no word of how it is done."""

from dataclasses import dataclass, field

from fraisier.workflows.arithmetic import batches
from fraisier.workflows.contracts import RolloutPhase
from fraisier.workflows.plans import OnFailure

OLD, NEW = "1.0.0", "2.0.0"


@dataclass(frozen=True)
class RegionCase:
    """A region: its targets by number, and what will go wrong there.

    Attributes:
        ill: targets that are not healthy on the new release.
        unfit: targets that preflight refuses.
    """

    name: str
    targets: int
    canary: int
    max_parallel: int
    tolerance: int
    ill: frozenset[int] = frozenset()
    unfit: frozenset[int] = frozenset()

    def target(self, number: int) -> str:
        return f"{self.name}{number}"

    @property
    def numbers(self) -> range:
        return range(1, self.targets + 1)

    @property
    def refused(self) -> bool:
        """Whether preflight ends the rollout."""
        return len(self.unfit) > self.tolerance

    def forward(self) -> tuple[bool, set[int]]:
        """Whether the region succeeds, and the targets that it touches."""
        fit = [number for number in self.numbers if number not in self.unfit]
        failed, touched = len(self.unfit), set[int]()
        for batch in batches(fit, canary=self.canary, max_parallel=self.max_parallel):
            if failed > self.tolerance:
                break
            touched |= set(batch)
            failed += len(self.ill & set(batch))
        return failed <= self.tolerance, touched


@dataclass(frozen=True)
class Case:
    """A rollout of such regions.

    Attributes:
        verb: what somebody asks, if anything, at the `at`-th step.
        crash: the step whose worker is lost: it runs again.
    """

    waves: tuple[tuple[RegionCase, ...], ...]
    wave_parallel: int
    on_failure: OnFailure
    verb: str = ""
    at: int = 0
    crash: int = 0
    crash_when: str = "before"

    @property
    def regions(self) -> list[RegionCase]:
        return [region for wave in self.waves for region in wave]


@dataclass
class Expectation:
    """How the rollout must end when nobody asks anything; a region with several ways may take any.

    Attributes:
        versions: by target, the versions that it may run.
    """

    phase: RolloutPhase
    versions: dict[str, set[str]] = field(default_factory=dict)


def expected(case: Case) -> Expectation:
    """The end of a rollout that nobody disturbs."""
    end = Expectation(RolloutPhase.SUCCEEDED)
    for region in case.regions:
        end.versions |= {region.target(number): {OLD} for number in region.numbers}
    if any(region.refused for region in case.regions):
        end.phase = RolloutPhase.FAILED
        return end
    for wave in case.waves:
        _forward(end, case, wave)
        if end.phase is RolloutPhase.FAILED:
            break
    return end


def _forward(end: Expectation, case: Case, wave: tuple[RegionCase, ...]) -> None:
    failing = [region for region in wave if not region.forward()[0]]
    going_on = case.on_failure is OnFailure.CONTINUE
    for place, region in enumerate(wave):
        succeeds, touched = region.forward()
        # A region that failed keeps those from starting that had to wait for room.
        certain = place < case.wave_parallel or not [one for one in failing if one is not region] or going_on
        back = not succeeds and case.on_failure is OnFailure.ROLLBACK_REGION
        for number in touched:
            runs = {OLD} if back else {NEW}
            end.versions[region.target(number)] = runs if certain else runs | {OLD}
    if not failing or going_on:
        return
    end.phase = RolloutPhase.FAILED
    if case.on_failure is OnFailure.ROLLBACK_ALL:
        end.versions = {target: {OLD} for target in end.versions}
