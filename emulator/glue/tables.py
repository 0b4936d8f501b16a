"""The catalogue's tables: as written, in pages, with all their versions.

The emulator behind keeps the newest version of each. Names, updates, listings and older versions are
handled here as AWS does.
"""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from emulator.gateway.local import Context, ServiceError
from emulator.glue.clients import Clients, code_of
from emulator.glue.jobs import scope_of
from emulator.glue.paging import page
from emulator.glue.partitions import matching
from emulator.store import Store

VERSION = "table-version"
# What an update of a table replaces: whatever it does not name is gone.
REPLACED: Mapping[str, Any] = {
    "Description": "",
    "Owner": "",
    "StorageDescriptor": {},
    "PartitionKeys": [],
    "Parameters": {},
    "ViewOriginalText": None,
    "ViewExpandedText": None,
}


class Tables:
    """Tables, their versions and partitions.

    Args:
        clients: Clients of the emulators behind.
        store: Keeps versions.
    """

    def __init__(self, clients: Clients, store: Store) -> None:
        self._clients = clients
        self._store = store
        self._lock = threading.RLock()

    def create(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``CreateTable``."""
        table = _named(request.get("TableInput") or {})
        database = str(request.get("DatabaseName")).lower()
        with self._lock:
            self._glue(context).create_table(**request | {"DatabaseName": database, "TableInput": table})
            self._store.delete(VERSION, scope_of(context), f"{database}.{table['Name']}")
            self._archive(context, database, table["Name"])
        return {}

    def update(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``UpdateTable``: what it does not name is gone, what was there before becomes an older version."""
        table = _named(request.get("TableInput") or {})
        database = str(request.get("DatabaseName")).lower()
        skip = bool(request.pop("SkipArchive", False))
        with self._lock:
            before = self._archive(context, database, table["Name"])
            whole = {**REPLACED, **table}
            self._glue(context).update_table(**request | {"DatabaseName": database, "TableInput": whole})
            self._archive(context, database, table["Name"])
            if skip:
                name = f"{database}.{table['Name']}"
                self._store.delete(VERSION, scope_of(context), name, before["VersionId"])
        return {}

    def delete(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``DeleteTable``."""
        self._glue(context).delete_table(**request)
        self._forget(context, request["DatabaseName"], request["Name"])
        return {}

    def delete_batch(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``BatchDeleteTable``."""
        answer: dict[str, Any] = self._glue(context).batch_delete_table(**request)
        for name in request["TablesToDelete"]:
            self._forget(context, request["DatabaseName"], name)
        return {"Errors": answer.get("Errors", [])}

    def delete_database(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``DeleteDatabase``, with all that was known of its tables."""
        self._glue(context).delete_database(**request)
        for _, name, _, _ in self._store.rows(VERSION, scope_of(context)):
            if name.startswith(f"{request['Name'].lower()}."):
                self._store.delete(VERSION, scope_of(context), name)
        return {}

    def table(self, context: Context, database: str, name: str) -> dict[str, Any]:
        """A table of the catalogue.

        Raises:
            ClientError: ``EntityNotFoundException``.
        """
        found = self._glue(context).get_table(DatabaseName=database.lower(), Name=name.lower())
        return _shown(found["Table"])

    def get(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``GetTable``."""
        return {"Table": self.table(context, str(request["DatabaseName"]), str(request["Name"]))}

    def find(self, context: Context, database: str, name: str) -> dict[str, Any] | None:
        """A table of the catalogue, or None."""
        try:
            return self.table(context, database, name)
        except ClientError as error:
            if code_of(error) == "EntityNotFoundException":
                return None
            raise

    def all(self, context: Context, database: str) -> list[dict[str, Any]]:
        """All tables of a database, by name.

        Raises:
            ClientError: ``EntityNotFoundException``: there is no such database.
        """
        glue = self._glue(context)
        glue.get_database(Name=database.lower())
        tables = glue.get_tables(DatabaseName=database.lower())["TableList"]
        return sorted(map(_shown, tables), key=lambda table: str(table["Name"]))

    def tables(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``GetTables``: ``*`` in its expression stands for anything."""
        tables = self.all(context, str(request.get("DatabaseName")))
        if expression := request.get("Expression"):
            pattern = expression.lower().replace(".*", "*")
            tables = [table for table in tables if fnmatch.fnmatchcase(table["Name"], pattern)]
        return page("TableList", tables, request)

    def databases(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``GetDatabases``."""
        found = self._glue(context).get_databases()["DatabaseList"]
        return page("DatabaseList", sorted(found, key=lambda one: str(one["Name"])), request)

    # --- versions ------------------------------------------------------------------------------------

    def versions(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``GetTableVersions``, the newest first."""
        name = self._current(context, request)
        kept = self._store.all(VERSION, scope_of(context), name)
        kept.sort(key=lambda version: int(version["VersionId"]), reverse=True)
        return page("TableVersions", kept, request)

    def version(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``GetTableVersion``; without a number, the newest."""
        name = self._current(context, request)
        wanted = request.get("VersionId")
        kept = self._store.all(VERSION, scope_of(context), name)
        found = [one for one in kept if wanted in (None, "", one["VersionId"])]
        if not found:
            raise ServiceError("EntityNotFoundException", f"Version {wanted} of {name} not found")
        return {"TableVersion": max(found, key=lambda version: int(version["VersionId"]))}

    def delete_version(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``DeleteTableVersion``; the current one stays."""
        name = self._current(context, request)
        wanted = str(request.get("VersionId"))
        newest = self.version(context, {**request, "VersionId": None})["TableVersion"]["VersionId"]
        if wanted == newest:
            raise ServiceError("InvalidInputException", f"Version {wanted} of {name} is the current one")
        if not self._store.delete(VERSION, scope_of(context), name, wanted):
            raise ServiceError("EntityNotFoundException", f"Version {wanted} of {name} not found")
        return {}

    def delete_versions(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``BatchDeleteTableVersion``."""
        errors = []
        for number in request.get("VersionIds") or ():
            try:
                self.delete_version(context, {**request, "VersionId": number})
            except ServiceError as error:
                detail = {"ErrorCode": error.code, "ErrorMessage": error.message}
                which = {"TableName": request["TableName"], "VersionId": number}
                errors.append(which | {"ErrorDetail": detail})
        return {"Errors": errors}

    def _current(self, context: Context, request: dict[str, Any]) -> str:
        database, table = str(request.get("DatabaseName")).lower(), str(request.get("TableName")).lower()
        with self._lock:
            self._archive(context, database, table)
        return f"{database}.{table}"

    def _archive(self, context: Context, database: str, name: str) -> dict[str, Any]:
        """Keep the table as it is now as the version it is; returns that."""
        table = _plain(self.table(context, database, name))
        version = {"Table": table, "VersionId": str(table.get("VersionId") or "1")}
        self._store.put(VERSION, scope_of(context), f"{database}.{name}", version["VersionId"], version)
        return version

    def _forget(self, context: Context, database: str, name: str) -> None:
        self._store.delete(VERSION, scope_of(context), f"{database.lower()}.{name.lower()}")

    # --- partitions ----------------------------------------------------------------------------------

    def partitions(self, context: Context, database: str, name: str) -> list[dict[str, Any]]:
        """All partitions of a table."""
        found = self._glue(context).get_partitions(DatabaseName=database.lower(), TableName=name.lower())
        return list(found["Partitions"])

    def list_partitions(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``GetPartitions``, by expression and segment, in pages."""
        database, name = str(request.get("DatabaseName")), str(request.get("TableName"))
        keys = self.table(context, database, name).get("PartitionKeys") or []
        found = matching(str(request.get("Expression") or ""), keys, self.partitions(context, database, name))
        if segment := request.get("Segment"):
            total, number = int(segment["TotalSegments"]), int(segment["SegmentNumber"])
            found = found[number::total]
        if request.get("ExcludeColumnSchema"):
            for partition in found:
                (partition.get("StorageDescriptor") or {}).pop("Columns", None)
        return page("Partitions", found, request, most=1000)

    def update_partition(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``UpdatePartition``."""
        where = {key: request[key] for key in ("DatabaseName", "TableName")}
        values = request["PartitionValueList"]
        glue = self._glue(context)
        glue.get_partition(**where, PartitionValues=values)
        if request["PartitionInput"].get("Values", values) == values:
            glue.delete_partition(**where, PartitionValues=values)
        glue.create_partition(**where, PartitionInput={"Values": values, **request["PartitionInput"]})
        if request["PartitionInput"].get("Values", values) != values:  # refused before if the new is there
            glue.delete_partition(**where, PartitionValues=values)
        return {}

    def delete_partitions(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``BatchDeletePartition``; those that are not there are named."""
        where = {key: request[key] for key in ("DatabaseName", "TableName")}
        errors = []
        glue = self._glue(context)
        for values in (one["Values"] for one in request.get("PartitionsToDelete") or ()):
            try:
                glue.get_partition(**where, PartitionValues=values)
                glue.delete_partition(**where, PartitionValues=values)
            except ClientError as error:
                detail = {"ErrorCode": code_of(error), "ErrorMessage": str(error)}
                errors.append({"PartitionValues": values, "ErrorDetail": detail})
        return {"Errors": errors}

    def _glue(self, context: Context) -> Any:  # noqa: ANN401
        return self._clients.get(context, "glue")


def _shown(table: dict[str, Any]) -> dict[str, Any]:
    """A table as AWS shows it: what nobody has written is not there, so that it can be written back."""
    return {
        name: value for name, value in table.items() if value != "" or name not in ("Owner", "Description")
    }


def _named(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table's input with its name in small letters, as the catalogue keeps it."""
    if not table.get("Name"):
        raise ServiceError("InvalidInputException", "TableInput has no Name")
    return {**table, "Name": str(table["Name"]).lower()}


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.timestamp() if isinstance(value, datetime) else value
