"""The manifest: what a user writes, read into models with errors that name file, line and key."""
