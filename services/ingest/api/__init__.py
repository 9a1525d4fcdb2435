"""Routes of ingest, by subject."""
