"""What a rollout leaves where it ends, and what it takes to take that back. Pure."""

from collections.abc import Mapping, Sequence, Sized

from fraisier.providers.models import ReleaseRef
from fraisier.workflows.contracts import Undo
from fraisier.workflows.plans import Plan
from fraisier.workflows.status import NAMED


def where(plan: Plan, done: Mapping[str, Sized], touched: Mapping[str, Sized]) -> str:
    """What runs where, for people.

    Args:
        plan: the rollout's.
        done: by region, the targets that run the release.
        touched: by region, the targets that are changed.
    """
    total = {name: len(region.targets) for name, region in plan.regions.items()}
    changed = [
        f"{name} {len(done.get(name, ()))} of {total[name]} targets"
        + (f", {len(targets)} touched" if len(targets) > len(done.get(name, ())) else "")
        for name, targets in touched.items()
        if targets
    ]
    more = f" and {len(changed) - NAMED} regions more" if len(changed) > NAMED else ""
    there = f"{plan.release.version} runs in {'; '.join(changed[:NAMED])}{more}" if changed else ""
    rest = len(total) - len(changed)
    return "; ".join(part for part in (there, f"{rest} of {len(total)} regions are as before") if part)


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
