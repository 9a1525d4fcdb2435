"""Decisions of reporting: what is counted, and in which days."""
