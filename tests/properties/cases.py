"""Rollouts made up by chance: small, for what goes wrong with large ones goes wrong with small ones."""

from hypothesis import strategies as st

from fraisier.workflows.plans import OnFailure
from tests.properties.model import Case, RegionCase

IN_VAIN = ("skip", "retry", "resume", "promote", "approve", "override")
"""Verbs that make no sense at any step of a rollout of this kind."""

VERBS = ("", "", "rollback", "rollback", "cancel", "pause", *IN_VAIN)
STEPS = 30
"""Verbs and crashes fall on one of the first so many steps; a rollout of this kind has 15 to 60."""


@st.composite
def regions(draw: st.DrawFn, name: str) -> RegionCase:
    """A region of one to four targets, of which some fail: mostly none, so that many rollouts come far."""
    targets = draw(st.integers(1, 4))
    some = st.frozensets(st.integers(1, targets), max_size=2)
    unfit = draw(st.just(frozenset[int]()) | st.just(frozenset[int]()) | some)
    return RegionCase(
        name=name,
        targets=targets,
        canary=draw(st.integers(0, 1)),
        max_parallel=draw(st.integers(1, targets)),
        tolerance=draw(st.integers(0, 1)),
        ill=draw(st.just(frozenset[int]()) | some) - unfit,
        unfit=unfit,
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One to three waves of one or two regions."""
    sizes = draw(st.lists(st.integers(1, 2), min_size=1, max_size=3))
    names = iter("abcdef")
    on_failure = draw(st.sampled_from(OnFailure))
    waves = tuple(tuple(draw(regions(next(names))) for _ in range(size)) for size in sizes)
    if on_failure is OnFailure.CONTINUE:
        # A gate gets no event from an unfit target: it would be inconclusive, which waits for people and not on.
        waves = tuple(tuple(_fit(region) for region in wave) for wave in waves)
    return Case(
        waves=waves,
        wave_parallel=draw(st.integers(1, 2)),
        on_failure=on_failure,
        verb=draw(st.sampled_from(VERBS)),
        at=draw(st.integers(1, STEPS)),
        crash=draw(st.integers(0, STEPS)),
        crash_when=draw(st.sampled_from(("before", "after"))),
    )


def _fit(region: RegionCase) -> RegionCase:
    return RegionCase(**{**vars(region), "unfit": frozenset()})
