"""What the public copies hold in the place of personal data: one mask per PII class.

The keyed hash is HMAC-SHA256 (RFC 2104, FIPS 198-1), so equal values stay equal and can be joined, and
nobody without the key can find a value by hashing guesses, as is easy with a plain hash: there are few
phone numbers, and IBANs are numbered. Without a key there is nothing in its place.

The masks are SQL of DuckDB, which has SHA-256 but not HMAC; it is put together here. The key is handed
over in variables of the connection, so that it stands in no statement, message or log.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipeline.tables import TableColumn

if TYPE_CHECKING:
    import duckdb
    from pydantic import SecretStr

BLOCK_BYTES = 64  # of SHA-256; RFC 2104 calls it B
INNER_PAD, OUTER_PAD = 0x36, 0x5C  # RFC 2104: ipad and opad
INNER, OUTER = "finlake_pii_inner", "finlake_pii_outer"

EMPTY, KEYED_HASH, DOMAIN, LAST_DIGITS, YEAR = "empty", "keyed_hash", "domain", "last_digits", "year"
MASKS = {
    # Who knows how frequent names are could tell many of them from equal hashes.
    "name": EMPTY,
    # Analyses by provider need the domain, and nothing that names the person.
    "email": DOMAIN,
    # Enough for a person on the phone to confirm a number, and shared by every hundredth customer.
    "phone": LAST_DIGITS,
    # Age groups need no more; a full date with a postal code would name most people.
    "date_of_birth": YEAR,
    # One per person: the hash tells whether two sources mean the same one.
    "national_id": KEYED_HASH,
    # Links accounts with the transfers that name them as the other side.
    "account_number": KEYED_HASH,
    # Hardly two customers share one, so that a hash would be as good as a name.
    "address": EMPTY,
    # Holds values of all other classes.
    "raw_record": EMPTY,
}
"""PII class -> mask. A class that is not here is emptied: what nobody has thought about does not leave."""


def masked_select(columns: Iterable[TableColumn], *, has_key: bool) -> str:
    """Select list, in DuckDB's SQL, of columns with their personal data masked.

    Args:
        columns: Columns of the table.
        has_key: Whether :func:`use_key` has given the connection a key; without one there are no hashes.

    >>> masked_select([TableColumn("id", "string", ""), TableColumn("street", "string", "", "address")],
    ...               has_key=False)
    '"id", CAST(NULL AS VARCHAR) AS "street"'
    """
    return ", ".join(_masked(column, has_key=has_key) for column in columns)


def mask_of(column: TableColumn, *, has_key: bool) -> str | None:
    """Name of the mask that a column gets; None when it holds no personal data."""
    if column.pii_class is None:
        return None
    mask = MASKS.get(column.pii_class, EMPTY)
    fits = column.type == ("date" if mask == YEAR else "string")
    return mask if fits and (has_key or mask != KEYED_HASH) else EMPTY


def use_key(connection: duckdb.DuckDBPyConnection, key: SecretStr) -> None:
    """Let the masks of a connection hash with this key."""
    block = _key_block(key)
    for name, pad in ((INNER, INNER_PAD), (OUTER, OUTER_PAD)):
        connection.execute(f"SET VARIABLE {name} = $1", [bytes(byte ^ pad for byte in block)])


def fingerprint(select: str, key: SecretStr | None) -> str:
    """Tells apart select lists and keys, and nothing about the key."""
    return hmac.new(_key_block(key) if key else b"", select.encode(), hashlib.sha256).hexdigest()[:16]


def _masked(column: TableColumn, *, has_key: bool) -> str:
    name = f'"{column.name}"'
    mask = mask_of(column, has_key=has_key)
    if mask is None:
        return name
    inner = f"sha256(getvariable('{INNER}') || encode({name}))"
    values = {
        EMPTY: f"CAST(NULL AS {'VARCHAR' if column.type == 'string' else column.type})",
        KEYED_HASH: f"sha256(getvariable('{OUTER}') || unhex({inner}))",
        DOMAIN: f"CASE WHEN contains({name}, '@') THEN '***@' || regexp_extract({name}, '[^@]*$') END",
        LAST_DIGITS: f"CASE WHEN length({name}) > 6 THEN '***' || right({name}, 2) END",
        YEAR: f"CAST(date_trunc('year', {name}) AS DATE)",
    }
    return f"{values[mask]} AS {name}"


def _key_block(key: SecretStr) -> bytes:
    """The key as RFC 2104 wants it: one block, and hashed first when it is longer."""
    secret = key.get_secret_value().encode()
    if len(secret) > BLOCK_BYTES:
        secret = hashlib.sha256(secret).digest()
    return secret.ljust(BLOCK_BYTES, b"\0")
