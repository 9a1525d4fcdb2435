"""Decisions of directory: pure."""
