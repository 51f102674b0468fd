"""Activities over databases: look whether a migration could run, and run one of its commands."""

from collections.abc import Callable

from temporalio import activity

from fraisier.providers.errors import ProviderError, TargetBusy
from fraisier.providers.migrations.models import MigrationOrder, MigrationResult, order_of
from fraisier.workflows.activities.heartbeat import SAID_SHOWN, heartbeating
from fraisier.workflows.activities.patience import patiently
from fraisier.workflows.failures import mapped_failures
from fraisier.workflows.ports import Migrator, TargetPool
from fraisier.workflows.steps import MigrationInput, MigrationLook


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
                return tuple(
                    await patiently(lambda: self._migrator.problems(asked.migration), about=asked.migration.database)
                )
            except ProviderError as error:
                return (f"migrations of {asked.migration.database}: {error}",)

    @activity.defn
    async def migrate(self, asked: MigrationInput) -> MigrationResult:
        """Run a command once for its database and release; the end of its output is in every heartbeat."""
        step = asked.attempted(activity.info().attempt)
        order = order_of(asked.migration, asked.phase, step, asked.release)
        said = ""

        def heard(text: str) -> None:
            nonlocal said
            said = text[-SAID_SHOWN:]

        async with heartbeating(lambda: said):
            with mapped_failures():
                return await patiently(
                    lambda: self._run(asked, order, heard),
                    about=order.database,
                    from_the_first_error=True,  # a command may take long before it is lost
                    final=(TargetBusy,),  # who holds a lock was waited for long enough
                )

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
