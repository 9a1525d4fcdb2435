"""Decisions: where we may send, who is told what, when it is tried again. No input or output, no clock."""
