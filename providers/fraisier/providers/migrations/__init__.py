"""Migrations of databases: a command that runs once for a database and a release, under a lock, and leaves a record."""
