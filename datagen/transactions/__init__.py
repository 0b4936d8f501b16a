"""Transactions: money that moves on accounts, day by day.

A row's index holds its account, the day it arrives and a slot of that day: standing orders first, then what
people do as they like, then late arrivals and an account's first and last move. So the rows of any account
on any day are found without the others, and an account's balance can follow them to the cent.

Some transactions are pending first and settle on the next day, a few are reversed six days later, and a
few arrive weeks after they happened.

The modules, each of which needs only those before it:

- :mod:`~datagen.transactions.kinds`: types, channels, statuses and categories, and how often each is met.
- :mod:`~datagen.transactions.holders`: the accounts, and what decides how much moves on them.
- :mod:`~datagen.transactions.occurrence`: which rows there are.
- :mod:`~datagen.transactions.facts`: what never changes about them.
- :mod:`~datagen.transactions.amounts`: how much money they move.
- :mod:`~datagen.transactions.lifecycle`: pending, booked, failed, reversed.
- :mod:`~datagen.transactions.balances`: what they add up to.
- :mod:`~datagen.transactions.columns`: their columns.
- :mod:`~datagen.transactions.blocks`: what a batch holds of them.

Sources:

- How often: Poisson counts with log-normal rates (Bulmer, On fitting the Poisson lognormal distribution,
  Biometrics 30, 1974), so that a few accounts make most of the moves.
- How much: log-normal by category (Aitchison and Brown, The Lognormal Distribution, 1957). Mixed, the amounts
  follow the first-digit law (Benford, The law of anomalous numbers, 1938; Nigrini's limits of conformity).
- Merchant categories: ISO 18245. Which merchant: Zipf's law, from the account's own favourite on.
- Currencies: amounts are booked in the account's currency; what was paid in another one is converted by the
  day's rate (see :mod:`datagen.rates`) and named in the description, as on a card statement.
- Days of standing orders: see :mod:`datagen.standing`.
- Medians, shares of types and channels, hours, weekdays and seasons are assumptions.
"""

from datagen.transactions.balances import booked_since_birth, opening_balance
from datagen.transactions.blocks import TRANSACTIONS
from datagen.transactions.columns import labels
from datagen.transactions.occurrence import SPAN

__all__ = ["SPAN", "TRANSACTIONS", "booked_since_birth", "labels", "opening_balance"]
