"""Databases and their migrations."""

from typing import Annotated

from pydantic import Field

from fraisier.nats.catalogue.payloads import EventSpec, Outcome, Payload


class MigrationStarted(Payload):
    """A migration's beginning."""

    database: Annotated[str | None, Field(description="the database's name")] = None
    phase: Annotated[str | None, Field(description="`expand`, `contract` or `rollback`")] = None


class MigrationEnded(Outcome):
    """A migration's end."""

    database: Annotated[str | None, Field(description="the database's name")] = None
    phase: Annotated[str | None, Field(description="`expand`, `contract` or `rollback`")] = None
    changed: Annotated[bool | None, Field(description="false when it had run before, or had nothing to do")] = None


SPECS = (
    EventSpec("database.migration_started", "A migration has begun.", (MigrationStarted,)),
    EventSpec("database.migration_completed", "A migration succeeded.", (MigrationEnded,)),
    EventSpec("database.migration_failed", "A migration failed.", (MigrationEnded,)),
    EventSpec("database.migration_rolled_back", "A migration was taken back.", (MigrationEnded,)),
    EventSpec("database.schema_changed", "A database has another schema now.", (Payload,)),
    EventSpec("database.backup_started", "A backup has begun.", (Payload,)),
    EventSpec("database.backup_completed", "A backup was made.", (Outcome,)),
    EventSpec("database.backup_failed", "A backup could not be made.", (Outcome,)),
)
