"""Failure arithmetic and counts: the rules that everything else calls. Pure, and under property tests."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, WithJsonSchema

T = TypeVar("T")

PERCENT = 100


def _check_count(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit() and int(value[:-1]) <= PERCENT:
        return value
    raise ValueError(f"{value!r} is neither a number of 0 or more nor a percentage such as 25%")


_COUNT_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^(100|[0-9]{1,2})%$"}]}

Count = Annotated[int | str, BeforeValidator(_check_count), WithJsonSchema(_COUNT_SCHEMA)]
"""A number, or a percentage up to ``100%``."""


def resolve(count: int | str, total: int) -> int:
    """Turn a count into a number of things out of `total`; a percentage rounds down.

    >>> resolve("25%", 10), resolve(3, 10)
    (2, 3)
    """
    return int(count[:-1]) * total // PERCENT if isinstance(count, str) else count


def resolve_parallel(count: int | str, total: int) -> int:
    """The same for how many may go together: never less than one and never more than there are.

    >>> resolve_parallel("25%", 3), resolve_parallel(8, 3)
    (1, 3)
    """
    return max(1, min(resolve(count, total), total))


def region_failed(failed: int, tolerance: int) -> bool:
    """The one rule: a region fails when its failed targets exceed what it tolerates."""
    return failed > tolerance


def batches(targets: Sequence[T], *, canary: int, max_parallel: int) -> list[Sequence[T]]:
    """Cut targets into batches: the canary first, then `max_parallel` at a time, in the given order.

    >>> batches("abcde", canary=1, max_parallel=2)
    ['a', 'bc', 'de']
    """
    first = [targets[:canary]] if canary and targets else []
    rest = targets[canary:]
    return first + [rest[at : at + max_parallel] for at in range(0, len(rest), max_parallel)]


def spread(things: Sequence[T], labels: Sequence[str]) -> list[T]:
    """Order things so that each stretch of them holds of every label about its share of the whole.

    >>> spread("abcdef", ["x", "x", "x", "x", "y", "y"])
    ['a', 'e', 'b', 'c', 'f', 'd']
    """
    total = Counter(labels)
    seen: Counter[str] = Counter()
    places = []
    for label in labels:
        places.append(Fraction(2 * seen[label] + 1, 2 * total[label]))
        seen[label] += 1
    return [things[at] for at in sorted(range(len(things)), key=lambda at: (places[at], at))]
