"""Crawlers: they look at files and Delta tables in S3 and write tables into the catalogue."""

from __future__ import annotations

import logging
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import deltalake
import polars as pl
from botocore.exceptions import BotoCoreError, ClientError
from deltalake.exceptions import DeltaError, TableNotFoundError

from emulator.gateway.local import Context, ServiceError
from emulator.glue import entries, folders, schemas
from emulator.glue.clients import SECRET, Clients, split_uri
from emulator.glue.definitions import CRAWLER, Definitions
from emulator.glue.jobs import scope_of
from emulator.glue.logs import put_lines
from emulator.glue.paging import page
from emulator.glue.tables import Tables
from emulator.store import Store

CRAWL = "crawl"
LOG_GROUP = "/aws-glue/crawlers"
SAMPLE_BYTES = 1024 * 1024
LAST = {"COMPLETED": "SUCCEEDED", "FAILED": "FAILED", "STOPPED": "CANCELLED"}
SUPPORTED = frozenset({"S3Targets", "DeltaTargets"})

logger = logging.getLogger(__name__)


class StoppedError(Exception):
    """The crawl was stopped."""


class CrawlError(Exception):
    """A target cannot be crawled; the message says why."""


class Crawlers:
    """All crawls of all crawlers.

    Args:
        definitions: Crawlers as they were made.
        tables: The catalogue.
        clients: Clients of the emulators behind.
        s3_endpoint: Address of S3, for libraries of their own kind.
        store: Keeps crawls.
    """

    def __init__(
        self, definitions: Definitions, tables: Tables, clients: Clients, s3_endpoint: str, store: Store
    ) -> None:
        self._definitions = definitions
        self._tables = tables
        self._clients = clients
        self._s3_endpoint = s3_endpoint
        self._store = store
        self._lock = threading.RLock()
        self._active: dict[tuple[str, str], tuple[threading.Event, threading.Thread]] = {}
        self.ended: Callable[[Context, dict[str, Any]], None] = lambda _context, _crawl: None

    def recover(self) -> None:
        """Crawls that were going on when the gateway ended can only be told to have been stopped."""
        for scope, name, identity, crawl in self._store.rows(CRAWL):
            if crawl["State"] == "RUNNING":
                crawl |= {"State": "STOPPED", "EndTime": time.time()}
                self._store.put(CRAWL, scope, name, identity, crawl)

    def close(self) -> None:
        """Stop all crawls."""
        with self._lock:
            active = list(self._active.values())
        for stop, _ in active:
            stop.set()
        for _, thread in active:
            thread.join()

    # --- what clients ask for ------------------------------------------------------------------------

    def start(self, context: Context, name: str, trigger: str = "", workflow: str = "") -> str:
        """Start a crawl; returns its id.

        Raises:
            ServiceError: There is no such crawler, it is running, or it asks for what is not here.
        """
        crawler = self._definitions.get(CRAWLER, context, name)
        check(crawler)
        key = (scope_of(context), name)
        with self._lock:
            if key in self._active:
                raise ServiceError("CrawlerRunningException", f"Crawler with name {name} has already started")
            identity = str(uuid.uuid4())
            crawl: dict[str, Any] = {
                "CrawlId": identity,
                "CrawlerName": name,
                "State": "RUNNING",
                "StartTime": time.time(),
                "LogGroup": LOG_GROUP,
                "LogStream": name,
                "MessagePrefix": identity,
                "_counts": {"created": 0, "updated": 0, "deleted": 0},
            }
            if trigger:
                run, _, run_id = workflow.partition("/")
                crawl |= {"_trigger": trigger, "_workflow": run, "_workflow_run": run_id}
            self._keep(context, crawl)
            stop = threading.Event()
            thread = threading.Thread(target=self._crawl, args=(context, crawler, crawl, stop), daemon=True)
            self._active[key] = (stop, thread)
            thread.start()
        return identity

    def start_crawler(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``StartCrawler``."""
        self.start(context, request["Name"])
        return {}

    def stop_crawler(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``StopCrawler``.

        Raises:
            ServiceError: It is not running.
        """
        name = request["Name"]
        self._definitions.get(CRAWLER, context, name)
        with self._lock:
            active = self._active.get((scope_of(context), name))
            if active is None:
                raise ServiceError("CrawlerNotRunningException", f"Crawler with name {name} is not running")
            if active[0].is_set():
                raise ServiceError("CrawlerStoppingException", f"Crawler with name {name} is stopping")
            active[0].set()
        return {}

    def delete(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``DeleteCrawler``; not while it runs."""
        name = str(request.get("Name") or "")
        if (scope_of(context), name) in self._active:
            raise ServiceError("CrawlerRunningException", f"Crawler with name {name} is running")
        answer = self._definitions.delete(CRAWLER, context, request)
        self._store.delete(CRAWL, scope_of(context), name)
        return answer

    def update(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``UpdateCrawler``; not while it runs."""
        name = str(request.get("Name") or "")
        if (scope_of(context), name) in self._active:
            raise ServiceError("CrawlerRunningException", f"Crawler with name {name} is running")
        return self._definitions.update(CRAWLER, context, request)

    def get(self, context: Context, name: str) -> dict[str, Any]:
        """A crawler with its state and its last crawl."""
        return self.shown(context, self._definitions.get(CRAWLER, context, name))

    def shown(self, context: Context, crawler: dict[str, Any]) -> dict[str, Any]:
        """A crawler's definition, with what it does."""
        crawls = self.crawls(context, crawler["Name"])
        active = self._active.get((scope_of(context), crawler["Name"]))
        crawler["State"] = "READY" if active is None else "STOPPING" if active[0].is_set() else "RUNNING"
        crawler["CrawlElapsedTime"] = 0
        crawler.pop("LastCrawl", None)
        if active and crawls:
            crawler["CrawlElapsedTime"] = int((time.time() - crawls[-1]["StartTime"]) * 1000)
        done = [crawl for crawl in crawls if crawl["State"] in LAST]
        if done:
            names = ("ErrorMessage", "LogGroup", "LogStream", "MessagePrefix", "StartTime")
            last = {name: done[-1][name] for name in names if name in done[-1]}
            crawler["LastCrawl"] = {"Status": LAST[done[-1]["State"]], **last}
        return crawler

    def crawls(self, context: Context, name: str) -> list[dict[str, Any]]:
        """All crawls of a crawler, the oldest first."""
        return self._store.all(CRAWL, scope_of(context), name)

    def list_crawls(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``ListCrawls``, the newest first, by filters on state, id and times."""
        name = str(request.get("CrawlerName") or "")
        self._definitions.get(CRAWLER, context, name)
        found = []
        for crawl in reversed(self.crawls(context, name)):
            if all(_fulfils(crawl, wanted) for wanted in request.get("Filters") or ()):
                hidden = {"CrawlerName"}
                found.append({k: v for k, v in crawl.items() if not k.startswith("_") and k not in hidden})
        return page("Crawls", found, request, most=20)

    def metrics(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``GetCrawlerMetrics``."""
        names = request.get("CrawlerNameList") or [
            crawler["Name"] for crawler in self._definitions.all(CRAWLER, context)
        ]
        found = []
        for name in names:
            crawls = self.crawls(context, name)
            seconds = [crawl["EndTime"] - crawl["StartTime"] for crawl in crawls if "EndTime" in crawl]
            counts = [crawl["_counts"] for crawl in crawls]
            found.append(
                {
                    "CrawlerName": name,
                    "TimeLeftSeconds": 0.0,
                    "StillEstimating": bool(crawls) and crawls[-1]["State"] == "RUNNING",
                    "LastRuntimeSeconds": seconds[-1] if seconds else 0.0,
                    "MedianRuntimeSeconds": statistics.median(seconds) if seconds else 0.0,
                    "TablesCreated": sum(one["created"] for one in counts),
                    "TablesUpdated": sum(one["updated"] for one in counts),
                    "TablesDeleted": sum(one["deleted"] for one in counts),
                }
            )
        return page("CrawlerMetricsList", found, request)

    # --- one crawl -----------------------------------------------------------------------------------

    def _crawl(
        self, context: Context, crawler: dict[str, Any], crawl: dict[str, Any], stop: threading.Event
    ) -> None:
        state, problems = "COMPLETED", []
        lines = [f"BENCHMARK : Running Start Crawl for Crawler {crawler['Name']}"]
        work = _Work(self, context, crawler, counts=crawl["_counts"], stop=stop, lines=lines)
        try:
            problems = work.run()
            state = "FAILED" if problems else "COMPLETED"
        except StoppedError:
            state = "STOPPED"
        except (ClientError, BotoCoreError, ServiceError) as error:
            state, problems = "FAILED", [str(error)]
        except Exception as error:
            logger.exception("the crawl of %s failed", crawler["Name"])
            state, problems = "FAILED", [f"Internal Service Exception: {error}"]
        if problems:
            crawl["ErrorMessage"] = "; ".join(problems)
            lines += [f"ERROR : {problem}" for problem in problems]
        lines.append(f"BENCHMARK : Crawler has finished running and is in state {state}")
        crawl |= {"State": state, "EndTime": time.time()}
        hours = max(crawl["EndTime"] - crawl["StartTime"], 1) / 3600
        crawl["DPUHour"] = round(2 * hours, 5)  # a crawler has two DPUs
        with suppress(ClientError, BotoCoreError):
            said = [f"[{crawl['CrawlId']}] {line}" for line in lines]
            put_lines(self._clients.get(context, "logs"), LOG_GROUP, crawler["Name"], said)
        with self._lock:
            self._keep(context, crawl)
            del self._active[scope_of(context), crawler["Name"]]
        try:
            self.ended(context, crawl)
        except Exception:
            logger.exception("what follows the crawl of %s failed", crawler["Name"])

    def _keep(self, context: Context, crawl: Mapping[str, Any]) -> None:
        self._store.put(CRAWL, scope_of(context), crawl["CrawlerName"], crawl["CrawlId"], crawl)


class _Work:
    """What one crawl does."""

    def __init__(
        self,
        crawlers: Crawlers,
        context: Context,
        crawler: dict[str, Any],
        *,
        counts: dict[str, int],
        stop: threading.Event,
        lines: list[str],
    ) -> None:
        self._tables = crawlers._tables
        self._clients = crawlers._clients
        self._endpoint = crawlers._s3_endpoint
        self._context = context
        self._crawler = crawler
        self._counts = counts
        self._stop = stop
        self._lines = lines
        self._s3 = self._clients.get(context, "s3")
        self._rules = self._csv_rules()
        self._locations: set[str] = set()
        self._database = str(crawler.get("DatabaseName") or "").lower()
        self._before = str(crawler.get("TablePrefix") or "")
        policy = crawler.get("SchemaChangePolicy") or {}
        self._updates = policy.get("UpdateBehavior") != "LOG"
        self._deletes = policy.get("DeleteBehavior") or "DEPRECATE_IN_DATABASE"

    def run(self) -> list[str]:
        """Crawl all targets; returns what went wrong, by target."""
        self._clients.get(self._context, "glue").get_database(Name=self._database)
        problems: list[str] = []
        targets = self._crawler.get("Targets") or {}
        for target in targets.get("S3Targets") or ():
            try:
                self._files(target)
            except CrawlError as error:
                problems.append(str(error))
        for target in targets.get("DeltaTargets") or ():
            for uri in target.get("DeltaTables") or ():
                try:
                    self._delta(uri)
                except CrawlError as error:
                    problems.append(str(error))
        if not problems:  # what could not be looked at is not gone
            self._gone()
        return problems

    # --- files ---------------------------------------------------------------------------------------

    def _files(self, target: Mapping[str, Any]) -> None:
        bucket, prefix = split_uri(str(target["Path"]))
        if prefix and not prefix.endswith("/") and "." not in prefix.rpartition("/")[2]:
            prefix += "/"
        objects = self._objects(bucket, prefix, target.get("Exclusions") or ())
        if size := target.get("SampleSize"):  # files of each folder
            objects = _some_of_each_folder(objects, int(size))
        found: dict[str, schemas.Schema] = {}
        for one in folders.samples(prefix, objects):
            self._go_on()
            try:
                found[one.key] = self._schema(bucket, one)
            except schemas.NotReadableError as error:
                self._lines.append(f"WARN : s3://{bucket}/{one.key} is left out: {error}")
        if objects and not found:
            raise CrawlError(f"no file below s3://{bucket}/{prefix} can be read as CSV, JSON or Parquet")
        root = prefix if prefix.endswith("/") or not prefix else prefix.rpartition("/")[0] + "/"
        readable = [one for one in objects if one.key in found or _kin(one, found)]
        for table in folders.tables(root, readable, found):
            name = folders.table_name(bucket, table.prefix, self._before)
            fresh = entries.file_table(name, self._crawler["Name"], bucket, table)
            present = self._register(fresh)
            self._partitions(bucket, table, present)

    def _objects(self, bucket: str, prefix: str, exclusions: Any) -> list[folders.Object]:  # noqa: ANN401
        found = []
        try:
            for part in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                self._go_on()
                found += [folders.Object(one["Key"], one["Size"]) for one in part.get("Contents") or ()]
        except ClientError as error:
            raise CrawlError(f"s3://{bucket}/{prefix}: {error}") from error
        return [one for one in found if folders.is_data(one, prefix, exclusions)]

    def _schema(self, bucket: str, one: folders.Object) -> schemas.Schema:
        kind, packed = schemas.format_of(one.key)
        if kind == "parquet":
            return self._parquet(bucket, one)
        whole = one.size <= SAMPLE_BYTES
        answer = self._s3.get_object(Bucket=bucket, Key=one.key, Range=f"bytes=0-{SAMPLE_BYTES - 1}")
        data = answer["Body"].read()
        if packed:
            data = schemas.inflated(data, SAMPLE_BYTES)
            whole = whole and len(data) < SAMPLE_BYTES
        if data[:4] == b"PAR1":
            return self._parquet(bucket, one)
        if kind == "json" or (not kind and data.lstrip()[:1] in (b"{", b"[")):
            return schemas.json_schema(data, whole=whole)
        return schemas.csv_schema(data, self._rules, whole=whole)

    def _parquet(self, bucket: str, one: folders.Object) -> schemas.Schema:
        try:
            frame = pl.scan_parquet(
                f"s3://{bucket}/{one.key}",
                storage_options=self._storage(),
                hive_partitioning=False,
                glob=False,
            )
            columns = {
                name.lower(): schemas.polars_type(kind) for name, kind in frame.collect_schema().items()
            }
            rows = int(frame.select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise schemas.NotReadableError(f"not Parquet: {str(error).splitlines()[0]}") from error
        return schemas.Schema("parquet", columns, record_bytes=max(1, one.size // max(1, rows)))

    def _partitions(self, bucket: str, found: folders.Found, table: Mapping[str, Any]) -> None:
        keys = [key["Name"] for key in table.get("PartitionKeys") or ()]
        if len(keys) != len(found.keys):
            if found.keys or keys:
                self._lines.append(
                    f"WARN : {table['Name']} has the partition keys {keys}, not {list(found.keys)}"
                )
            return
        known = {
            tuple(one["Values"])
            for one in self._tables.partitions(self._context, self._database, table["Name"])
        }
        new = [
            entries.partition(table, values, f"s3://{bucket}/{folder}")
            for values, folder in found.partitions.items()
            if values not in known
        ]
        glue = self._clients.get(self._context, "glue")
        for start in range(0, len(new), 100):  # as many as AWS takes at once
            self._go_on()
            glue.batch_create_partition(
                DatabaseName=self._database,
                TableName=table["Name"],
                PartitionInputList=new[start : start + 100],
            )
        if new:
            self._lines.append(f"INFO : {len(new)} partitions added to {table['Name']}")

    # --- Delta ---------------------------------------------------------------------------------------

    def _delta(self, uri: str) -> None:
        self._go_on()
        bucket, prefix = split_uri(uri)
        try:
            table = deltalake.DeltaTable(uri, storage_options=self._storage())
            columns = schemas.delta_columns(table.schema().to_json())
            version = table.version()
            changed = int(table.history(1)[0].get("timestamp") or 0)
        except TableNotFoundError as error:
            raise CrawlError(f"{uri} is no Delta table: it has no log") from error
        except (DeltaError, OSError, ValueError, KeyError) as error:
            raise CrawlError(f"the log of the Delta table {uri} cannot be read: {error}") from error
        name = folders.table_name(bucket, prefix, self._before)
        self._register(
            entries.delta_table(name, self._crawler["Name"], uri, columns, version=version, changed=changed)
        )

    # --- the catalogue -------------------------------------------------------------------------------

    def _register(self, fresh: dict[str, Any]) -> dict[str, Any]:
        """Make or update a table, as the policy says; returns it as it is then."""
        self._go_on()
        location = fresh["StorageDescriptor"]["Location"]
        self._locations.add(location.rstrip("/"))
        present = self._tables.find(self._context, self._database, fresh["Name"])
        if present and _location(present) != location.rstrip("/"):
            fresh["Name"] = folders.other_name(fresh["Name"], location)
            present = self._tables.find(self._context, self._database, fresh["Name"])
        where = {"DatabaseName": self._database}
        if present is None:
            self._tables.create(self._context, {**where, "TableInput": fresh})
            self._counts["created"] += 1
            self._lines.append(f"INFO : Created table {fresh['Name']} in database {self._database}")
            return fresh
        change = entries.updated(present, fresh)
        if change is None:
            return present
        if not self._updates:
            self._lines.append(f"INFO : {fresh['Name']} has changed; by its policy that is only logged")
            return present
        self._tables.update(self._context, {**where, "TableInput": change})
        self._counts["updated"] += 1
        self._lines.append(f"INFO : Updated table {fresh['Name']} in database {self._database}")
        return change

    def _gone(self) -> None:
        """Tables that this crawler has made and whose data it has not found again."""
        if self._deletes == "LOG":
            return
        for table in self._tables.all(self._context, self._database):
            parameters = table.get("Parameters") or {}
            ours = parameters.get(entries.UPDATED_BY) == self._crawler["Name"]
            if not ours or _location(table) in self._locations:
                continue
            if self._deletes == "DELETE_FROM_DATABASE":
                self._tables.delete(self._context, {"DatabaseName": self._database, "Name": table["Name"]})
                self._counts["deleted"] += 1
            elif entries.DEPRECATED_BY not in parameters:
                change = {"DatabaseName": self._database, "TableInput": entries.deprecated(table)}
                self._tables.update(self._context, change)
                self._counts["updated"] += 1

    def _csv_rules(self) -> schemas.CsvRules | None:
        for name in self._crawler.get("Classifiers") or ():
            found = self._clients.get(self._context, "glue").get_classifier(Name=name)["Classifier"]
            if rules := found.get("CsvClassifier"):
                return schemas.CsvRules(
                    rules.get("Delimiter") or "",
                    rules.get("QuoteSymbol") or "",
                    rules.get("ContainsHeader") or "UNKNOWN",
                    tuple(rules.get("Header") or ()),
                    rules.get("Serde") or "",
                )
            raise ServiceError(
                "InvalidInputException", f"the classifier {name} is of a kind not supported here"
            )
        return None

    def _storage(self) -> dict[str, str]:
        return {
            "aws_endpoint_url": self._endpoint,
            "aws_access_key_id": self._context.access_key,
            "aws_secret_access_key": SECRET,
            "aws_region": self._context.region,
            "aws_allow_http": "true",
        }

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise StoppedError


def check(crawler: Mapping[str, Any]) -> None:
    """See that a crawler asks for nothing that is not done here.

    Raises:
        ServiceError: ``InvalidInputException``.
    """
    targets = {kind for kind, wanted in (crawler.get("Targets") or {}).items() if wanted}
    problem = None
    if not targets:
        problem = "the crawler has no targets"
    elif unknown := targets - SUPPORTED:
        problem = f"targets of these kinds are not crawled here: {', '.join(sorted(unknown))}"
    elif (crawler.get("RecrawlPolicy") or {}).get("RecrawlBehavior") == "CRAWL_EVENT_MODE":
        problem = "crawling by events (CRAWL_EVENT_MODE) is not done here"
    elif any(one.get("WriteManifest") for one in (crawler.get("Targets") or {}).get("DeltaTargets") or ()):
        problem = "manifests of Delta tables (WriteManifest) are not written here; use native tables"
    if problem:
        raise ServiceError("InvalidInputException", problem)


def _location(table: Mapping[str, Any]) -> str:
    return str((table.get("StorageDescriptor") or {}).get("Location") or "").rstrip("/")


def _kin(one: folders.Object, found: Mapping[str, schemas.Schema]) -> bool:
    """Whether an object that was not looked into is of a kind with one that was."""
    return schemas.format_of(one.key)[0] in {schemas.format_of(key)[0] for key in found}


def _some_of_each_folder(objects: list[folders.Object], most: int) -> list[folders.Object]:
    counts: dict[str, int] = {}
    kept = []
    for one in objects:
        folder = one.key.rpartition("/")[0]
        counts[folder] = counts.get(folder, 0) + 1
        if counts[folder] <= most:
            kept.append(one)
    return kept


def _fulfils(crawl: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    names = {"CRAWL_ID": "CrawlId", "STATE": "State", "START_TIME": "StartTime", "END_TIME": "EndTime"}
    if wanted.get("FieldName") not in names:
        raise ServiceError("InvalidInputException", f"no filter on {wanted.get('FieldName')} here")
    value = crawl.get(names[wanted["FieldName"]])
    given = wanted.get("FieldValue")
    if isinstance(value, float):
        value, given = value * 1000, float(given or 0)  # AWS gives these times in milliseconds
    if value is None:
        return False
    compare: dict[str, Callable[[Any, Any], bool]] = {
        "GT": lambda a, b: a > b, "GE": lambda a, b: a >= b, "LT": lambda a, b: a < b,
        "LE": lambda a, b: a <= b, "EQ": lambda a, b: a == b, "NE": lambda a, b: a != b,
    }  # fmt: skip
    return compare[wanted.get("FilterOperator") or "EQ"](value, given)
