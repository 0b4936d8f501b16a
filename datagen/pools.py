"""Pools of names, places and merchants per country, made once per seed with Faker.

Rows pick from these pools by position, so that no text is made row by row.
"""

from __future__ import annotations

import random
import re
import string
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datagen.columns import Vocabulary
from datagen.countries import COUNTRIES, Country

NAMES = 512
COMPANIES = 64
MERCHANTS = 24

MERCHANT_CATEGORIES: dict[str, tuple[str, dict[str, str]]] = {
    "groceries": ("5411", {
        "DE": "{} Markt", "FR": "Épicerie {}", "GB": "{} Foods", "ES": "Supermercado {}",
        "IT": "Alimentari {}", "NL": "{} Supermarkt", "CH": "{} Laden", "PL": "Sklep {}",
    }),
    "restaurants": ("5812", {
        "DE": "Gasthaus {}", "FR": "Bistrot {}", "GB": "{}'s Kitchen", "ES": "Bar {}",
        "IT": "Trattoria {}", "NL": "Eetcafé {}", "CH": "Restaurant {}", "PL": "Restauracja {}",
    }),
    "fuel": ("5541", {
        "DE": "Tankstelle {}", "FR": "Station {}", "GB": "{} Fuel", "ES": "Gasolinera {}",
        "IT": "Stazione {}", "NL": "Tankstation {}", "CH": "Tankstelle {}", "PL": "Stacja {}",
    }),
    "clothing": ("5651", {
        "DE": "Mode {}", "FR": "Maison {}", "GB": "{} & Co. Clothing", "ES": "Moda {}",
        "IT": "Sartoria {}", "NL": "{} Mode", "CH": "Mode {}", "PL": "Moda {}",
    }),
    "electronics": ("5732", {
        "DE": "Elektro {}", "FR": "{} Électronique", "GB": "{} Electricals", "ES": "Electrónica {}",
        "IT": "Elettronica {}", "NL": "{} Elektronica", "CH": "Elektro {}", "PL": "Elektronika {}",
    }),
    "pharmacy": ("5912", {
        "DE": "{} Apotheke", "FR": "Pharmacie {}", "GB": "{} Pharmacy", "ES": "Farmacia {}",
        "IT": "Farmacia {}", "NL": "Apotheek {}", "CH": "Apotheke {}", "PL": "Apteka {}",
    }),
    "transport": ("4111", {
        "DE": "Verkehrsbetriebe {}", "FR": "Transports {}", "GB": "{} Buses", "ES": "Autobuses {}",
        "IT": "Autolinee {}", "NL": "{} Vervoer", "CH": "Verkehrsbetriebe {}", "PL": "Transport {}",
    }),
    "hotels": ("7011", {
        "DE": "Hotel {}", "FR": "Hôtel {}", "GB": "The {} Hotel", "ES": "Hotel {}",
        "IT": "Albergo {}", "NL": "Hotel {}", "CH": "Hotel {}", "PL": "Hotel {}",
    }),
    "travel": ("4722", {
        "DE": "Reisebüro {}", "FR": "Voyages {}", "GB": "{} Travel", "ES": "Viajes {}",
        "IT": "Viaggi {}", "NL": "{} Reizen", "CH": "Reisebüro {}", "PL": "Podróże {}",
    }),
    "entertainment": ("7832", {
        "DE": "Kino {}", "FR": "Cinéma {}", "GB": "{} Cinema", "ES": "Cine {}",
        "IT": "Cinema {}", "NL": "Bioscoop {}", "CH": "Kino {}", "PL": "Kino {}",
    }),
    "home": ("5712", {
        "DE": "Möbel {}", "FR": "Meubles {}", "GB": "{} Furniture", "ES": "Muebles {}",
        "IT": "Mobili {}", "NL": "{} Wonen", "CH": "Möbel {}", "PL": "Meble {}",
    }),
    "health": ("8011", {
        "DE": "Praxis Dr. {}", "FR": "Cabinet {}", "GB": "{} Surgery", "ES": "Clínica {}",
        "IT": "Studio Medico {}", "NL": "Praktijk {}", "CH": "Praxis Dr. {}", "PL": "Przychodnia {}",
    }),
}  # fmt: skip
"""Spending category -> merchant category code (ISO 18245) and the shape of a merchant's name."""


