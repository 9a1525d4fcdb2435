"""Decisions: where we may send, who is told what, when it is tried again. No input or output, no clock."""

import sys
from types import ModuleType

# The package `cel` brings a command line, and that a toolkit for terminals: a tenth of the time that a start takes.
sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))
