"""All entities."""

from datagen.accounts import ACCOUNTS
from datagen.customers import CUSTOMERS
from datagen.loans import LOANS
from datagen.payments import PAYMENTS
from datagen.transactions import TRANSACTIONS

ENTITIES = (CUSTOMERS, ACCOUNTS, LOANS, PAYMENTS, TRANSACTIONS)
"""Parents before children."""
