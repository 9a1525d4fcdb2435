"""All SQL of ingest, by subject."""
