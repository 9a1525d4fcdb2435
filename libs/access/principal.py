"""Who is calling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from libs.access.levels import Level
from libs.contracts.directory import KeyKind


@dataclass(frozen=True, slots=True)
class Standing:
    """What a member's live roles are, and what they allow together."""

    role_ids: frozenset[UUID] = frozenset()
    levels: Mapping[str, Level] = field(default_factory=dict)

    def level(self, permission: str) -> Level:
        """Tell how far a permission goes."""
        return self.levels.get(permission, "none")


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller who was recognised: in which business, by which key, as which member, with which rights.

    `zone` is the business's (IANA name). `user_id` is the member a write is attributed to, if one is named; then
    `standing` bounds what the key's scopes open. Without a member the scopes alone decide.
    """

    business_id: UUID
    key_id: UUID
    kind: KeyKind
    user_id: UUID | None
    scopes: frozenset[str]
    zone: str
    standing: Standing | None = None
