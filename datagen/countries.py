"""The countries of the bank's customers, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Country:
    """What the generator needs to know of a country.

    Attributes:
        code: ISO 3166-1 alpha-2.
        locale: Faker locale of names and addresses.
        share: Weight of the country among customers.
        currency: ISO 4217.
        price_level: Local amounts per 100 euros; scales incomes, balances and prices.
        phone_prefixes: E.164 beginnings of mobile numbers, without the plus sign.
        phone_digits: Digits after the prefix.
        house_number_first: Whether the number stands before the street.
        national_id: Pattern before the digits, number of digits, pattern after them (``?`` is a letter,
            ``#`` a digit, others stand for themselves).
        bank_codes: Beginning of the BBAN (bank and branch) of some banks; the first one is ours.
        account_digits: Digits of the BBAN after the bank code.
        company_form: Legal form that ends a company's name.
    """

    code: str
    locale: str
    share: float
    currency: str
    price_level: int
    phone_prefixes: tuple[str, ...]
    phone_digits: int
    house_number_first: bool
    national_id: tuple[str, int, str]
    bank_codes: tuple[str, ...]
    account_digits: int
    company_form: str


COUNTRIES = (
    Country(
        "DE", "de_DE", 26, "EUR", 100, ("49151", "49160", "49171", "49176"), 7, False, ("", 11, ""),
        ("79990000", "50010517", "37040044", "70050000"), 10, "GmbH",
    ),
    Country(
        "FR", "fr_FR", 20, "EUR", 98, ("336", "337"), 8, True, ("", 15, ""),
        ("7999900001", "3000400100", "2004101005", "3000203000"), 13, "SARL",
    ),
    Country(
        "GB", "en_GB", 16, "GBP", 86, ("447400", "447700", "447911"), 6, True, ("??", 6, "?"),
        ("FINL799900", "NWBK601613", "BARC200000", "LOYD309634"), 8, "Ltd",
    ),
    Country(
        "ES", "es_ES", 12, "EUR", 80, ("346", "347"), 8, False, ("", 8, "?"),
        ("79990001", "21000418", "00491500", "01822370"), 12, "S.L.",
    ),
    Country(
        "IT", "it_IT", 10, "EUR", 84, ("39320", "39333", "39347"), 7, False, ("??????##?##?", 3, "?"),
        ("X7999901600", "X0542811101", "A0306909606", "T0200805120"), 12, "S.r.l.",
    ),
    Country(
        "NL", "nl_NL", 7, "EUR", 110, ("316",), 8, False, ("", 9, ""),
        ("FINL", "ABNA", "INGB", "RABO"), 10, "B.V.",
    ),
    Country(
        "CH", "de_CH", 5, "CHF", 150, ("4176", "4178", "4179"), 7, False, ("756", 10, ""),
        ("79990", "00762", "09000", "83019"), 12, "AG",
    ),
    Country(
        "PL", "pl_PL", 4, "PLN", 260, ("4850", "4860", "4879"), 7, False, ("", 11, ""),
        ("79990007", "10901014", "11402004", "10204027"), 16, "Sp. z o.o.",
    ),
)  # fmt: skip
