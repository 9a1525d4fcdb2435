"""PostgreSQL: a service's pools, its transactions, its migrations, the two walls between businesses."""

from libs.database.pool import Database
from libs.database.transaction import Transaction
from libs.database.urls import Urls

__all__ = ["Database", "Transaction", "Urls"]
