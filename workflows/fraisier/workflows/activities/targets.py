"""Activities over targets: one method a step, each fenced by the token that carries its own attempt."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio import activity

from fraisier.providers.base import Provider
from fraisier.providers.errors import CommandFailed, ProviderError
from fraisier.providers.local_command import Heard, run_here
from fraisier.providers.models import HealthResult, Release, Step, StepResult, TargetState
from fraisier.workflows.activities.heartbeat import SAID_SHOWN, heartbeating
from fraisier.workflows.activities.patience import patiently
from fraisier.workflows.activities.together import take_together
from fraisier.workflows.failures import mapped_failures
from fraisier.workflows.plans import RegionPlan, ReleasePlan, TargetPlan
from fraisier.workflows.policy import UNREACHABLE_AFTER_S
from fraisier.workflows.ports import ArtifactSource, TargetPool
from fraisier.workflows.steps import (
    HookInput,
    HookReport,
    LookInput,
    PreflightInput,
    PreflightReport,
    PruneInput,
    RegionLook,
    StepInput,
    StepsInput,
    StepsReport,
)

R = TypeVar("R")

PARALLEL_LOOKS = 32
"""How many targets of a region are looked at or pruned at once."""


class TargetActivities:
    """What the workflows do at targets.

    Args:
        pool: connected providers.
        artifacts: where releases come from.
    """

    def __init__(self, pool: TargetPool, artifacts: ArtifactSource) -> None:
        self._pool = pool
        self._artifacts = artifacts
        self._steps: dict[str, Callable[[StepInput], Awaitable[StepResult | HealthResult]]] = {
            "stage": self._stage,
            "activate": self._activate,
            "check_health": self._check_health,
            "drain": self._drain,
            "undrain": self._undrain,
            "rollback": self._rollback,
        }

    @activity.defn
    async def preflight(self, asked: PreflightInput) -> PreflightReport:
        """Look at every target of a region. Changes nothing, and a target that is unfit fails nobody else."""
        release = await self._release(asked.release, fetch=False)

        async def ask(provider: Provider) -> TargetState:
            return await provider.preflight(release) or await provider.inspect(release.service)

        states, unfit = await self._ask(asked.region, ask, patience=UNREACHABLE_AFTER_S)
        return PreflightReport(region=asked.region.name, states=states, unfit=unfit)

    @activity.defn
    async def look(self, asked: LookInput) -> RegionLook:
        """Ask every target of a region once what it runs: somebody is waiting for the answer."""
        states, silent = await self._ask(asked.region, lambda one: one.inspect(asked.service), patience=0)
        return RegionLook(region=asked.region.name, states=states, silent=silent)

    @activity.defn
    async def stage(self, asked: StepInput) -> StepResult:
        """Bring the release to the target; nothing that runs changes."""
        async with heartbeating():
            return await self._stage(asked)

    @activity.defn
    async def activate(self, asked: StepInput) -> StepResult:
        """Make the staged release the one that runs."""
        async with heartbeating():
            return await self._activate(asked)

    @activity.defn
    async def check_health(self, asked: StepInput) -> HealthResult:
        """Probe until the target is healthy or its deadline is over."""
        async with heartbeating():
            return await self._check_health(asked)

    @activity.defn
    async def drain(self, asked: StepInput) -> StepResult:
        """Take the target out of traffic."""
        async with heartbeating():
            return await self._drain(asked)

    @activity.defn
    async def undrain(self, asked: StepInput) -> StepResult:
        """Put the target back into traffic."""
        async with heartbeating():
            return await self._undrain(asked)

    @activity.defn
    async def run_hook(self, asked: HookInput) -> HookReport:
        """Run a hook; the end of its output is in every heartbeat, and in the result."""
        said = ""

        def heard(text: str) -> None:
            nonlocal said
            said = text[-SAID_SHOWN:]

        async with heartbeating(lambda: said):
            if asked.hook.on == "worker":
                return HookReport(output=await _run_here(asked, heard))
            return HookReport(
                output=await self._step(
                    asked,
                    lambda provider, step: provider.run_hook(
                        step, _argv(asked), timeout_s=asked.hook.timeout.total_seconds(), heard=heard
                    ),
                )
            )

    @activity.defn
    async def rollback(self, asked: StepInput) -> StepResult:
        """Return the target to what it ran before."""
        async with heartbeating():
            return await self._rollback(asked)

    @activity.defn
    async def together(self, asked: StepsInput) -> StepsReport:
        """Take the same step on several targets at once; one that fails fails no other."""
        step = self._steps[asked.kind]
        return StepsReport(outcomes=await take_together(step(one) for one in asked.steps))

    @activity.defn
    async def prune(self, asked: PruneInput) -> None:
        """Remove old releases. A target where that fails keeps them until the next rollout."""
        room = asyncio.Semaphore(PARALLEL_LOOKS)

        async def one(step: StepInput) -> None:
            try:
                async with room:
                    await self._step(step, lambda provider, fenced: provider.prune(fenced, step.step.service))
            except Exception as error:  # noqa: BLE001 (said in the log, and harmless: only disk space is at stake)
                activity.logger.warning("%s: old releases stay for now: %s", step.target.name, error)

        async with heartbeating():
            await asyncio.gather(*(one(step) for step in asked.steps))

    async def _stage(self, asked: StepInput) -> StepResult:
        release = await self._release(asked.release)
        return await self._step(asked, lambda provider, step: provider.stage(step, release))

    async def _activate(self, asked: StepInput) -> StepResult:
        release = await self._release(asked.release, fetch=False)
        return await self._step(asked, lambda provider, step: provider.activate(step, release))

    async def _check_health(self, asked: StepInput) -> HealthResult:
        check, ref = _given(asked.health), asked.to or asked.release.ref
        return await self._step(asked, lambda provider, step: provider.check_health(step, ref, check))

    async def _drain(self, asked: StepInput) -> StepResult:
        traffic = _given(asked.traffic)
        return await self._step(asked, lambda provider, step: provider.drain(step, traffic))

    async def _undrain(self, asked: StepInput) -> StepResult:
        traffic = _given(asked.traffic)
        return await self._step(asked, lambda provider, step: provider.undrain(step, traffic))

    async def _rollback(self, asked: StepInput) -> StepResult:
        return await self._step(asked, lambda provider, step: provider.rollback(step, asked.to))

    async def _ask(
        self, region: RegionPlan, question: Callable[[Provider], Awaitable[TargetState]], *, patience: float
    ) -> tuple[dict[str, TargetState], dict[str, str]]:
        """What every target answered, and why some did not."""
        states: dict[str, TargetState] = {}
        errors: dict[str, str] = {}
        room = asyncio.Semaphore(PARALLEL_LOOKS)

        async def ask(target: TargetPlan) -> None:
            try:
                async with room:
                    states[target.name] = await self._at(region.name, target, question, patience=patience)
            except ProviderError as error:
                errors[target.name] = str(error)

        async with heartbeating():
            await asyncio.gather(*(ask(target) for target in region.targets))
        return states, errors

    async def _step(self, asked: StepInput | HookInput, act: Callable[[Provider, Step], Awaitable[R]]) -> R:
        step = asked.attempted(activity.info().attempt)
        with mapped_failures():
            return await self._at(asked.step.region, asked.target, lambda provider: act(provider, step))

    async def _at(
        self,
        region: str,
        target: TargetPlan,
        act: Callable[[Provider], Awaitable[R]],
        *,
        patience: float = UNREACHABLE_AFTER_S,
    ) -> R:
        """Do it at the target, and again while the error may pass and `patience`, in seconds, is not over."""

        async def once() -> R:
            async with self._pool.use(region, target) as provider:
                return await act(provider)

        return await patiently(once, about=target.name, patience_s=patience)

    async def _release(self, plan: ReleasePlan, *, fetch: bool = True) -> Release:
        return Release(
            service=plan.service,
            version=plan.version,
            digest=plan.digest,
            artifact=await self._artifacts.fetch(plan.artifact) if fetch and plan.artifact else None,
            room=plan.artifact.size + plan.artifact.unpacked if plan.artifact else 0,
            image=plan.image,
            image_archive=await self._artifacts.fetch(plan.image_archive) if fetch and plan.image_archive else None,
        )


async def _run_here(asked: HookInput, heard: Heard) -> str:
    argv = _argv(asked)
    with mapped_failures():
        try:
            ended = await run_here(argv, timeout_s=asked.hook.timeout.total_seconds(), heard=heard)
            status, output = ended.status, ended.tail
        except (OSError, ValueError) as error:
            status, output = None, str(error)
        if status != 0:
            raise CommandFailed(
                f"{argv[0]} on the worker: {'' if status is None else f'ended with {status}: '}"
                f"{output or 'it said nothing'}",
                target=asked.target.name,
                step=asked.step.name,
                command=argv[0],
                exit_status=status,
                tail=output,
            )
        return output


def _argv(asked: HookInput) -> tuple[str, ...]:
    step = asked.step
    return asked.hook.argv(
        {
            "target": asked.target.name,
            "region": step.region,
            "service": step.service,
            "version": asked.version,
            "rollout": step.rollout_id,
        }
    )


def _given(part: R | None) -> R:
    if part is None:
        raise ValueError("the step lacks what it is about")
    return part
