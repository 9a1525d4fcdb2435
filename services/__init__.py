"""The services: each owns its tables, serves its routes, hears and emits events. None imports another."""
