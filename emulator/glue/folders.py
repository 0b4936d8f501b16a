"""Which objects below a target make one table, and which folders are its partitions. No input or output here.

As AWS Glue's developer guide says under "How does a crawler determine when to create partitions?": folders
whose files fit together are partitions of one table; otherwise each folder is looked at by itself.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emulator.glue.schemas import Schema, fit, merged


@dataclass(frozen=True)
class Object:
    """An object in S3: its key and size."""

    key: str
    size: int


@dataclass(frozen=True)
class Found:
    """A table that was found.

    Attributes:
        prefix: Where it lies in the bucket: a folder with ``/`` at its end, or a single key.
        schema: Its columns, without the partitions' keys.
        objects: Its objects.
        keys: Names of the partitions' keys.
        partitions: Values of each partition, with its folder.
    """

    prefix: str
    schema: Schema
    objects: tuple[Object, ...]
    keys: tuple[str, ...]
    partitions: Mapping[tuple[str, ...], str]


def is_data(one: Object, prefix: str, exclusions: Sequence[str]) -> bool:
    """Whether an object is data: not empty, not hidden (``_`` or ``.``), not excluded.

    >>> is_data(Object("t/_SUCCESS", 3), "t/", []), is_data(Object("t/a.csv", 3), "t/", ["*.json"])
    (False, True)
    """
    path = one.key.removeprefix(prefix)
    if not one.size or one.key.endswith("/") or any(part.startswith(("_", ".")) for part in path.split("/")):
        return False
    return not any(fnmatch.fnmatchcase(path, pattern.replace("**", "*")) for pattern in exclusions)


def samples(prefix: str, objects: Sequence[Object], most: int = 40) -> list[Object]:
    """Objects to look into: one of each folder and ending, evenly spread if these are many."""
    first: dict[tuple[str, str], Object] = {}
    for one in objects:
        folder, _, name = one.key.removeprefix(prefix).rpartition("/")
        first.setdefault((folder, name[name.find(".") :] if "." in name else ""), one)
    chosen = list(first.values())
    step = max(1, -(-len(chosen) // most))
    return chosen[::step]


def tables(prefix: str, objects: Sequence[Object], schemas: Mapping[str, Schema]) -> list[Found]:
    """The tables below a folder.

    Args:
        prefix: The folder, with ``/`` at its end, or empty for a whole bucket.
        objects: Its data.
        schemas: Schemas of the objects that were looked into, by key.
    """
    known = {key: schema for key, schema in schemas.items() if key.startswith(prefix)}
    if not known:
        return []
    all_schemas = list(known.values())
    if all(fit(all_schemas[0], other) for other in all_schemas[1:]):
        return [_table(prefix, [one for one in objects if one.key.startswith(prefix)], all_schemas)]
    found = []
    here = [one for one in objects if one.key.startswith(prefix) and "/" not in one.key.removeprefix(prefix)]
    for one in here:  # files side by side that do not fit: each is a table of its own
        if one.key in known:
            found.append(Found(one.key, known[one.key], (one,), (), {}))
    below = {
        prefix + one.key.removeprefix(prefix).partition("/")[0] + "/"
        for one in objects
        if one.key.startswith(prefix) and "/" in one.key.removeprefix(prefix)
    }
    for folder in sorted(below):
        found += tables(folder, objects, schemas)
    return found


def _table(prefix: str, objects: Sequence[Object], schemas: Sequence[Schema]) -> Found:
    paths = {one.key.removeprefix(prefix).rpartition("/")[0] for one in objects}
    levels = {len(path.split("/")) if path else 0 for path in paths}
    partitions: dict[tuple[str, ...], str] = {}
    keys: tuple[str, ...] = ()
    if len(levels) == 1 and levels != {0}:
        parts = [path.split("/") for path in sorted(paths)]
        keys = tuple(_key([row[level] for row in parts], level) for level in range(len(parts[0])))
        for row in parts:
            values = tuple(part.partition("=")[2] if "=" in part else part for part in row)
            partitions[values] = f"{prefix}{'/'.join(row)}/"
    schema = merged(schemas)
    return Found(prefix, schema, tuple(objects), keys, partitions)


def _key(folders: Sequence[str], level: int) -> str:
    names = {folder.partition("=")[0] for folder in folders if "=" in folder}
    if len(names) == 1 and all("=" in folder for folder in folders):
        return names.pop().lower()
    return f"partition_{level}"


def table_name(bucket: str, prefix: str, before: str = "") -> str:
    """The name of a table: that of its folder, or of the bucket.

    >>> table_name("lake", "raw/Customers-2026/", "bronze_"), table_name("my-lake", "")
    ('bronze_customers_2026', 'my_lake')
    """
    last = prefix.rstrip("/").rpartition("/")[2] or bucket
    return before + re.sub(r"[^a-z0-9_]", "_", last.partition("=")[2].lower() or last.lower())


def other_name(name: str, location: str) -> str:
    """A name for a table whose own is taken by a table elsewhere, as AWS makes it: with a hash."""
    return f"{name}_{hashlib.md5(location.encode(), usedforsecurity=False).hexdigest()}"
