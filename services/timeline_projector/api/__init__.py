"""Routes of the timeline projector."""
