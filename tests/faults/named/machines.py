"""Machines that run out of disk or memory, or whose clock jumps."""
