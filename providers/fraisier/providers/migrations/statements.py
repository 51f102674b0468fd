"""What a ledger says to PostgreSQL."""

TABLE = """
CREATE TABLE IF NOT EXISTS fraisier_migrations (
    service text NOT NULL,
    database text NOT NULL,
    digest text NOT NULL,
    phase text NOT NULL,
    version text NOT NULL,
    state text NOT NULL,
    rollout_id text NOT NULL,
    generation bigint NOT NULL,
    ordinal bigint NOT NULL,
    attempt bigint NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    output text NOT NULL DEFAULT '',
    PRIMARY KEY (service, database, digest, phase)
)
"""

SETTINGS = """
SELECT set_config(wanted.name, wanted.value, false)
FROM (VALUES ('synchronous_commit', 'on'), ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '5'),
             ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '15000')) AS wanted (name, value)
JOIN pg_settings ON pg_settings.name = wanted.name
"""
"""A record is on disk before it counts, and a holder of the lock whose machine has died is noticed."""

BACKEND = "SELECT pg_backend_pid() AS pid"

HOLDER = """
SELECT pid, application_name, backend_start FROM pg_stat_activity JOIN pg_locks USING (pid)
WHERE datname = current_database() AND locktype = 'advisory' AND classid = %s AND objid = %s AND granted
"""

HELD = """
SELECT 1 FROM pg_locks
WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND granted AND pid = pg_backend_pid()
"""

CLAIM = """
INSERT INTO fraisier_migrations
    (service, database, digest, phase, version, state, rollout_id, generation, ordinal, attempt)
VALUES (%s, %s, %s, %s, %s, 'running', %s, %s, %s, %s)
ON CONFLICT (service, database, digest, phase) DO UPDATE SET
    version = EXCLUDED.version, state = 'running', rollout_id = EXCLUDED.rollout_id,
    generation = EXCLUDED.generation, ordinal = EXCLUDED.ordinal, attempt = EXCLUDED.attempt,
    began_at = now(), ended_at = NULL, output = ''
"""

FITNESS = """
SELECT pg_is_in_recovery() AS standby,
       record IS NULL AS missing,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
       has_table_privilege(record, 'SELECT') AND has_table_privilege(record, 'INSERT')
           AND has_table_privilege(record, 'UPDATE') AS may_write,
       current_user AS login
FROM to_regclass('fraisier_migrations') AS record
"""
