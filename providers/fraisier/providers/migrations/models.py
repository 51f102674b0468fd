"""What a manifest may say about a database's migrations, and what a migration is told and tells."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fraisier.providers.duration import Duration
from fraisier.providers.errors import CommandFailed
from fraisier.providers.hooks import filled
from fraisier.providers.models import Model, ReleaseRef, Step
from fraisier.providers.secrets import Environment, SecretRef

Phase = Literal["expand", "contract", "rollback"]

Command = Annotated[tuple[str, ...], Field(min_length=1)]


def _by_reference(value: Any) -> Any:
    # Whatever stands here may be the secret itself, so no error may repeat it.
    if isinstance(value, SecretRef) or (isinstance(value, dict) and [*value] == ["secret"]):
        return value
    raise ValueError(
        'give the DSN by reference, {secret: "env:NAME"} or {secret: "file:/path"}: its password must not stand here'
    )


class Migration(Model):
    """The migrations of one database.

    Attributes:
        database: what people call it: letters, digits, ``_`` and ``-``.
        expand: makes the schema fit the new release as well as the old one; runs before the first batch.
        contract: takes away what only the old release needed; runs after the last soak.
        rollback: takes the expand back, once no target runs the new release any more.
        postgres: where the DSN of the PostgreSQL database is. The lock and the record are in the database then, else
            on the host.
        on: ``worker``, or ``host``: the first one of the region, in the release's folder there.
        region: whose events they are and whose host runs them; the whole rollout's unless given.
        env: environment variables of a command on the worker: values, and secrets by reference.
        timeout: how long a command may take, and how long it may wait for another migration of the database.
        irreversible: once a command of it has begun, the release before does not fit the database any more, so
            that a rollback is refused.
    """

    database: Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    expand: Command | None = None
    contract: Command | None = None
    rollback: Command | None = None
    postgres: Annotated[SecretRef, BeforeValidator(_by_reference)] | None = None
    on: Literal["worker", "host"] = "worker"
    region: str | None = None
    env: Environment = Field(default_factory=dict)
    timeout: Duration = timedelta(minutes=30)
    irreversible: bool = False

    @model_validator(mode="after")
    def _makes_sense(self) -> "Migration":
        if self.expand is None and self.contract is None:
            raise ValueError("give expand, contract or both: commands as lists")
        if self.rollback is not None and self.expand is None:
            raise ValueError("rollback takes back what expand did, and there is no expand")
        if self.rollback is not None and self.irreversible:
            raise ValueError("give either rollback or irreversible: true, not both")
        if self.on == "host" and self.region is None:
            raise ValueError("on: host needs region: which region's first host runs it")
        if self.on == "host" and self.env:
            raise ValueError("env is for commands on the worker; on a host they read what the host keeps for them")
        if self.on == "worker" and self.postgres is None:
            raise ValueError(
                "on the worker it needs postgres, which holds its lock and its record; for other databases let a host "
                "run it: give on: host and region"
            )
        return self

    def command(self, phase: Phase) -> tuple[str, ...] | None:
        """The argument list of a phase, if it has one."""
        found: tuple[str, ...] | None = getattr(self, phase)
        return found


class MigrationOrder(Model):
    """One command of a migration, ready to run.

    Attributes:
        step: the step, with its attempt in the token.
        database: the database's name.
        release: what it is a migration of; a database has each phase of it once.
        argv: the argument list, names filled in.
        timeout_s: how long it may take, and how long it may wait for the lock, in seconds.
        hidden: secrets that it may write and nobody may see; never stored.
        tied: the sender holds its lock, so on a host it ends with the sender.
    """

    step: Step
    database: str
    release: ReleaseRef
    phase: Phase
    argv: tuple[str, ...]
    timeout_s: float
    hidden: tuple[str, ...] = Field(default=(), repr=False, exclude=True)
    tied: bool = False


class MigrationResult(Model):
    """What a command of a migration did.

    Attributes:
        changed: False when another rollout of this release had done it before, or there was nothing to take back.
        output: the end of what it wrote, at most 4 KB.
    """

    changed: bool
    output: str = ""


def order_of(migration: Migration, phase: Phase, step: Step, release: ReleaseRef) -> MigrationOrder:
    """A phase of a migration as an order; `step` names the service, the rollout and the region.

    Raises:
        LookupError: the migration has no such phase.
    """
    argv = migration.command(phase)
    if argv is None:
        raise LookupError(f"{migration.database} has no {phase}")
    names = {
        "database": migration.database,
        "region": step.region,
        "service": step.service,
        "version": release.version,
        "digest": release.digest,
        "rollout": step.rollout_id,
    }
    return MigrationOrder(
        step=step,
        database=migration.database,
        release=release,
        phase=phase,
        argv=filled(argv, names),
        timeout_s=migration.timeout.total_seconds(),
    )


def failed(order: MigrationOrder, exit_status: int | None, output: str) -> CommandFailed:
    """The error of a command that failed, with its last words."""
    ended = "" if exit_status is None else f" ended with {exit_status}"
    return CommandFailed(
        f"{order.database}: {order.phase}: {order.argv[0]}{ended}: {output or 'it said nothing'}",
        target=order.step.target,
        step=order.step.name,
        command=order.argv[0],
        exit_status=exit_status,
        tail=output,
    )
