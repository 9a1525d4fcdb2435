"""Who is calling and what they may do: keys, principals, permissions, and each service's own copy of them."""

from libs.access.access import Access
from libs.access.permissions import may, operator_only, require
from libs.access.principal import Principal, Standing
from libs.access.scopes import DEFAULT_SCOPES, SCOPES

__all__ = ["DEFAULT_SCOPES", "SCOPES", "Access", "Principal", "Standing", "may", "operator_only", "require"]
