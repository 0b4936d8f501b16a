"""International Bank Account Numbers (ISO 13616) with valid check digits, column-wise."""

from __future__ import annotations

from functools import cache

import numpy as np

from datagen import columns as to
from datagen.countries import COUNTRIES
from datagen.rng import Ints

BANKS_PER_COUNTRY = len(COUNTRIES[0].bank_codes)
UNIQUE_DIGITS = min(country.account_digits for country in COUNTRIES)
_MODULUS = 97


def iban(country: Ints, bank: Ints, number: Ints) -> to.Column:
    """Build IBANs.

    Args:
        country: Positions in :data:`~datagen.countries.COUNTRIES`.
        bank: Positions in each country's ``bank_codes``.
        number: Account numbers, below ``10 ** UNIQUE_DIGITS`` to fit every country.
    """
    heads, remainders, widths = _banks()
    row = country * BANKS_PER_COUNTRY + bank
    # Read as one number, an IBAN is <bank><account><country><check>; its remainder must be 1.
    remainder = (remainders[row] + number % _MODULUS * (10**6 % _MODULUS)) % _MODULUS
    return to.join(
        to.texts(tuple(item.code for item in COUNTRIES), country),
        to.digits(_MODULUS + 1 - remainder, 2),
        to.texts(heads, row),
        to.digits(number, widths[country]),
    )


def unique_number(index: Ints, offset: int) -> Ints:
    """Scatter indices over all account numbers, each at most once per ``10 ** UNIQUE_DIGITS`` indices."""
    span = 10**UNIQUE_DIGITS
    number: Ints = (index % span * 387_420_489 + offset % span) % span
    return number


@cache
def _banks() -> tuple[to.Vocabulary, Ints, Ints]:
    heads = [code for country in COUNTRIES for code in country.bank_codes]
    remainders = [
        (_as_digits(code) * 10 ** (country.account_digits + 6) + _as_digits(country.code) * 100) % _MODULUS
        for country in COUNTRIES
        for code in country.bank_codes
    ]
    widths = [country.account_digits for country in COUNTRIES]
    return to.Vocabulary(heads), np.array(remainders), np.array(widths)


def _as_digits(text: str) -> int:
    """Letters count 10 to 35."""
    return int("".join(str(int(character, 36)) for character in text))
