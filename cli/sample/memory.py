"""What was made for a seed, remembered beside the data: businesses with their keys, and what has no ref of its own."""

import json
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

from cli.place import read_json
from libs.embedded.processes import write_private


@dataclass
class Made:
    """A business of the sample. `activities` are those entered by hand: key to id."""

    id: str
    api_key: str
    user_id: str
    roles: dict[str, str] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    activities: dict[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that say who is calling: the first member, through the first key."""
        return {"x-api-key": self.api_key, "x-business-id": self.id, "x-user-id": self.user_id}


@dataclass
class Memory:
    """The part of `samples.json` about one seed; `base` is the day around which everything lies."""

    path: Path
    seed: int
    base: date
    businesses: dict[str, Made]

    @classmethod
    def read(cls, path: Path, seed: int, today: date) -> "Memory":
        """Read what is remembered; a new seed begins today."""
        kept = (read_json(path) or {}).get(str(seed), {})
        base = date.fromisoformat(kept["base"]) if kept else today
        return cls(path, seed, base, {key: Made(**made) for key, made in kept.get("businesses", {}).items()})

    def write(self) -> None:
        """Keep it, readable for the owner alone."""
        kept = read_json(self.path) or {}
        businesses = {key: asdict(made) for key, made in self.businesses.items()}
        kept[str(self.seed)] = {"base": self.base.isoformat(), "businesses": businesses}
        write_private(self.path, json.dumps(kept, indent=2, ensure_ascii=False) + "\n")
