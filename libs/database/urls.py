"""Where a service's database is and which login role does what in it.

Each service has three login roles besides the owner of its tables: `<service>_routes` is held by row-level security
to one business at a time, `<service>_worker` (consumers and loops) sees all of them, `<service>_keys` reads the keys
and nothing else. Their passwords follow from one secret, so that nothing has to be handed round.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

Role = Literal["routes", "worker", "keys"]
ROLES: tuple[Role, ...] = ("routes", "worker", "keys")


@dataclass(frozen=True, slots=True)
class Urls:
    """The address of a service's database. `owner` is used by `migrate` alone; user and password in it only there."""

    service: str
    owner: str
    roles_secret: str

    @classmethod
    def on_server(cls, service: str, server: str, roles_secret: str) -> "Urls":
        """Name the database `activities_<service>` on the server whose address is `server`."""
        parts = urlsplit(server)
        return cls(service, urlunsplit(parts._replace(path=f"/activities_{service}")), roles_secret)

    @property
    def database(self) -> str:
        """The database's name."""
        return urlsplit(self.owner).path.lstrip("/")

    def user_of(self, role: Role) -> str:
        """Name the login role."""
        return f"{self.service}_{role}"

    def password_of(self, role: Role) -> str:
        """Derive the login role's password from the secret (HMAC-SHA-256)."""
        return hmac.new(self.roles_secret.encode(), self.user_of(role).encode(), hashlib.sha256).hexdigest()

    def of(self, role: Role) -> str:
        """Make the address with which a login role connects."""
        parts = urlsplit(self.owner)
        _, _, address = parts.netloc.rpartition("@")
        login = f"{quote(self.user_of(role))}:{quote(self.password_of(role))}"
        return urlunsplit(parts._replace(netloc=f"{login}@{address}"))
