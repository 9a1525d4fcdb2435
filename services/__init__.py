"""The services: each owns its tables, serves its routes, hears and emits events. None imports another."""

NAMES = ("directory", "ingest", "lifecycle", "timeline-projector", "reporting", "webhook-dispatcher")
"""In the order in which they start: directory first, the others copy its keys."""
