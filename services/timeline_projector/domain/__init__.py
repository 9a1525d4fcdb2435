"""Decisions of the timeline projector: what stands on whose timeline, and how it is written. Pure."""
