"""What comes from outside, made up by chance: near what is right, where mistakes live."""

import os
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FRAISIER_EXAMPLES", "1"))
"""Every fuzz test tries so many times its usual number of examples."""


def tries(usual: int) -> settings:
    """Settings of a fuzz test: the same examples in every run, unless more are asked for."""
    return settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        max_examples=usual * EXAMPLES,
        deadline=None,
        derandomize="FRAISIER_EXAMPLES" not in os.environ,
        database=None,
        report_multiple_bugs=False,
    )


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(("", "0", "-1", "25%", "999999999%", "10m", "99999999999d", "1e999", "~", "null", "../..", "\0"))
)

values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def changed(draw: st.DrawFn, good: Any) -> Any:
    """Something good with one to three of its parts replaced, removed, doubled or renamed."""
    tree = deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        place, key = _draw_place(draw, tree)
        if place is not None:
            _change(draw, place, key)
    return tree


def _draw_place(draw: st.DrawFn, tree: Any) -> tuple[Any, Any]:
    places = [(node, key) for node in _nodes(tree) for key in (node if isinstance(node, dict) else range(len(node)))]
    return draw(st.sampled_from(places)) if places else (None, None)


def _nodes(tree: Any) -> list[Any]:
    if not isinstance(tree, (dict, list)):
        return []
    below = tree.values() if isinstance(tree, dict) else tree
    return [tree, *(node for one in below for node in _nodes(one))]


def _change(draw: st.DrawFn, place: Any, key: Any) -> None:
    what = draw(st.sampled_from(("replace", "replace", "remove", "rename", "wrap")))
    if what == "replace":
        place[key] = draw(values)
    elif what == "wrap":
        place[key] = [place[key]]
    elif what == "remove" or isinstance(place, list):
        del place[key]
    else:
        place[draw(st.text(max_size=12))] = place.pop(key)
