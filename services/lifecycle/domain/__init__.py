"""Decisions about activities: pure, without input, output or a clock."""
