"""Tables as a crawler writes them into the catalogue. No input or output here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from emulator.glue.folders import Found
from emulator.glue.schemas import Schema

OPEN_CSV = "org.apache.hadoop.hive.serde2.OpenCSVSerde"
LAZY = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe"
TEXT = (
    "org.apache.hadoop.mapred.TextInputFormat",
    "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
)
PARQUET = (
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
)
SEQUENCE = (
    "org.apache.hadoop.mapred.SequenceFileInputFormat",
    "org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat",
)
UPDATED_BY = "UPDATED_BY_CRAWLER"
DEPRECATED_BY = "DEPRECATED_BY_CRAWLER"
VERSIONS = {"CrawlerSchemaDeserializerVersion": "1.0", "CrawlerSchemaSerializerVersion": "1.0"}


def file_table(name: str, crawler: str, bucket: str, found: Found) -> dict[str, Any]:
    """``TableInput`` of a table of files."""
    schema = found.schema
    size = sum(one.size for one in found.objects)
    packed = all(one.key.endswith(".gz") for one in found.objects)
    parameters = {
        **VERSIONS,
        UPDATED_BY: crawler,
        "averageRecordSize": str(schema.record_bytes),
        "classification": schema.format,
        "compressionType": "gzip" if packed else "none",
        "objectCount": str(len(found.objects)),
        "recordCount": str(max(1, size // schema.record_bytes)),
        "sizeKey": str(size),
        "typeOfData": "file",
        **_csv_parameters(schema),
    }
    (read, write), serde = _serde(schema)
    return {
        "Name": name,
        "Owner": "owner",
        "TableType": "EXTERNAL_TABLE",
        "Retention": 0,
        "Parameters": parameters,
        "PartitionKeys": [{"Name": key, "Type": "string"} for key in found.keys],
        "StorageDescriptor": {
            "Columns": [
                {"Name": column, "Type": kind}
                for column, kind in schema.columns.items()
                if column not in found.keys
            ],
            "Location": f"s3://{bucket}/{found.prefix}",
            "InputFormat": read,
            "OutputFormat": write,
            "Compressed": packed,
            "NumberOfBuckets": -1,
            "SerdeInfo": serde,
            "BucketColumns": [],
            "SortColumns": [],
            "Parameters": parameters,
            "StoredAsSubDirectories": False,
        },
    }


def delta_table(
    name: str,
    crawler: str,
    location: str,
    columns: Sequence[Mapping[str, str]],
    *,
    version: int,
    changed: int,
) -> dict[str, Any]:
    """``TableInput`` of a native Delta table: what Athena and Spark read by its log.

    Args:
        name: Its name.
        crawler: Who has found it.
        location: Its root.
        columns: From its log.
        version: Its newest version.
        changed: When that was written, in milliseconds since 1970.
    """
    return {
        "Name": name,
        "Owner": "owner",
        "TableType": "EXTERNAL_TABLE",
        "Retention": 0,
        "Parameters": {
            **VERSIONS,
            UPDATED_BY: crawler,
            "EXTERNAL": "TRUE",
            "classification": "delta",
            "spark.sql.sources.provider": "delta",
            "table_type": "DELTA",
            "delta.lastUpdateVersion": str(version),
            "delta.lastCommitTimestamp": str(changed),
        },
        "PartitionKeys": [],
        "StorageDescriptor": {
            "Columns": [dict(column) for column in columns],
            "Location": location,
            "InputFormat": SEQUENCE[0],
            "OutputFormat": SEQUENCE[1],
            "Compressed": False,
            "NumberOfBuckets": -1,
            "SerdeInfo": {
                "SerializationLibrary": LAZY,
                "Parameters": {"path": location, "serialization.format": "1"},
            },
            "BucketColumns": [],
            "SortColumns": [],
            "StoredAsSubDirectories": False,
        },
    }


def partition(table: Mapping[str, Any], values: Sequence[str], location: str) -> dict[str, Any]:
    """``PartitionInput`` of a partition, which has all else from its table."""
    storage = {**table["StorageDescriptor"], "Location": location}
    return {"Values": list(values), "StorageDescriptor": storage, "Parameters": {}}


def updated(present: Mapping[str, Any], fresh: Mapping[str, Any]) -> dict[str, Any] | None:
    """``TableInput`` that brings a table up to what a crawl has found; None if it is.

    Comments, parameters of columns and parameters of the table that no crawler writes stay.
    """
    old = present.get("StorageDescriptor") or {}
    before = {column["Name"]: column for column in old.get("Columns") or ()}
    columns = [
        {**before.get(column["Name"], {}), **column} for column in fresh["StorageDescriptor"]["Columns"]
    ]
    parameters = {**(present.get("Parameters") or {}), **fresh["Parameters"]}
    parameters.pop(DEPRECATED_BY, None)
    if columns == list(old.get("Columns") or ()) and parameters == present.get("Parameters"):
        return None
    storage = {**old, **fresh["StorageDescriptor"], "Columns": columns}
    kept = {key: present[key] for key in ("Description",) if present.get(key)}
    keys = present.get("PartitionKeys") or fresh["PartitionKeys"]
    return {**fresh, **kept, "PartitionKeys": keys, "Parameters": parameters, "StorageDescriptor": storage}


def deprecated(present: Mapping[str, Any]) -> dict[str, Any]:
    """``TableInput`` that marks a table whose data a crawl has not found any more."""
    kept = ("Name", "Description", "Owner", "Retention", "StorageDescriptor", "PartitionKeys", "TableType")
    stamp = {DEPRECATED_BY: str(int(time.time() * 1000))}
    given = {key: present[key] for key in kept if present.get(key) is not None}
    return {**given, "Parameters": {**(present.get("Parameters") or {}), **stamp}}


def _csv_parameters(schema: Schema) -> dict[str, str]:
    if schema.format != "csv":
        return {}
    quoted = {"areColumnsQuoted": str(bool(schema.quote)).lower()}
    header = {"skip.header.line.count": "1"} if schema.header else {}
    return {**quoted, "columnsOrdered": "true", "delimiter": schema.delimiter, **header}


def _serde(schema: Schema) -> tuple[tuple[str, str], dict[str, Any]]:
    if schema.format == "parquet":
        library = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
        return PARQUET, {"SerializationLibrary": library, "Parameters": {"serialization.format": "1"}}
    if schema.format == "json":
        names = {"paths": ",".join(schema.columns)}
        return TEXT, {"SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe", "Parameters": names}
    if schema.serde == "OpenCSVSerDe":
        signs = {"separatorChar": schema.delimiter, "quoteChar": schema.quote or '"'}
        return TEXT, {"SerializationLibrary": OPEN_CSV, "Parameters": signs}
    return TEXT, {"SerializationLibrary": LAZY, "Parameters": {"field.delim": schema.delimiter}}
