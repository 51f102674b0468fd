"""Databases and their migrations."""

from fraisier.nats.catalogue.payloads import EventSpec, Outcome, Payload

SPECS = (
    EventSpec("database.migration_started", "A migration has begun.", (Payload,)),
    EventSpec("database.migration_completed", "A migration succeeded.", (Outcome,)),
    EventSpec("database.migration_failed", "A migration failed.", (Outcome,)),
    EventSpec("database.migration_rolled_back", "A migration was taken back.", (Outcome,)),
    EventSpec("database.schema_changed", "A database has another schema now.", (Payload,)),
    EventSpec("database.backup_started", "A backup has begun.", (Payload,)),
    EventSpec("database.backup_completed", "A backup was made.", (Outcome,)),
    EventSpec("database.backup_failed", "A backup could not be made.", (Outcome,)),
)