@dataclass(frozen=True)
class Pools:
    """Texts to pick from; each holds the same number of values for every country, one after another.

    Attributes:
        first_name: Given names (``NAMES`` per country).
        first_name_ascii: The same, lower case and ASCII, for e-mail addresses.
        last_name: Family names (``NAMES`` per country).
        last_name_ascii: The same, lower case and ASCII.
        street: Street names (``NAMES`` per country).
        city: Towns (``NAMES`` per country).
        postal_code: Postal codes (``NAMES`` per country).
        national_id_head: Beginnings of national ids (``NAMES`` per country).
        national_id_tail: Ends of national ids (``NAMES`` per country).
        company: Companies that pay and collect money (``COMPANIES`` per country).
        merchant: Merchants (``MERCHANTS`` per category and country).
    """

    first_name: Vocabulary
    first_name_ascii: Vocabulary
    last_name: Vocabulary
    last_name_ascii: Vocabulary
    street: Vocabulary
    city: Vocabulary
    postal_code: Vocabulary
    national_id_head: Vocabulary
    national_id_tail: Vocabulary
    company: Vocabulary
    merchant: Vocabulary


_made: dict[int, Pools] = {}


def pools(seed: int) -> Pools:
    """The pools of a seed (the same texts for the same seed and Faker version), made once."""
    if seed not in _made:
        keep(seed, _make(seed))
    return _made[seed]


def keep(seed: int, made: Pools) -> None:
    """Take pools that were made elsewhere, which is quicker than to make them once more."""
    if len(_made) >= _MOST_SEEDS:
        _made.pop(next(iter(_made)))
    _made[seed] = made


_MOST_SEEDS = 4


def _make(seed: int) -> Pools:
    columns: dict[str, list[str]] = {name: [] for name in Pools.__dataclass_fields__}
    for country in COUNTRIES:
        for name, texts in _country(seed, country).items():
            columns[name] += texts
    for name in ("first_name", "last_name"):
        columns[f"{name}_ascii"] = [ascii_name(text) for text in columns[name]]
    return Pools(**{name: Vocabulary(texts) for name, texts in columns.items()})


def ascii_name(text: str) -> str:
    """Lower-case ASCII letters of a name.

    >>> ascii_name("Łukasz Groß-Müller")
    'lukaszgrossmuller'
    """
    plain = unicodedata.normalize("NFKD", text.lower().translate(_LETTERS))
    return re.sub(r"[^a-z]", "", plain)


_LETTERS = str.maketrans({"ß": "ss", "ł": "l", "ø": "o", "æ": "ae", "œ": "oe", "đ": "d"})


def _country(seed: int, country: Country) -> dict[str, list[str]]:
    from faker.factory import Factory  # slow to load, and not needed by those who are given the pools

    providers = ["faker.providers.person", "faker.providers.address"]
    fake: Any = Factory.create(country.locale, providers=providers)
    fake.seed_instance(f"{seed}/{country.code}")
    rng = random.Random(f"{seed}/{country.code}")  # noqa: S311 - reproducible on purpose

    def pool(size: int, make: Callable[[], str]) -> list[str]:
        return [" ".join(make().split()) for _ in range(size)]

    def company() -> str:
        return f"{fake.last_name()} {country.company_form}"

    def place() -> tuple[str, str]:
        if country.code != "IT":
            return fake.city(), fake.postcode()
        # Faker's Italian towns come from a set, in another order in every process; these do not.
        postcode, _, rest = fake.postcode_city_province().partition(", ")
        return rest.rpartition(" (")[0], postcode

    head, _, tail = country.national_id
    places = [place() for _ in range(NAMES)]
    return {
        "first_name": pool(NAMES, fake.first_name),
        "last_name": pool(NAMES, fake.last_name),
        "street": pool(NAMES, fake.street_name),
        "city": [city for city, _ in places],
        "postal_code": [postcode for _, postcode in places],
        "national_id_head": pool(NAMES, lambda: _fill(rng, head)),
        "national_id_tail": pool(NAMES, lambda: _fill(rng, tail)),
        "company": pool(COMPANIES, company),
        "merchant": [
            shapes[country.code].format(name)
            for _, shapes in MERCHANT_CATEGORIES.values()
            for name in pool(MERCHANTS, fake.last_name)
        ],
    }


def _fill(rng: random.Random, pattern: str) -> str:
    kinds = {"?": string.ascii_uppercase, "#": string.digits}
    return "".join(rng.choice(kinds.get(character, character)) for character in pattern)
