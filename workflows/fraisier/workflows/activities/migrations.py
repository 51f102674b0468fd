"""Activities over databases: look whether a migration could run, and run one of its commands."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio import activity

from fraisier.providers.errors import ProviderError, TargetBusy
from fraisier.providers.migrations.models import MigrationOrder, MigrationResult, order_of
from fraisier.workflows.activities.heartbeat import heartbeating
from fraisier.workflows.failures import mapped_failures
from fraisier.workflows.policy import UNREACHABLE_AFTER_S
from fraisier.workflows.ports import Migrator, TargetPool
from fraisier.workflows.steps import MigrationInput, MigrationLook

R = TypeVar("R")

RETRY_EVERY_S = 2.0

HEARTBEAT_SHOWN = 1000
"""How much of a command's output a heartbeat shows, in characters: its end."""


class MigrationActivities:
    """What the workflows do with databases.

    Args:
        pool: connected hosts.
        migrator: runs commands under their database's lock.
    """

    def __init__(self, pool: TargetPool, migrator: Migrator) -> None:
        self._pool = pool
        self._migrator = migrator

    @activity.defn
    async def preflight_migration(self, asked: MigrationLook) -> tuple[str, ...]:
        """Why a migration could not run here, one sentence each. Changes nothing."""
        async with heartbeating():
            try:
                return tuple(await _patiently(lambda: self._migrator.problems(asked.migration)))
            except ProviderError as error:
                return (f"migrations of {asked.migration.database}: {error}",)

    @activity.defn
    async def migrate(self, asked: MigrationInput) -> MigrationResult:
        """Run a command once for its database and release; the end of its output is in every heartbeat."""
        token = asked.step.token.model_copy(update={"attempt": activity.info().attempt})
        step = asked.step.model_copy(update={"token": token})
        order = order_of(asked.migration, asked.phase, step, asked.release)
        said = ""

        def heard(text: str) -> None:
            nonlocal said
            said = text[-HEARTBEAT_SHOWN:]

        async with heartbeating(lambda: said):
            with mapped_failures():
                return await _patiently(lambda: self._run(asked, order, heard))

    async def _run(
        self, asked: MigrationInput, order: MigrationOrder, heard: Callable[[str], object]
    ) -> MigrationResult:
        if asked.target is None:
            return await self._migrator.run(order, asked.migration, host=None, heard=heard, leave=_left_to_itself)
        async with self._pool.use(asked.step.region, asked.target) as host:
            return await self._migrator.run(order, asked.migration, host=host, heard=heard, leave=_left_to_itself)


def _left_to_itself() -> bool:
    """Whether a command goes on when its activity was cancelled: unless people asked for it, the next attempt waits."""
    details = activity.cancellation_details()
    return details is None or not details.cancel_requested


async def _patiently(act: Callable[[], Awaitable[R]]) -> R:
    """Do it, and again while the error may pass and half a minute since the first one is not over.

    Who holds a lock was waited for long enough.
    """
    loop = asyncio.get_running_loop()
    deadline: float | None = None
    while True:
        try:
            return await act()
        except ProviderError as error:
            deadline = deadline or loop.time() + UNREACHABLE_AFTER_S
            if not error.retryable or isinstance(error, TargetBusy) or loop.time() + RETRY_EVERY_S > deadline:
                raise
            activity.logger.warning("trying again: %s", error)
        await asyncio.sleep(RETRY_EVERY_S)
