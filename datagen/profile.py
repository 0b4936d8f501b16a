"""Profiles: what kind of bank it is. Every rate is a key of a YAML file, and can be set on its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from datagen.countries import COUNTRIES
from datagen.errors import BadRequestError

FOLDER = Path(__file__).parent / "profiles"
DEFAULT = "retail-bank"

SEGMENTS = ("retail", "affluent", "private", "small_business")
PRODUCTS = ("mortgage", "auto", "personal", "student", "business")
DIRT = (
    "exact_duplicate", "older_version", "malformed_date", "malformed_number", "missing_key",
    "bad_email", "unknown_parent", "early_child", "wrong_column_count", "stray_quote",
)  # fmt: skip

Weights = tuple[float, ...]


@dataclass(frozen=True)
class Profile:
    """All rates of a bank; shares are from 0 to 1, weights are relative to each other.

    Attributes:
        name: Name of the profile.
        countries: Weight of each country of :data:`~datagen.countries.COUNTRIES`.
        segments: Weight of each customer segment.
        households: Share of neighbouring pairs of customers who live together.
        daily_growth: New customers a day, as a share of the initial ones.
        accounts_per_customer: Accounts per customer, at least 1.
        loans_per_customer: Loans per customer.
        loan_products: Weight of each loan product.
        arrears: Factor on the share of borrowers who miss their first instalment.
        extra_repayments: Share of annuity loans of which a part is repaid early.
        activity: Factor on how often money moves by itself, on top of standing orders.
        abroad: Share of purchases in another country.
        pending: Share of card payments and direct debits that settle on the next day.
        reversed: Share of transactions that are reversed.
        late: Share of active accounts with a late arrival each day.
        leavers: Share of customers who leave each day, and are erased with all that is theirs; told only
            where a delivery can tell of deletions.
        fraud: Share of transactions that belong to fraud or laundering.
        dirt: Weight of each kind of dirt.
    """

    name: str
    countries: Weights
    segments: Weights
    households: float
    daily_growth: float
    accounts_per_customer: float
    loans_per_customer: float
    loan_products: Weights
    arrears: float
    extra_repayments: float
    activity: float
    abroad: float
    pending: float
    reversed: float
    late: float
    leavers: float
    fraud: float
    dirt: Weights

    @property
    def fingerprint(self) -> str:
        """The name, and a checksum of the rates when they are not those of the profile of that name."""
        if self.name in names() and self == load(self.name):
            return self.name
        rates = json.dumps({key: value for key, value in vars(self).items() if key != "name"})
        return f"{self.name}#{hashlib.sha256(rates.encode()).hexdigest()[:12]}"


_WEIGHTS = {
    "countries": tuple(country.code for country in COUNTRIES),
    "segments": SEGMENTS,
    "loan_products": PRODUCTS,
    "dirt": DIRT,
}
LIMITS = {
    "households": (0.0, 1.0),
    "daily_growth": (0.0, 1.0),
    "accounts_per_customer": (1.0, 20.0),
    "loans_per_customer": (0.0, 10.0),
    "arrears": (0.0, 20.0),
    "extra_repayments": (0.0, 1.0),
    "activity": (0.01, 50.0),
    "abroad": (0.0, 1.0),
    "pending": (0.0, 1.0),
    "reversed": (0.0, 1.0),
    "late": (0.0, 1.0),
    "leavers": (0.0, 0.5),
    "fraud": (0.0, 0.02),
}
KEYS = (*_WEIGHTS, *LIMITS)


def names() -> list[str]:
    """Names of the profiles that come with the generator."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def load(profile: str | Path = DEFAULT) -> Profile:
    """Read a profile by its name, or from a YAML file of one's own.

    A file may name another profile under ``extends`` (``retail-bank`` when it does not), and gives only what
    differs from it.

    Args:
        profile: Name, or path of a file that ends in ``.yaml`` or ``.yml``.

    Raises:
        BadRequestError: There is no such profile, or one of its keys or values makes no sense.
    """
    text = str(profile)
    if not text.endswith((".yaml", ".yml")):
        if text not in names():
            raise BadRequestError(f"there is no profile {text!r}; {_did_you_mean(text, names())}")
        return _read(FOLDER / f"{text}.yaml", base=None)
    return _read(Path(text), base=load())


def override(profile: Profile, settings: Mapping[str, str]) -> Profile:
    """Set single rates of a profile.

    Args:
        profile: The profile.
        settings: Values by key, such as ``activity`` or ``dirt.bad_email``.

    Raises:
        BadRequestError: A key is not known, or a value makes no sense.
    """
    for key, value in settings.items():
        first, _, second = key.partition(".")
        rate = _number(value, key, "--set")
        rates = {first: {second: rate}} if second or first in _WEIGHTS else {first: rate}
        profile = _merged(profile, rates, "--set")
    return profile


def _read(path: Path, base: Profile | None) -> Profile:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadRequestError(f"{path} is not a profile: {error}") from error
    if not isinstance(document, dict):
        raise BadRequestError(f"{path} is not a profile: it holds no keys")
    parent = document.pop("extends", None)
    if parent is not None:
        base = load(parent)
    if base is None:
        blank = {key: (0.0,) * len(known) for key, known in _WEIGHTS.items()}
        base = Profile(name="", **blank, **dict.fromkeys(LIMITS, 0.0))  # type: ignore[arg-type]
    return replace(_merged(base, document, str(path)), name=path.stem)


def _merged(base: Profile, document: Mapping[str, Any], where: str) -> Profile:
    changes: dict[str, Any] = {}
    for key, value in document.items():
        if key in _WEIGHTS:
            changes[key] = _weights(getattr(base, key), value, key, where)
        elif key in LIMITS:
            low, high = LIMITS[key]
            rate = _number(value, key, where)
            if not low <= rate <= high:
                raise BadRequestError(f"{where}: {key} is from {low:g} to {high:g}, not {value}")
            changes[key] = rate
        else:
            raise BadRequestError(f"{where}: there is no key {key!r}; {_did_you_mean(str(key), KEYS)}")
    return replace(base, **changes)


def _weights(before: Weights, value: object, key: str, where: str) -> Weights:
    known = _WEIGHTS[key]
    if not isinstance(value, dict):
        raise BadRequestError(f"{where}: {key} has weights by name, such as {known[0]}: 1")
    weights = list(before)
    for name, weight in value.items():
        if name not in known:
            raise BadRequestError(f"{where}: {key} has no {name!r}; {_did_you_mean(str(name), known)}")
        weights[known.index(name)] = _number(weight, f"{key}.{name}", where)
    if min(weights) < 0 or sum(weights) <= 0:
        raise BadRequestError(f"{where}: weights of {key} are 0 or above, and not all 0")
    return tuple(weights)


def _number(value: object, key: str, where: str) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) else None
    except ValueError:
        number = None
    if number is None or isinstance(value, bool) or not abs(number) < 1e9:
        raise BadRequestError(f"{where}: {key} is a number, not {value!r}")
    return number


def _did_you_mean(text: str, known: tuple[str, ...] | list[str]) -> str:
    close = get_close_matches(text, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
