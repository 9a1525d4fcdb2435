"""A service's frame: settings, HTTP conventions, background work, health, metrics, logs."""

from libs.service.service import Service

__all__ = ["Service"]
