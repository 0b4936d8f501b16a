"""Glue's API: which operation is answered by whom."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web
from botocore.exceptions import BotoCoreError, ClientError

from emulator.gateway.local import Context, ServiceError, answer
from emulator.gateway.settings import GatewaySettings
from emulator.glue.clients import Clients, code_of
from emulator.glue.crawlers import Crawlers
from emulator.glue.definitions import CRAWLER, JOB, TRIGGER, WORKFLOW, Definitions, Kind
from emulator.glue.jobs import Jobs
from emulator.glue.paging import page
from emulator.glue.schedules import Schedule
from emulator.glue.settings import GlueSettings
from emulator.glue.tables import Tables
from emulator.glue.workflows import Workflows
from emulator.store import Store

THREADS = 16

Request = dict[str, Any]
Operation = Callable[[Context, Request], dict[str, Any]]


class Body(dict[str, Any]):
    """A request's body, which says what is missing in it."""

    def __missing__(self, name: str) -> Any:  # noqa: ANN401
        raise ServiceError("InvalidInputException", f"{name} is missing")


class GlueService:
    """Answers the operations of Glue that emulators do not do, or not as AWS does.

    Args:
        settings: How jobs are run here.
        gateway: Where the emulators behind are.
    """

    def __init__(self, settings: GlueSettings, gateway: GatewaySettings) -> None:
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if gateway.state_dir is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="glue-")
        folder = Path(self._scratch.name) if self._scratch else gateway.state_dir.resolve() / "glue"  # type: ignore[union-attr]
        folder.mkdir(parents=True, exist_ok=True)
        routes = gateway.routes()
        s3 = settings.s3_endpoint or str(routes.upstream("s3").url)
        endpoint = settings.endpoint or f"http://127.0.0.1:{gateway.gateway_port}"
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="glue")
        self._store = Store(folder / "glue.sqlite")
        clients = Clients(routes)
        self._definitions = Definitions(clients, self._store)
        self._tables = Tables(clients, self._store)
        self._jobs = Jobs(
            settings,
            endpoint=endpoint,
            s3_endpoint=s3,
            clients=clients,
            store=self._store,
            folder=folder,
            job=self._job,
        )
        self._crawlers = Crawlers(self._definitions, self._tables, clients, s3, self._store)
        self._workflows = Workflows(
            self._definitions,
            self._jobs,
            self._store,
            start_crawl=self._crawlers.start,
            stop_crawl=self._crawlers.stop_crawler,
            crawls=self._crawlers.crawls,
        )
        self._jobs.ended = self._workflows.job_ended
        self._crawlers.ended = self._workflows.crawl_ended
        self._operations = self._table_of_operations()
        self.operations = frozenset(self._operations)

    async def start(self) -> None:
        """Take up what is kept, and watch the clock."""
        self._jobs.recover()
        self._crawlers.recover()
        self._workflows.open()

    async def close(self) -> None:
        """Stop all runs and crawls; nothing of them is left."""
        for part in (self._workflows, self._jobs, self._crawlers):
            await asyncio.to_thread(part.close)
        self._threads.shutdown()
        self._store.close()
        if self._scratch:
            self._scratch.cleanup()

    async def handle(self, operation: str, body: Request, context: Context) -> web.Response:
        """Answer an operation.

        Raises:
            ServiceError: It is refused, by us or by the emulator behind.
            ConnectionError: The emulator behind cannot be reached.
        """
        loop = asyncio.get_running_loop()
        try:
            done = await loop.run_in_executor(self._threads, self._operations[operation], context, Body(body))
        except ClientError as error:
            about = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", HTTPStatus.BAD_REQUEST)
            raise ServiceError(code_of(error), str(about.get("Message", "")), status) from error
        except BotoCoreError as error:
            raise ConnectionError(str(error)) from error
        return answer(done)

    def _job(self, context: Context, name: str) -> dict[str, Any]:
        return self._definitions.get(JOB, context, name)

    def _table_of_operations(self) -> dict[str, Operation]:
        jobs, crawlers, flows, tables = self._jobs, self._crawlers, self._workflows, self._tables
        table: dict[str, Operation] = {
            # runs of jobs
            "StartJobRun": lambda c, r: {"JobRunId": jobs.start(c, r)["Id"]},
            "GetJobRun": lambda c, r: {"JobRun": jobs.run(c, r["JobName"], r["RunId"])},
            "GetJobRuns": lambda c, r: page("JobRuns", jobs.runs(c, r["JobName"]), r),
            "BatchStopJobRun": lambda c, r: jobs.stop(c, r["JobName"], r["JobRunIds"]),
            "DeleteJob": self._delete_job,
            # workflows and triggers
            "CreateTrigger": flows.create_trigger,
            "UpdateTrigger": flows.update_trigger,
            "DeleteTrigger": flows.delete_trigger,
            "StartTrigger": flows.start_trigger,
            "StopTrigger": flows.stop_trigger,
            "GetWorkflow": flows.get_workflow,
            "DeleteWorkflow": flows.delete_workflow,
            "StartWorkflowRun": flows.start,
            "StopWorkflowRun": flows.stop,
            "GetWorkflowRun": flows.get_run,
            "GetWorkflowRuns": flows.get_runs,
            "GetWorkflowRunProperties": flows.properties,
            "PutWorkflowRunProperties": flows.put_properties,
            # crawlers
            "CreateCrawler": self._create_crawler,
            "UpdateCrawler": self._update_crawler,
            "DeleteCrawler": self._delete_crawler,
            "StartCrawler": crawlers.start_crawler,
            "StopCrawler": crawlers.stop_crawler,
            "GetCrawler": lambda c, r: {"Crawler": crawlers.get(c, r["Name"])},
            "GetCrawlers": lambda c, r: page("Crawlers", self._all_crawlers(c), r),
            "BatchGetCrawlers": self._batch_crawlers,
            "ListCrawls": crawlers.list_crawls,
            "GetCrawlerMetrics": crawlers.metrics,
            # the catalogue
            "CreateTable": tables.create,
            "UpdateTable": tables.update,
            "DeleteTable": tables.delete,
            "GetTable": tables.get,
            "BatchDeleteTable": tables.delete_batch,
            "DeleteDatabase": tables.delete_database,
            "GetDatabases": tables.databases,
            "GetTables": tables.tables,
            "GetTableVersions": tables.versions,
            "GetTableVersion": tables.version,
            "DeleteTableVersion": tables.delete_version,
            "BatchDeleteTableVersion": tables.delete_versions,
            "GetPartitions": tables.list_partitions,
            "UpdatePartition": tables.update_partition,
            "BatchDeletePartition": tables.delete_partitions,
        }
        for kind in (JOB, CRAWLER, TRIGGER, WORKFLOW):
            for name, operation in self._of_definitions(kind).items():
                table.setdefault(name, operation)
        return table

    def _of_definitions(self, kind: Kind) -> dict[str, Operation]:
        """The operations that all kinds of definitions have."""
        keep = self._definitions

        def several(context: Context, request: Request) -> dict[str, Any]:
            names = request[f"{kind.name}Names"]
            there = [one for one in keep.all(kind, context) if one["Name"] in names]
            missing = [name for name in names if name not in {one["Name"] for one in there}]
            lost = "MissingWorkflows" if kind is WORKFLOW else f"{kind.plural}NotFound"
            return {kind.plural: there, lost: missing}

        def some(context: Context, request: Request) -> list[dict[str, Any]]:
            job = request.get("DependentJobName")
            found = keep.all(kind, context)
            return [one for one in found if not job or any(a.get("JobName") == job for a in one["Actions"])]

        def names(context: Context, request: Request) -> dict[str, Any]:
            listed = f"{kind.name}Names" if kind in (JOB, CRAWLER, TRIGGER) else kind.plural
            return page(listed, sorted(one["Name"] for one in some(context, request)), request)

        return {
            f"Create{kind.name}": lambda c, r: keep.create(kind, c, r),
            f"Update{kind.name}": lambda c, r: keep.update(kind, c, r),
            f"Get{kind.name}": lambda c, r: {kind.name: keep.get(kind, c, r.get(kind.key) or "")},
            f"Get{kind.plural}": lambda c, r: page(kind.listed, some(c, r), r),
            f"BatchGet{kind.plural}": several,
            f"List{kind.plural}": names,
        }

    def _delete_job(self, context: Context, request: Request) -> dict[str, Any]:
        self._jobs.forget(context, request["JobName"])
        return self._definitions.delete(JOB, context, request)

    def _create_crawler(self, context: Context, request: Request) -> dict[str, Any]:
        if schedule := request.get("Schedule"):
            Schedule(schedule)
        done = self._definitions.create(CRAWLER, context, request)
        self._workflows.schedule(context, CRAWLER.name, request["Name"], request.get("Schedule"))
        return done

    def _update_crawler(self, context: Context, request: Request) -> dict[str, Any]:
        if schedule := request.get("Schedule"):
            Schedule(schedule)
        done = self._crawlers.update(context, request)
        if "Schedule" in request:
            self._workflows.schedule(context, CRAWLER.name, request["Name"], request["Schedule"])
        return done

    def _delete_crawler(self, context: Context, request: Request) -> dict[str, Any]:
        done = self._crawlers.delete(context, request)
        self._workflows.schedule(context, CRAWLER.name, request["Name"], None)
        return done

    def _all_crawlers(self, context: Context) -> list[dict[str, Any]]:
        return [self._crawlers.shown(context, one) for one in self._definitions.all(CRAWLER, context)]

    def _batch_crawlers(self, context: Context, request: Request) -> dict[str, Any]:
        found = [one for one in self._all_crawlers(context) if one["Name"] in request["CrawlerNames"]]
        there = {one["Name"] for one in found}
        return {
            "Crawlers": found,
            "CrawlersNotFound": [name for name in request["CrawlerNames"] if name not in there],
        }
