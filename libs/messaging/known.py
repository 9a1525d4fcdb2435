"""What was handled here lately: what comes again by another topic is dropped by its header, whichever batch it is in.

A direct log is published on two topics, and half of its second records came in a batch after that of the first
[measured]. They changed nothing, but were read and looked up.
"""

from collections.abc import Mapping

KEYS_MAX = 16_000
"""So many keys at least are remembered, and up to twice as many: 6 MB. Behind by 100,000 reports, one of two topics is
ahead of the other by about so many."""

Key = bytes | None


class Known:
    """The versions of keys that this process has committed. Forgotten is what is longest ago."""

    def __init__(self) -> None:
        self._lately: dict[Key, int] = {}
        self._before: dict[Key, int] = {}

    def has(self, key: Key, version: int) -> bool:
        """Tell whether this version or a later one is committed, as far as is remembered."""
        return self._lately.get(key, -1) >= version or self._before.get(key, -1) >= version

    def note(self, versions: Mapping[Key, int]) -> None:
        """Note versions that were committed."""
        self._lately.update(versions)
        if len(self._lately) > KEYS_MAX:
            self._before, self._lately = self._lately, {}
