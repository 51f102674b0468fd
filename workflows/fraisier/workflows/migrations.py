"""The migrations of a rollout's databases: expand before its first batch, contract after its last soak."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

from fraisier.providers.migrations.models import Migration, MigrationResult, Phase
from fraisier.providers.models import FencingToken, Step
from fraisier.workflows.activities.events import EventActivities
from fraisier.workflows.activities.migrations import MigrationActivities
from fraisier.workflows.activities.targets import TargetActivities
from fraisier.workflows.contracts import RolloutInput
from fraisier.workflows.controls import Controls, Interrupted
from fraisier.workflows.evidence import GLOBAL, Evidence
from fraisier.workflows.failures import describe, was_cancelled, was_refused
from fraisier.workflows.placement import run_placed
from fraisier.workflows.plans import RegionPlan, TargetPlan
from fraisier.workflows.policy import EVENT, STEP, Options, migrating
from fraisier.workflows.rollout_state import RolloutState
from fraisier.workflows.steps import EventInput, MigrationInput, MigrationLook, StepInput

R = TypeVar("R")


class MigrationFailed(Exception):
    """A migration's command failed; the message says which one, and its last words."""


class Migrations:
    """Runs what the plan says of databases. Lives in the rollout workflow.

    Args:
        order: the rollout's input.
        state: where results are remembered.
        controls: whose interruptions are heeded, and who is told that there is no way back any more.
        evidence: what ties the rollout to the streams.
        on_change: called after the state changed, to show it.
    """

    def __init__(
        self,
        order: RolloutInput,
        state: RolloutState,
        controls: Controls,
        evidence: Evidence,
        *,
        on_change: Callable[[], None],
    ) -> None:
        self._order = order
        self._plan = order.plan
        self._state = state
        self._controls = controls
        self._evidence = evidence
        self._show = on_change

    async def preflight(self) -> list[str]:
        """Why some of them could not run, one sentence each. Changes nothing."""
        asked = [asyncio.create_task(self._problems(one)) for one in self._plan.migrations]
        found: list[tuple[str, ...]] = await self._controls.through(*asked) if asked else []
        return [why for reasons in found for why in reasons]

    async def run(self, phase: Phase) -> None:
        """Run every database's command of a phase, one after the other.

        Raises:
            Interrupted: the rollout was asked to end.
            MigrationFailed: one failed; the later ones were not begun.
        """
        due = [one for one in self._plan.migrations if one.command(phase)]
        generation = await self._evidence.mint(phase) if due else 0
        for number, migration in enumerate(due):
            await self._controls.hold()
            self._begin(migration, phase)
            result = await self._one(migration, phase, generation, number)
            if phase == "expand" and migration.rollback is not None and result.changed:
                self._state.expanded.append(migration.database)
            # It ran to its end although the rollout was asked to end meanwhile.
            await self._controls.until(lambda: True)

    def why_not_contract(self) -> str:
        """Why databases should not be contracted now: the release before may still run somewhere."""
        behind = self._state.behind()
        if not behind or not any(one.contract for one in self._plan.migrations):
            return ""
        return f"the release before may still run in {', '.join(behind)}, and would lose what contract takes away"

    async def take_back(self) -> list[str]:
        """Take back what was expanded and can go back, the last one first; returns what is left."""
        due = [one for one in reversed(self._plan.migrations) if one.database in self._state.expanded]
        generation = await self._evidence.mint("rollback of migrations") if due else 0
        left = []
        for number, migration in enumerate(due):
            try:
                await self._one(migration, "rollback", generation, number)
                self._state.expanded.remove(migration.database)
            except MigrationFailed as error:
                left.append(str(error))
        return left

    def _begin(self, migration: Migration, phase: Phase) -> None:
        """Note that there is no clean way back from now on, where that is so."""
        if phase == "contract" or migration.irreversible:
            self._controls.one_way = f"the {phase} of {migration.database} cannot be taken back"
        if phase == "contract" and migration.database in self._state.expanded:
            self._state.expanded.remove(migration.database)

    async def _one(self, migration: Migration, phase: Phase, generation: int, number: int) -> MigrationResult:
        self._note(migration, phase, "running")
        await self._announce("database.migration_started", migration, phase, generation)
        try:
            result = await self._carried_out(migration, phase, generation, number)
        except Interrupted:
            self._note(migration, phase, "stopped")
            await self._announce("database.migration_failed", migration, phase, generation, error="it was asked to end")
            raise
        except ActivityError as error:
            why = describe(error)
            self._note(migration, phase, "failed", why)
            await self._announce("database.migration_failed", migration, phase, generation, error=why)
            raise MigrationFailed(f"the {phase} of {migration.database} failed: {why}") from error
        self._note(migration, phase, "done", "" if result.changed else "it had run before")
        ended = "rolled_back" if phase == "rollback" else "completed"
        await self._announce(
            f"database.migration_{ended}", migration, phase, generation, detail=result.output, changed=result.changed
        )
        return result

    async def _carried_out(self, migration: Migration, phase: Phase, generation: int, number: int) -> MigrationResult:
        host = self._host(migration)
        step = self._step(
            phase, migration, host, FencingToken(generation=generation, ordinal=2 * number + 2, attempt=0)
        )
        order = MigrationInput(step=step, migration=migration, phase=phase, release=self._plan.release.ref, target=host)
        if phase == "rollback":
            return await self._migrate(order, migration, phase)
        if host is not None and phase == "expand":
            await self._unless_asked_to_end(self._stage(migration, host, generation, number))
        return await self._unless_asked_to_end(self._migrate(order, migration, phase))

    async def _unless_asked_to_end(self, work: Coroutine[Any, Any, R]) -> R:
        """Wait for a step; when the rollout is asked to end meanwhile, end the step too and wait for that."""
        task = asyncio.create_task(work)
        try:
            await self._controls.until(task.done)
        except Interrupted:
            task.cancel()
        try:
            return await task
        except ActivityError as error:
            if was_cancelled(error):
                raise Interrupted from error
            raise

    async def _migrate(self, order: MigrationInput, migration: Migration, phase: Phase) -> MigrationResult:
        async def once(options: Options, offers: int) -> MigrationResult:
            return await workflow.execute_activity_method(
                MigrationActivities.migrate,
                order.offered(offers),
                summary=f"{phase} {migration.database}",
                **migrating(options, migration.timeout),
            )

        return await self._placed(migration, once)

    async def _stage(self, migration: Migration, host: TargetPlan, generation: int, number: int) -> None:
        """Bring the release to the host: its migrations come with it."""
        token = FencingToken(generation=generation, ordinal=2 * number + 1, attempt=0)
        step = self._step("stage", migration, host, token)
        order = StepInput(step=step, target=host, release=self._plan.release)

        async def once(options: Options, offers: int) -> None:
            asked = order.offered(offers)
            await workflow.execute_activity_method(
                TargetActivities.stage, asked, summary=f"stage {host.name} for {migration.database}", **options
            )

        await self._placed(migration, once)

    async def _problems(self, migration: Migration) -> tuple[str, ...]:
        asked = MigrationLook(migration=migration)

        async def once(options: Options, _offers: int) -> tuple[str, ...]:
            return await workflow.execute_activity_method(
                MigrationActivities.preflight_migration, asked, summary=f"preflight {migration.database}", **options
            )

        try:
            return await self._placed(migration, once)
        except ActivityError as error:
            if not was_refused(error):
                raise
            return (f"migrations of {migration.database}: {describe(error)}",)

    async def _placed(self, migration: Migration, run: Callable[[Options, int], Awaitable[R]]) -> R:
        region = self._region(migration)
        if region is None:
            return await run(STEP, 0)
        return await run_placed(region, run, given_up=lambda: self._controls.ending is not None)

    def _region(self, migration: Migration) -> RegionPlan | None:
        return self._plan.regions[migration.region] if migration.region is not None else None

    def _host(self, migration: Migration) -> TargetPlan | None:
        region = self._region(migration)
        return region.targets[0] if region is not None and migration.on == "host" else None

    def _step(self, name: str, migration: Migration, host: TargetPlan | None, token: FencingToken) -> Step:
        return Step(
            rollout_id=self._order.rollout_id,
            service=self._plan.service,
            region=migration.region or GLOBAL,
            target=host.name if host is not None else migration.database,
            name=name if name == "stage" else f"{name}-{migration.database}",
            token=token,
        )

    def _note(self, migration: Migration, phase: Phase, state: str, detail: str = "") -> None:
        self._state.migration(migration.database, phase, state, detail)
        self._show()

    async def _announce(
        self, event_type: str, migration: Migration, phase: Phase, generation: int, **data: Any
    ) -> None:
        release = self._plan.release
        event = EventInput(
            event_type=event_type,
            rollout_id=self._order.rollout_id,
            service=self._plan.service,
            region=migration.region or GLOBAL,
            step=f"{generation}.{phase}.{migration.database}",
            data={
                "version": release.version,
                "release_digest": release.digest,
                "generation": generation,
                "scope": "region" if migration.region else "rollout",
                "database": migration.database,
                "phase": phase,
                **data,
            },
        )
        await workflow.execute_activity_method(
            EventActivities.publish, event, summary=f"{event_type} {migration.database}", **EVENT
        )
