"""Who is calling."""

from dataclasses import dataclass
from uuid import UUID

from libs.contracts.directory import KeyKind


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller who was recognised: in which business, by which key, as which member, with which rights.

    `zone` is the business's (IANA name). `user_id` is the member a write is attributed to, if one is named.
    """

    business_id: UUID
    key_id: UUID
    kind: KeyKind
    user_id: UUID | None
    scopes: frozenset[str]
    zone: str
