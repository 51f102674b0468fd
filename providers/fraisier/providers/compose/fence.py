"""Fencing of a project: the claims of `fraisier.providers.docker.claims`, and a gate for what the plugin does.

The plugin asks what there is and then acts, in a process of its own, for seconds or minutes. So that a ghost's cannot
start after its successor, the model that it is given wants a volume of the step's own, the *gate*, and every claim
removes the gates of all lower tokens. The gate is made before the claim, so a ghost either finds its gate gone, and the
plugin ends before it has touched a container, or it had passed the gate before its successor claimed. Then it acts on
containers that it knows by ID, and those are gone once the successor, which found the unfinished claim, has made every
container anew.

What is left are the milliseconds in which the plugin, past the gate, has not yet listed the containers.
"""

from dataclasses import dataclass

from fraisier.providers.compose.engine import ProjectEngine
from fraisier.providers.docker.claims import Claims, claim, conclude, highest, put_back
from fraisier.providers.errors import StaleToken
from fraisier.providers.models import Step, StepResult


@dataclass(frozen=True)
class Entry:
    """A step that may act.

    Attributes:
        claims: what it found when it claimed.
        gate: the gate's name; nothing where the step does not bring the project up.
    """

    claims: Claims
    gate: str = ""


async def enter(engine: ProjectEngine, step: Step, *, target: str, gated: bool = False) -> Entry:
    """Claim the target for a step, and shut out all that came before.

    Raises:
        StaleToken: a newer attempt has claimed it; nothing was changed.
    """
    token = step.token
    gate = f"{step.service}.gate.{token.generation}.{token.ordinal}.{token.attempt}" if gated else ""
    if gate:
        await engine.open_gate(gate, step.service, token)
    try:
        claims = await claim(engine, step, target=target)
    except StaleToken:
        if gate:
            await engine.close_gate(gate)
        raise
    for name, other in (await engine.gates(step.service)).items():
        if other.order < token.order:
            await engine.close_gate(name)
    return Entry(claims, gate)


async def leave(engine: ProjectEngine, step: Step, entry: Entry, result: StepResult) -> StepResult:
    """Mark the step as done."""
    done = await conclude(engine, step, entry.claims, result)
    if entry.gate:
        await engine.close_gate(entry.gate)
    return done


async def give_up(engine: ProjectEngine, entry: Entry) -> None:
    """Mark the step as failed, after everything was put back."""
    await put_back(engine, entry.claims)
    if entry.gate:
        await engine.close_gate(entry.gate)


async def refuse_overtaken(engine: ProjectEngine, step: Step, *, target: str) -> None:
    """Tell a step that failed whether that was since a newer one has begun.

    Raises:
        StaleToken: a newer attempt has claimed the target.
    """
    newest = await highest(engine, step.service)
    if newest is not None and newest.order > step.token.order:
        raise StaleToken(f"{target}: a newer attempt has begun meanwhile", target=target, step=step.name)
