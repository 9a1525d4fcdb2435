"""Routes of S1: activity objects, scheduled activities, logged activities."""
