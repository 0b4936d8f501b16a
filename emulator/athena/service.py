"""The API of Athena: https://docs.aws.amazon.com/athena/latest/APIReference/.

Operations that are not in :attr:`AthenaService.operations` (workgroups, named queries, tags, prepared
statements, ...) are left to the emulator behind the gateway.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web
from sqlglot import exp

from emulator.athena import results, statements, syntax, words
from emulator.athena.errors import QueryFailedError, RequestRefusedError
from emulator.athena.executions import Execution, Executions, Limits, digest, scope_of
from emulator.gateway.local import Context, ServiceError, answer
from emulator.gateway.upstreams import Upstreams

CATALOG = "AwsDataCatalog"
PAGE = 50
ENGINE = "Athena engine version 3"
Value = Any  # of JSON


class AthenaService:
    """Answers requests.

    Args:
        upstreams: The services behind the gateway.
        state: Folder in which executions and their results are kept; None: until the gateway ends.
        limits: What queries may use.
    """

    def __init__(self, upstreams: Upstreams, state: Path | None = None, limits: Limits | None = None) -> None:
        self._upstreams = upstreams
        self._call = upstreams.call
        self._state = state.resolve() / "athena" if state else None
        self._limits = limits or Limits.from_environment()
        self._running: Executions | None = None
        self._operations: dict[str, Callable[[Context, dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "StartQueryExecution": self._start,
            "GetQueryExecution": self._get,
            "BatchGetQueryExecution": self._batch_get,
            "GetQueryResults": self._results,
            "GetQueryRuntimeStatistics": self._runtime_statistics,
            "StopQueryExecution": self._stop,
            "ListQueryExecutions": self._list,
            "UpdatePreparedStatement": self._update_prepared,
            "BatchGetPreparedStatement": self._batch_get_prepared,
            "GetWorkGroup": self._get_workgroup,
            "GetDataCatalog": self._get_catalog,
            "ListDataCatalogs": self._list_catalogs,
            "GetDatabase": self._get_database,
            "ListDatabases": self._list_databases,
            "GetTableMetadata": self._get_table,
            "ListTableMetadata": self._list_tables,
        }
        self.operations = frozenset(self._operations)

    async def start(self) -> None:
        """Take up what is kept; workers are started with the first query."""
        self._running = Executions(self._upstreams.addresses, self._limits, self._state)

    async def close(self) -> None:
        """End what runs."""
        if self._running is not None:
            await self._running.close()
        await self._upstreams.close()

    async def handle(self, operation: str, body: dict[str, Any], context: Context) -> web.Response:
        """Answer a request.

        Raises:
            ServiceError: Nobody has signed it.
        """
        if not context.signed:
            raise ServiceError(
                "MissingAuthenticationTokenException", "Missing Authentication Token", HTTPStatus.FORBIDDEN
            )
        try:
            return answer(await self._operations[operation](context, body))
        except RequestRefusedError as error:
            code = {"AthenaErrorCode": error.code} if error.code else {}
            said = {"__type": error.kind, "message": error.message, "Message": error.message}
            return answer(said | code, HTTPStatus.BAD_REQUEST)

    @property
    def _executions(self) -> Executions:
        assert self._running is not None, "start() comes first"  # noqa: S101
        return self._running

    # --- executions --------------------------------------------------------------------------------

    async def _start(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        sql = _required(body, "QueryString")
        if before := self._started(context, body):
            return {"QueryExecutionId": before.id}
        tree = await asyncio.to_thread(syntax.parse, sql)
        execution = await self._execution(context, body, sql, tree)
        # The same request may have come twice at once; between here and the start nothing else runs.
        if before := self._started(context, body):
            return {"QueryExecutionId": before.id}
        self._executions.start(execution)
        return {"QueryExecutionId": execution.id}

    def _started(self, context: Context, body: dict[str, Any]) -> Execution | None:
        """The execution that a request's token has started already."""
        before = self._executions.of_token(context, body.get("ClientRequestToken"))
        if before and before.request != digest(body):
            raise RequestRefusedError("Idempotent parameters do not match", "INVALID_INPUT")
        return before

    async def _execution(self, context: Context, body: dict[str, Any], sql: str, tree: exp.Expr) -> Execution:
        name = body.get("WorkGroup") or "primary"
        group = await self._workgroup(context, name)
        settings = group.get("Configuration", {})
        own = body.get("ResultConfiguration") or {}
        result = settings.get("ResultConfiguration") or {}
        if not settings.get("EnforceWorkGroupConfiguration", False):
            result = result | own
        output = result.get("OutputLocation")
        if not output:
            raise RequestRefusedError(
                "No output location provided. An output location is required either through the Workgroup "
                "result configuration setting or as an API input.",
                "INVALID_INPUT",
            )
        if not output.startswith("s3://"):
            raise RequestRefusedError(
                f"The output location {output!r} is not a location on S3 (s3://bucket/...)", "INVALID_INPUT"
            )
        place = body.get("QueryExecutionContext") or {}
        if (catalog := place.get("Catalog") or CATALOG).lower() != CATALOG.lower():
            raise RequestRefusedError(f"Catalog '{catalog}' is not there: only {CATALOG} is", "INVALID_INPUT")
        parameters = list(body.get("ExecutionParameters") or ())
        run_sql, kind = sql, statements.kind_of(tree)
        if isinstance(tree, exp.Command):
            run_sql, parameters = await self._prepared(context, tree, sql, name, parameters)
        execution = Execution(
            access_key=context.access_key,
            region=context.region,
            token=body.get("ClientRequestToken") or "",
            request=digest(body),
            sql=sql,
            run_sql=run_sql,
            database=(place.get("Database") or "default").strip('`"').lower(),
            catalog=catalog,
            parameters=parameters,
            given_parameters=list(body.get("ExecutionParameters") or ()),
            output=output,
            workgroup=name,
            engine={"SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": ENGINE},
            kind=kind,
            cutoff=int(settings.get("BytesScannedCutoffPerQuery") or 0),
            reuse=body.get("ResultReuseConfiguration") or {},
            configuration={key: value for key, value in result.items() if key != "OutputLocation"},
        )
        if before := self._reusable(execution):
            execution.reused, execution.answer = before.id, before.answer
        return execution

    async def _prepared(
        self, context: Context, tree: exp.Expr, sql: str, group: str, given: list[str]
    ) -> tuple[str, list[str]]:
        """What is run for PREPARE, EXECUTE and DEALLOCATE, which are about the API's prepared statements."""
        word = str(tree.this).split()[0].upper()
        try:
            if word == "EXECUTE":
                name, parameters = words.execute(words.Words(sql))
                status, answer = await self._call(
                    "athena", "GetPreparedStatement", {"StatementName": name, "WorkGroup": group}, context
                )
                if status != 200:
                    raise RequestRefusedError(
                        f"PreparedStatement {name} was not found in workGroup {group}", "INVALID_INPUT"
                    )
                return answer["PreparedStatement"]["QueryStatement"], parameters or given
            if word == "PREPARE":
                name, text = words.prepare(words.Words(sql))
                entry = {"StatementName": name, "WorkGroup": group, "QueryStatement": text}
                await self._call("athena", "DeletePreparedStatement", entry, context)
                await self._ask(context, "CreatePreparedStatement", entry)
                return "SHOW SCHEMAS LIKE '-'", []
            if word == "DEALLOCATE":
                entry = {"StatementName": sql.rsplit(maxsplit=1)[-1].rstrip(";"), "WorkGroup": group}
                await self._call("athena", "DeletePreparedStatement", entry, context)
                return "SHOW SCHEMAS LIKE '-'", []
        except QueryFailedError as error:
            raise RequestRefusedError(error.message, "MALFORMED_QUERY") from error
        return sql, given

    async def _get_workgroup(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        """What the emulator behind knows, with what AWS says of every workgroup."""
        answer = await self._ask(context, "GetWorkGroup", body)
        group = answer["WorkGroup"]
        group["Configuration"] = _configuration(group)
        return answer

    async def _workgroup(self, context: Context, name: str) -> dict[str, Any]:
        status, answer = await self._call("athena", "GetWorkGroup", {"WorkGroup": name}, context)
        group = answer.get("WorkGroup") or {}
        if status != 200:
            if name == "primary":
                return {}
            raise RequestRefusedError(f"WorkGroup {name} is not found.", "INVALID_INPUT")
        if group.get("State") == "DISABLED":
            raise RequestRefusedError(f"WorkGroup {name} is disabled.", "INVALID_INPUT")
        return dict(group) | {"Configuration": _configuration(group)}

    def _reusable(self, new: Execution) -> Execution | None:
        """The execution whose result a new one may take over."""
        wanted = new.reuse.get("ResultReuseByAgeConfiguration") or {}
        if not wanted.get("Enabled") or new.kind != ("DML", "SELECT"):
            return None
        oldest = time.time() - 60 * int(wanted.get("MaxAgeInMinutes", 60))
        for old in self._executions.newest_first(new.scope):
            same = (old.run_sql, old.database, old.parameters, old.workgroup) == (
                new.run_sql,
                new.database,
                new.parameters,
                new.workgroup,
            )
            if same and old.state == "SUCCEEDED" and not old.reused and (old.completed or 0) >= oldest:
                return old
        return None

    def _known(self, context: Context, body: dict[str, Any]) -> Execution:
        id_ = _required(body, "QueryExecutionId")
        if (execution := self._executions.get(context, id_)) is None:
            raise RequestRefusedError(f"QueryExecution {id_} was not found", "INVALID_QUERY_EXECUTION_ID")
        return execution

    async def _get(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        return {"QueryExecution": description(self._known(context, body))}

    async def _batch_get(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        found = {id_: self._executions.get(context, id_) for id_ in _required(body, "QueryExecutionIds")}
        return {
            "QueryExecutions": [description(execution) for execution in found.values() if execution],
            "UnprocessedQueryExecutionIds": [
                {
                    "QueryExecutionId": id_,
                    "ErrorCode": "INVALID_QUERY_EXECUTION_ID",
                    "ErrorMessage": f"QueryExecution {id_} was not found",
                }
                for id_, execution in found.items()
                if execution is None
            ],
        }

    async def _stop(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        self._executions.stop(self._known(context, body))
        return {}

    async def _list(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        group = body.get("WorkGroup") or "primary"
        newest = self._executions.newest_first(scope_of(context))
        ids = [execution.id for execution in newest if execution.workgroup == group]
        found, more = _page(ids, body)
        return {"QueryExecutionIds": found} | more

    async def _results(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        execution = self._known(context, body)
        if execution.state != "SUCCEEDED":
            why = (
                "has not finished"
                if not execution.is_done
                else f"did not finish successfully. Final query state: {execution.state}"
            )
            tail = (
                f"Query {why}. Current state: {execution.state}" if not execution.is_done else f"Query {why}"
            )
            raise RequestRefusedError(
                tail, "INVALID_QUERY_STATE" if not execution.is_done else "INVALID_INPUT"
            )
        limit = min(int(body.get("MaxResults") or results.PAGE_ROWS), results.PAGE_ROWS)
        try:
            start = int(body.get("NextToken") or 0)
        except ValueError:
            raise RequestRefusedError("NextToken is not valid", "INVALID_INPUT") from None
        spool = self._executions.spool(execution)
        rows, after = await asyncio.to_thread(results.page, spool, start, max(1, limit))
        answer: dict[str, Any] = {
            "ResultSet": {
                "Rows": [
                    {"Data": [{} if value is None else {"VarCharValue": value} for value in row]}
                    for row in rows
                ],
                "ResultSetMetadata": {"ColumnInfo": results.column_info(execution.answer["columns"])},
            },
            "UpdateCount": execution.answer.get("update_count") or 0,
        }
        return answer | ({"NextToken": str(after)} if after is not None else {})

    async def _runtime_statistics(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        execution = self._known(context, body)
        known = statistics(execution)
        return {
            "QueryRuntimeStatistics": {
                "Timeline": {
                    "QueryQueueTimeInMillis": known["QueryQueueTimeInMillis"],
                    "QueryPlanningTimeInMillis": known.get("QueryPlanningTimeInMillis", 0),
                    "EngineExecutionTimeInMillis": known.get("EngineExecutionTimeInMillis", 0),
                    "ServiceProcessingTimeInMillis": known.get("ServiceProcessingTimeInMillis", 0),
                    "TotalExecutionTimeInMillis": known["TotalExecutionTimeInMillis"],
                },
                "Rows": {
                    "OutputRows": execution.answer.get("rows", 0),
                    "InputBytes": known["DataScannedInBytes"],
                },
            }
        }

    async def _update_prepared(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        wanted = {key: _required(body, key) for key in ("StatementName", "WorkGroup")}
        await self._ask(context, "GetPreparedStatement", wanted)
        await self._call("athena", "DeletePreparedStatement", wanted, context)
        return await self._ask(context, "CreatePreparedStatement", body)

    async def _batch_get_prepared(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        found, missing = [], []
        for name in _required(body, "PreparedStatementNames"):
            wanted = {"StatementName": name, "WorkGroup": body.get("WorkGroup") or "primary"}
            status, answer = await self._call("athena", "GetPreparedStatement", wanted, context)
            if status == 200:
                found.append(answer["PreparedStatement"])
            else:
                reason = f"PreparedStatement {name} was not found"
                missing.append(
                    {"StatementName": name, "ErrorCode": "RESOURCE_NOT_FOUND", "ErrorMessage": reason}
                )
        return {"PreparedStatements": found, "UnprocessedPreparedStatementNames": missing}

    async def _ask(self, context: Context, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer of the emulator behind to an operation of Athena's; its refusal is passed on."""
        status, answer = await self._call("athena", operation, body, context)
        if status != 200:
            kind = str(answer.get("__type") or "InvalidRequestException").rpartition("#")[2]
            raise RequestRefusedError(
                str(answer.get("message") or answer.get("Message") or answer), kind=kind
            )
        return answer

    # --- the catalogue -----------------------------------------------------------------------------

    async def _get_catalog(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        _only_catalog({"CatalogName": _required(body, "Name")})
        return {"DataCatalog": {"Name": CATALOG, "Type": "GLUE", "Description": "The Glue Data Catalog"}}

    async def _list_catalogs(self, context: Context, _body: dict[str, Any]) -> dict[str, Any]:
        return {"DataCatalogsSummary": [{"CatalogName": CATALOG, "Type": "GLUE"}]}

    async def _get_database(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        _only_catalog(body)
        name = _required(body, "DatabaseName")
        found = (await self._glue(context, "GetDatabase", {"Name": name}, f"Database {name} not found"))[
            "Database"
        ]
        return {"Database": _database(found)}

    async def _list_databases(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        _only_catalog(body)
        found = [
            _database(item) for item in await self._glue_all(context, "GetDatabases", {}, "DatabaseList")
        ]
        page, more = _page(sorted(found, key=lambda item: item["Name"]), body)
        return {"DatabaseList": page} | more

    async def _get_table(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        _only_catalog(body)
        database, name = _required(body, "DatabaseName"), _required(body, "TableName")
        wanted = {"DatabaseName": database, "Name": name}
        found = await self._glue(
            context, "GetTable", wanted, f"EntityNotFoundException: Table {name} not found"
        )
        return {"TableMetadata": _table(found["Table"])}

    async def _list_tables(self, context: Context, body: dict[str, Any]) -> dict[str, Any]:
        _only_catalog(body)
        wanted = {"DatabaseName": _required(body, "DatabaseName")}
        if body.get("Expression"):
            wanted["Expression"] = body["Expression"]
        found = [_table(item) for item in await self._glue_all(context, "GetTables", wanted, "TableList")]
        page, more = _page(sorted(found, key=lambda item: item["Name"]), body)
        return {"TableMetadataList": page} | more

    async def _glue(
        self, context: Context, operation: str, body: dict[str, Any], missing: str = ""
    ) -> dict[str, Any]:
        status, answer = await self._call("glue", operation, body, context)
        if status != 200:
            raise RequestRefusedError(missing or str(answer.get("message", answer)), kind="MetadataException")
        return answer

    async def _glue_all(
        self, context: Context, operation: str, body: dict[str, Any], key: str
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            answer = await self._glue(context, operation, body | token)
            found += answer.get(key, [])
            if not answer.get("NextToken"):
                return found
            token = {"NextToken": answer["NextToken"]}


def description(execution: Execution) -> dict[str, Any]:
    """``QueryExecution`` of the API."""
    status: dict[str, Any] = {"State": execution.state, "SubmissionDateTime": execution.submitted}
    if execution.reason:
        status["StateChangeReason"] = execution.reason
    if execution.completed:
        status["CompletionDateTime"] = execution.completed
    if execution.error:
        status["AthenaError"] = execution.error
    ending = {"UTILITY": ".txt", "DDL": ".txt"}.get(execution.kind[0], ".csv")
    location = execution.answer.get("location") or f"{execution.output.rstrip('/')}/{execution.id}{ending}"
    found: dict[str, Any] = {
        "QueryExecutionId": execution.id,
        "Query": execution.sql,
        "StatementType": execution.kind[0],
        "SubstatementType": execution.kind[1],
        "ResultConfiguration": {"OutputLocation": location} | execution.configuration,
        "QueryExecutionContext": {"Database": execution.database, "Catalog": execution.catalog.lower()},
        "Status": status,
        "Statistics": statistics(execution),
        "WorkGroup": execution.workgroup,
        "EngineVersion": execution.engine,
    }
    if execution.given_parameters:
        found["ExecutionParameters"] = execution.given_parameters
    if execution.reuse:
        found["ResultReuseConfiguration"] = execution.reuse
    return found


def statistics(execution: Execution) -> dict[str, Any]:
    """``Statistics`` of an execution."""
    answer = execution.answer
    end = execution.completed or time.time()
    begun = execution.started or end
    found: dict[str, Any] = {
        "DataScannedInBytes": 0 if execution.reused else answer.get("scanned", 0),
        "TotalExecutionTimeInMillis": round((end - execution.submitted) * 1000),
        "QueryQueueTimeInMillis": round((begun - execution.submitted) * 1000),
        "ResultReuseInformation": {"ReusedPreviousResult": bool(execution.reused)},
    }
    if "engine_ms" in answer:
        found |= {
            "EngineExecutionTimeInMillis": answer["engine_ms"],
            "QueryPlanningTimeInMillis": answer["planning_ms"],
            "ServiceProcessingTimeInMillis": answer["publishing_ms"],
        }
    if answer.get("manifest"):
        found["DataManifestLocation"] = answer["manifest"]
    return found


def _required(body: dict[str, Any], key: str) -> Value:
    if not body.get(key):
        raise RequestRefusedError(
            f"1 validation error detected: Value at '{key[0].lower()}{key[1:]}' failed to satisfy "
            "constraint: Member must not be null",
            "INVALID_INPUT",
        )
    return body[key]


def _configuration(group: dict[str, Any]) -> dict[str, Any]:
    """A workgroup's settings, with AWS's defaults where it has none."""
    defaults = {
        "ResultConfiguration": {},
        "EnforceWorkGroupConfiguration": group.get("Name") != "primary",
        "PublishCloudWatchMetricsEnabled": False,
        "RequesterPaysEnabled": False,
        "EngineVersion": {"SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": ENGINE},
    }
    return defaults | (group.get("Configuration") or {})


def _only_catalog(body: dict[str, Any]) -> None:
    name = body.get("CatalogName") or CATALOG
    if name.lower() != CATALOG.lower():
        raise RequestRefusedError(f"DataCatalog {name} was not found", "INVALID_INPUT")


def _page(items: list[Any], body: dict[str, Any]) -> tuple[list[Any], dict[str, str]]:
    try:
        start = int(body.get("NextToken") or 0)
    except ValueError:
        raise RequestRefusedError("NextToken is not valid", "INVALID_INPUT") from None
    end = start + max(1, int(body.get("MaxResults") or PAGE))
    return items[start:end], {"NextToken": str(end)} if end < len(items) else {}


def _database(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in ("Name", "Description", "Parameters") if found.get(key)}


def _table(found: dict[str, Any]) -> dict[str, Any]:
    storage = found.get("StorageDescriptor") or {}
    serde = storage.get("SerdeInfo") or {}
    described = {
        "location": storage.get("Location"),
        "inputformat": storage.get("InputFormat"),
        "outputformat": storage.get("OutputFormat"),
        "serde.serialization.lib": serde.get("SerializationLibrary"),
    } | {f"serde.param.{key}": value for key, value in (serde.get("Parameters") or {}).items()}
    parameters = (found.get("Parameters") or {}) | {key: value for key, value in described.items() if value}

    def columns(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: item[key] for key in ("Name", "Type", "Comment") if item.get(key)} for item in items]

    return {
        "Name": found["Name"],
        "TableType": found.get("TableType") or "EXTERNAL_TABLE",
        "Columns": columns(storage.get("Columns") or []),
        "PartitionKeys": columns(found.get("PartitionKeys") or []),
        "Parameters": parameters,
    } | {key: found[key] for key in ("CreateTime", "LastAccessTime") if found.get(key)}
