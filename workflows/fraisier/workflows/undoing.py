"""What it takes to take an ended rollout back. Pure."""

from collections.abc import Mapping, Sequence

from fraisier.providers.models import ReleaseRef
from fraisier.workflows.contracts import Undo


def undo_of(
    touched: Mapping[str, Sequence[str]], previous: Mapping[str, Mapping[str, ReleaseRef]], expanded: Sequence[str]
) -> Undo | None:
    """What it takes to take back what is still changed; None when nothing is.

    Args:
        touched: by region, the targets that are changed.
        previous: by region and target, what ran there before.
        expanded: the databases whose expand can be taken back.
    """
    if not any(touched.values()) and not expanded:
        return None
    before = {name: [previous.get(name, {}).get(one) for one in targets] for name, targets in touched.items()}
    releases = tuple(dict.fromkeys(ref for refs in before.values() for ref in refs if ref is not None))
    index = {None: None} | {ref: number for number, ref in enumerate(releases)}
    regions = {
        name: dict(zip(targets, (index[ref] for ref in before[name]), strict=True))
        for name, targets in touched.items()
        if targets
    }
    return Undo(releases=releases, regions=regions, expanded=tuple(expanded))
