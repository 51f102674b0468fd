"""The counting rules, over all the inputs hypothesis can think of."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fraisier.workflows.arithmetic import Count, batches, region_failed, resolve, resolve_parallel, spread


@given(st.integers(0, 100), st.integers(0, 10_000))
def test_a_percentage_rounds_down_and_never_exceeds_its_share(percent: int, total: int) -> None:
    counted = resolve(f"{percent}%", total)
    assert counted * 100 <= percent * total < (counted + 1) * 100


@given(st.one_of(st.integers(0, 50), st.integers(0, 100).map(lambda n: f"{n}%")), st.integers(1, 1000))
def test_something_always_goes_and_never_more_than_there_is(count: int | str, total: int) -> None:
    assert 1 <= resolve_parallel(count, total) <= total


@given(st.lists(st.integers()), st.integers(0, 20), st.integers(1, 20))
def test_batches_keep_every_target_in_order_and_their_bounds(targets: list[int], canary: int, parallel: int) -> None:
    cut = batches(targets, canary=canary, max_parallel=parallel)
    assert [target for batch in cut for target in batch] == targets
    assert all(cut_batch for cut_batch in cut)
    sizes = [len(batch) for batch in cut]
    if canary and targets:
        assert sizes.pop(0) == min(canary, len(targets))
    assert all(size <= parallel for size in sizes)


@given(st.lists(st.sampled_from("xyz"), min_size=1, max_size=60), st.integers(1, 20))
def test_no_stretch_of_spread_targets_holds_more_of_a_zone_than_its_share(zones: list[str], length: int) -> None:
    order = spread(range(len(zones)), zones)
    assert sorted(order) == [*range(len(zones))]
    for at in range(len(order) - length + 1):
        stretch = Counter(zones[one] for one in order[at : at + length])
        share = {zone: length * count / len(zones) for zone, count in Counter(zones).items()}
        assert all(count < share[zone] + 2 for zone, count in stretch.items())


def test_a_region_fails_only_beyond_its_tolerance() -> None:
    assert [region_failed(failed, 1) for failed in range(4)] == [False, False, True, True]


@pytest.mark.parametrize("text", [-1, "101%", "x%", "5", True, None, 1.5])
def test_what_is_no_count_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="neither a number"):
        TypeAdapter(Count).validate_python(text)
