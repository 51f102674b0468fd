"""Fencing on an engine, out of what an engine has: names that are unique, labels, and containers never started.

A step first *claims*: it creates a container that is never started, labelled with its token. Then it looks at all
claims of the service. If there is a higher one, it removes its own and is refused; otherwise it removes the lower
ones, and every release container of a lower generation that was never started. Only then it acts.

A zombie cannot act after its successor, in any interleaving:

- It claimed *after* the successor looked: then it looks after the successor claimed, sees it, and is refused.
- It claimed *before* the successor looked: then the container that it is about to start is removed by the successor,
  and its start, which goes by ID, fails. What it may still stop are containers of the past, also by ID; a successor
  that finds such an unfinished claim puts the release into a new container (`Claims.unsettled`), which the zombie
  does not know.

Within one generation a zombie and its successor want the same state and use the same container, so whatever
either of them does brings the other further.

When a step is done, its claim is renamed to say so: that is the marker which a repeated step finds. One that failed and
has put everything back is renamed too: it leaves no ghost, and is done anew when it is repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fraisier.providers.docker.containers import (
    ATTEMPT,
    CANDIDATE_KIND,
    CLAIM_KIND,
    DIGEST,
    GENERATION,
    KIND,
    ORDINAL,
    RELEASE_KIND,
    ROLLOUT,
    SERVICE,
    STEP,
    VERSION,
    Container,
)
from fraisier.providers.docker.engine import Engine
from fraisier.providers.errors import StaleToken
from fraisier.providers.models import FencingToken, ReleaseRef, Step, StepResult

NOTHING = "fraisier/nothing"
"""The image of the claims: it is empty, and made where it is missing."""

SWITCHES = ("activate", "rollback")
CHANGED, UNCHANGED, FAILED = ".changed", ".unchanged", ".failed"


@dataclass(frozen=True)
class Claims:
    """What a step found when it claimed.

    Attributes:
        own: the step's claim.
        recorded: what an earlier attempt at this step did, if one ended well.
        contested: whether an earlier attempt at a switch never ended, so that it may still be at it.
        unsettled: whether a switch of an older generation never ended, so that its ghost may still stop things.
    """

    own: Container
    recorded: StepResult | None
    contested: bool
    unsettled: bool


async def claim(engine: Engine, step: Step, *, target: str, release: ReleaseRef | None = None) -> Claims:
    """Claim the target for a step.

    Args:
        engine: the engine.
        step: the step under way.
        target: the target's name, for errors.
        release: what a switch is to put in place; None where it leaves nothing there.

    Raises:
        StaleToken: a newer attempt has claimed it; nothing was changed.
    """
    own = await _make(engine, step, release)
    claims = await engine.containers(step.service, CLAIM_KIND)
    newest = max(claims, key=lambda one: token_of(one).order)
    if token_of(newest).order > step.token.order:
        await engine.remove(own)
        raise StaleToken(
            f"{target}: a newer attempt was here: {_written(token_of(newest))}", target=target, step=step.name
        )
    lower = [one for one in claims if token_of(one).order < step.token.order]
    for one in await engine.containers(step.service, RELEASE_KIND):
        if one.status == "created" and one.generation < step.token.generation:
            await engine.remove(one.id)
    same_step = [one for one in claims if _step_of(one) == (step.token.generation, step.token.ordinal, step.name)]
    ended = [one for one in same_step if _ended(one)]
    unfinished = [one for one in lower if one.labels[STEP] in SWITCHES and not _ended(one)]
    last = _last_switch(claims)
    for one in lower:
        if one not in ended and one not in unfinished and one != last:
            await engine.remove(one.id)
    if unfinished:
        await _remove_candidates(engine, step)
    return Claims(
        own=next(one for one in claims if one.id == own),
        recorded=next((StepResult(changed=one.name.endswith(CHANGED)) for one in ended if _done(one)), None),
        contested=bool(unfinished),
        unsettled=any(token_of(one).generation < step.token.generation for one in unfinished),
    )


async def _remove_candidates(engine: Engine, step: Step) -> None:
    """Remove what older switches that never ended have left of their candidates."""
    for one in await engine.containers(step.service, CANDIDATE_KIND):
        if one.generation < step.token.generation:
            await engine.remove(one.id)


async def conclude(engine: Engine, step: Step, found: Claims, result: StepResult) -> StepResult:
    """Mark the step as done; a switch that ended settles all that was unfinished before it."""
    ending = CHANGED if result.changed else UNCHANGED
    if not _done(found.own):
        await engine.rename(found.own.id, found.own.name.removesuffix(FAILED) + ending)
    if step.name in SWITCHES:
        for one in await engine.containers(step.service, CLAIM_KIND):
            if token_of(one).order < step.token.order:
                await engine.remove(one.id)
    return result


async def put_back(engine: Engine, found: Claims) -> None:
    """Mark the step as failed, with everything as it was before: nothing of it is under way any more."""
    if not _ended(found.own):
        await engine.rename(found.own.id, found.own.name + FAILED)


async def highest(engine: Engine, service: str) -> FencingToken | None:
    """The highest token that the engine has seen for a service."""
    tokens = [token_of(one) for one in await engine.containers(service, CLAIM_KIND)]
    return max(tokens, key=lambda token: token.order, default=None)


def token_of(one: Container) -> FencingToken:
    """The token of a claim."""
    return FencingToken(
        generation=int(one.labels[GENERATION]), ordinal=int(one.labels[ORDINAL]), attempt=int(one.labels[ATTEMPT])
    )


async def _make(engine: Engine, step: Step, release: ReleaseRef | None) -> str:
    image = await engine.image_id(f"{NOTHING}:1")
    if image is None:
        await engine.import_empty(NOTHING)
    token = step.token
    labels = {
        SERVICE: step.service,
        KIND: CLAIM_KIND,
        ROLLOUT: step.rollout_id,
        STEP: step.name,
        GENERATION: str(token.generation),
        ORDINAL: str(token.ordinal),
        ATTEMPT: str(token.attempt),
    }
    if release is not None:
        labels |= {VERSION: release.version, DIGEST: release.digest}
    name = f"{step.service}.claim.{_written(token)}"
    for one in await engine.containers(step.service, CLAIM_KIND):
        if token_of(one) == token:
            return one.id
    return await engine.create(name, {"Image": f"{NOTHING}:1", "Cmd": ["-"], "Labels": labels})


def _step_of(one: Container) -> tuple[int, int, str]:
    token = token_of(one)
    return token.generation, token.ordinal, one.labels[STEP]


def _ended(one: Container) -> bool:
    return one.name.endswith((CHANGED, UNCHANGED, FAILED))


def _done(one: Container) -> bool:
    return one.name.endswith((CHANGED, UNCHANGED))


def _last_switch(claims: Sequence[Container]) -> Container | None:
    """The claim of the last switch that ended well: it tells what ought to be in place."""
    switches = [one for one in claims if one.labels[STEP] in SWITCHES and _done(one)]
    return max(switches, key=lambda one: token_of(one).order, default=None)


def _written(token: FencingToken) -> str:
    return f"{token.generation}.{token.ordinal}.{token.attempt}"


def drifted(started: Sequence[Container], claims: Sequence[Container]) -> tuple[str, ...]:
    """What is no longer as the last rollout left it, out of the service's containers and claims."""
    current = next((one for one in started if not one.had_its_turn), None)
    last = _last_switch(claims)
    found = []
    if current is None and last is not None and VERSION in last.labels:
        found.append("nothing is in place: its container was removed")
    if current is not None and current.status != "running":
        found.append(f"its container {current.name} is {current.status}")
    found += [
        f"the container {one.name}, which had its turn, runs too"
        for one in started
        if one.had_its_turn and one.status == "running"
    ]
    return tuple(found)
