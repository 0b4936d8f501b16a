"""Lineage of a run as OpenLineage events: which job read and wrote what, column by column.

One job per entity and mart, and one for the run as their parent; each tells when it starts and how it
ends. The events are https://openlineage.io/spec/2-0-2/OpenLineage.json, made and sent by its own client,
which also reads its own variables (``OPENLINEAGE_URL``, ``OPENLINEAGE_CONFIG``, ...) and ``openlineage.yml``.
Where nothing of these is set, a local run appends them to ``.finlake/openlineage.jsonl``.

All is done by a thread beside the run: to import the client, to build events and to send them. What goes
wrong there is one warning in the run's report, and a backend that does not answer is not waited for.

Where columns come from is what contracts say, and for marts what :mod:`pipeline.gold.lineage` has.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from contracts import Contract
from pipeline.errors import FinlakeError
from pipeline.gold import Mart
from pipeline.gold.lineage import INDIRECT, mart_lineage
from pipeline.gold.mart import input_uri
from pipeline.ledger import BRONZE, Batch, RowCount
from pipeline.settings import Settings, find_home
from pipeline.silver import QUARANTINE_COLUMNS, silver_tables
from pipeline.storage import parts, read_bytes
from pipeline.tables import TableColumn, table_version

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent
    from openlineage.client.facet_v2 import DatasetFacet, OutputDatasetFacet, column_lineage_dataset

FILE_NAME = "openlineage.jsonl"
CLOSE_SECONDS = 2.0  # what a run waits for events that are still on their way
PACKAGE = "openlineage"
START, COMPLETE, FAIL = "START", "COMPLETE", "FAIL"

Counts = Sequence[RowCount]


@dataclass(frozen=True)
class Origin:
    """Which run an event is of.

    Attributes:
        settings: Names the jobs, and where the tables are.
        run_id: finlake's id of the run.
    """

    settings: Settings
    run_id: str


class Lineage:
    """The events of one run. No method raises anything of its own; see :meth:`close`.

    Args:
        settings: Names the jobs, and where the tables are.
        run_id: finlake's id of the run.
    """

    def __init__(self, settings: Settings, run_id: str) -> None:
        self._origin = Origin(settings, run_id)
        self._waiting: SimpleQueue[Callable[[], RunEvent] | None] = SimpleQueue()
        self._problem: str | None = None
        self._thread = Thread(target=self._send, name=PACKAGE, daemon=True)
        self._thread.start()
        self._at(lambda when: run_event(START, when, self._origin))

    @contextmanager
    def batch(self, batch: Batch, contract: Contract) -> Iterator[Callable[[Batch, Counts], None]]:
        """A block that loads a batch. When all is written, it calls what it gets with batch and counts."""
        self._at(lambda when: batch_event(START, when, batch, contract, self._origin))

        def finished(done: Batch, counts: Counts) -> None:
            self._at(lambda when: batch_event(COMPLETE, when, done, contract, self._origin, counts=counts))

        with self._failing(
            lambda when, why: batch_event(FAIL, when, batch, contract, self._origin, error=why)
        ):
            yield finished

    @contextmanager
    def mart(self, mart: Mart, versions: dict[str, int]) -> Iterator[None]:
        """A block that builds a mart from these versions of Silver."""
        common = (mart, versions, self._origin)
        self._at(lambda when: mart_event(START, when, *common))
        with self._failing(lambda when, why: mart_event(FAIL, when, *common, error=why)):
            yield
        self._at(lambda when: mart_event(COMPLETE, when, *common))

    def close(self, error: str | None) -> list[str]:
        """Tell how the run ended, and give the events that are on their way a moment.

        Returns:
            A warning when not all events could be sent, otherwise nothing.
        """
        state = FAIL if error else COMPLETE
        self._at(lambda when: run_event(state, when, self._origin, error=error))
        self._waiting.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive() and not self._problem:
            self._problem = "its backend does not answer in time"
        return [f"OpenLineage: events of this run were not sent: {self._problem}"] if self._problem else []

    def _at(self, build: Callable[[datetime], RunEvent]) -> None:
        moment = datetime.now(UTC)
        self._waiting.put(lambda: build(moment))

    @contextmanager
    def _failing(self, build: Callable[[datetime, str], RunEvent]) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            why = error.with_hint if isinstance(error, FinlakeError) else str(error) or type(error).__name__
            self._at(lambda when: build(when, why))
            raise

    def _send(self) -> None:
        """What the thread does: build and send what comes in, until the end or the first failure."""
        client = None
        try:
            client = make_client(self._origin.settings)
        except ModuleNotFoundError as error:
            # Where the client is not installed, as on AWS Glue, nobody wants events, unless told otherwise.
            if any(name.startswith("OPENLINEAGE_") for name in os.environ):
                self._problem = (
                    f"the package {error.name!r} is not installed (pip install openlineage-python)"
                )
        except Exception as error:
            self._problem = _in_short(error)
        while (build := self._waiting.get()) is not None:
            if client is None or self._problem:
                continue
            try:
                client.emit(build())
            except Exception as error:
                self._problem = _in_short(error)


def make_client(settings: Settings) -> OpenLineageClient | None:
    """OpenLineage's client as its own variables and files say, or else one that writes into ``.finlake``.

    Returns:
        None when there is nowhere to send events to.

    Raises:
        ModuleNotFoundError: OpenLineage's client is not installed.
        Exception: Whatever the client says about variables or files that it cannot use.
    """
    if "OPENLINEAGE_CLIENT_LOGGING" not in os.environ:
        logging.getLogger(PACKAGE).setLevel(logging.CRITICAL)  # what goes wrong is said once, in the report
    from openlineage.client import OpenLineageClient
    from openlineage.client.transport.file import FileConfig, FileTransport

    # It would add the Git repository that the command is run in, which is not where a job's code is from.
    config = {"facets": {"source_code_location": {"disabled": True}}}
    client = OpenLineageClient(config=config)
    if client.transport.kind == "noop":
        return None
    if client.config.transport:
        return client
    home = find_home() if settings.env == "local" else None
    if home is None:
        return None
    file = FileTransport(FileConfig(log_file_path=str(home / FILE_NAME), append=True))
    return OpenLineageClient(transport=file, config=config)


def run_event(state: str, moment: datetime, origin: Origin, *, error: str | None = None) -> RunEvent:
    """Event of a whole run, the parent of all others."""
    return _event(state, moment, "run", origin, error=error)


def batch_event(
    state: str,
    moment: datetime,
    batch: Batch,
    contract: Contract,
    origin: Origin,
    *,
    counts: Counts = (),
    error: str | None = None,
) -> RunEvent:
    """Event of a batch: Bronze and the parents' Silver tables -> Silver, its history and quarantine.

    Args:
        state: ``START``, ``COMPLETE`` or ``FAIL``. Facets that describe the data come with ``COMPLETE``.
        moment: When it happened.
        batch: The batch.
        contract: Its entity.
        origin: The run that does it, which may not be the one that began it.
        counts: Rows by file and outcome.
        error: Why it failed.
    """
    from openlineage.client.facet_v2 import (
        column_lineage_dataset,
        data_quality_assertions_dataset,
        input_statistics_input_dataset,
    )

    entity, settings, done = contract.entity, origin.settings, state == COMPLETE
    bronze, quarantine = settings.bronze_entity_uri(entity), settings.table_uri("quarantine", entity)
    outcomes = sum((count.outcomes for count in counts), Counter[str]())
    reasons = sum((count.reasons for count in counts), Counter[str]())
    texts = [TableColumn(column.name, "string", column.description) for column in contract.source_columns]
    headers = {name for file in batch.files if file.layout for name in file.layout.header}
    texts += [TableColumn(name, "string", "") for name in batch.additional if name in headers]
    read = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
        rowCount=sum(count.read for count in counts if count.origin == BRONZE),
        size=sum(file.size for file in batch.files),
        fileCount=len(batch.files),
    )
    # Rules that no row broke are not listed: the facet is about what was found.
    broken = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
        [
            data_quality_assertions_dataset.Assertion(
                assertion=reason.partition(":")[0],
                column=reason.partition(":")[2] or None,
                success=False,
                actual=str(rows),
            )
            for reason, rows in sorted(reasons.items())
        ]
    )
    inputs = [
        _input(
            bronze,
            facets={"schema": _schema(texts)} if done else {},
            found={"inputStatistics": read, "dataQualityAssertions": broken} if done else {},
        ),
        *[
            _input(settings.table_uri("silver", parent), facets={"version": _version(number)})
            for parent, number in batch.parent_versions.items()
            if number >= 0
        ],
        *([_input(quarantine, facets={"version": _version(batch.quarantine_version)})]
          if batch.replay_layouts else []),
    ]  # fmt: skip
    columns: dict[str, DatasetFacet] = {
        "columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet(
            fields=_column_lineage(contract, bronze, batch.additional),
            dataset=_row_lineage(contract, settings),
        )
    }
    written = outcomes["inserted"] + outcomes["updated"]
    outputs = [
        *[
            _output(
                settings.table_uri("silver", table.name),
                facets={"schema": _schema(table.columns), **columns} if done else {},
                # How many versions end when others begin is not counted, so a history has no number.
                rows=written if done and table.name == entity else None,
            )
            for table in silver_tables(contract, batch.additional)
        ],
        _output(
            quarantine,
            facets={"schema": _schema(QUARANTINE_COLUMNS)} if done else {},
            rows=outcomes["quarantined"] if done else None,
        ),
    ]
    return _event(
        state,
        moment,
        f"silver.{entity}",
        origin,
        number=batch.number,
        inputs=inputs,
        outputs=outputs,
        error=error,
    )


def mart_event(
    state: str,
    moment: datetime,
    mart: Mart,
    versions: dict[str, int],
    origin: Origin,
    *,
    error: str | None = None,
) -> RunEvent:
    """Event of a mart: these versions of Silver tables -> the mart; arguments as in :func:`batch_event`."""
    done, settings = state == COMPLETE, origin.settings
    uri = settings.table_uri("gold", mart.name)
    inputs = [
        _input(input_uri(name, settings), facets={"version": _version(number)})
        for name, number in versions.items()
    ]
    output = _output(
        uri,
        facets={"schema": _schema(mart.columns), "columnLineage": _mart_lineage(mart, settings)}
        if done
        else {},
        rows=_rows_written(uri) if done else None,
    )
    return _event(state, moment, f"gold.{mart.name}", origin, inputs=inputs, outputs=[output], error=error)


def run_uuid(run_id: str, job: str, number: int | None = None) -> str:
    """OpenLineage's id of a job's run, always the same for finlake's id, the job and the batch's number."""
    return str(uuid5(NAMESPACE_URL, f"urn:finlake:run:{run_id}/{job}/{number or ''}"))


def _event(
    state: str,
    moment: datetime,
    job: str,
    origin: Origin,
    *,
    number: int | None = None,
    inputs: Sequence[InputDataset] = (),
    outputs: Sequence[OutputDataset] = (),
    error: str | None = None,
) -> RunEvent:
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState, set_producer
    from openlineage.client.facet_v2 import RunFacet, error_message_run, job_type_job, parent_run

    set_producer(f"urn:finlake:{version('finlake')}")
    namespace = f"{origin.settings.prefix}-{origin.settings.env}"
    facets: dict[str, RunFacet] = {}
    if job != "run":
        facets["parent"] = parent_run.ParentRunFacet(
            run=parent_run.Run(runId=run_uuid(origin.run_id, "run")), job=parent_run.Job(namespace, "run")
        )
    if error:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(error, programmingLanguage="PYTHON")
    kind = job_type_job.JobTypeJobFacet(
        processingType="BATCH", integration="FINLAKE", jobType="DAG" if job == "run" else "TASK"
    )
    return RunEvent(
        eventType=RunState[state],
        eventTime=moment.isoformat(),
        run=Run(runId=run_uuid(origin.run_id, job, number), facets=facets),
        job=Job(namespace=namespace, name=job, facets={"jobType": kind}),
        inputs=list(inputs),
        outputs=list(outputs),
    )


def dataset_name(uri: str) -> tuple[str, str]:
    """Namespace and name of a folder or table, as https://openlineage.io/docs/spec/naming says.

    >>> dataset_name("s3://bucket/customers"), dataset_name("file:///lake/customers")
    (('s3://bucket', 'customers'), ('file', '/lake/customers'))
    """
    root, key = parts(uri)
    return ("file", key) if root == "file://" else (root, key)


def _input(uri: str, facets: dict[str, Any], found: dict[str, Any] | None = None) -> InputDataset:
    from openlineage.client.event_v2 import InputDataset

    return InputDataset(*dataset_name(uri), facets=facets, inputFacets=found or {})


def _output(uri: str, facets: dict[str, Any], rows: int | None) -> OutputDataset:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    written = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows)
    known: dict[str, OutputDatasetFacet] = {} if rows is None else {"outputStatistics": written}
    return OutputDataset(*dataset_name(uri), facets=facets, outputFacets=known)


def _schema(columns: Sequence[TableColumn]) -> DatasetFacet:
    from openlineage.client.facet_v2 import schema_dataset

    return schema_dataset.SchemaDatasetFacet(
        [schema_dataset.SchemaDatasetFacetFields(each.name, each.type, each.comment) for each in columns]
    )


def _version(number: int) -> DatasetFacet:
    from openlineage.client.facet_v2 import dataset_version_dataset

    return dataset_version_dataset.DatasetVersionDatasetFacet(str(number))


def _column_lineage(
    contract: Contract, bronze: str, additional: Sequence[str] = ()
) -> dict[str, column_lineage_dataset.Fields]:
    """For each column of Silver, the columns of Bronze that its value is made from."""
    from openlineage.client.facet_v2 import column_lineage_dataset as spec

    def fields(names: Sequence[str], description: str, *, masking: bool = False) -> spec.Fields:
        made = spec.Transformation("DIRECT", "TRANSFORMATION", description, masking)
        return spec.Fields([spec.InputField(*dataset_name(bronze), name, [made]) for name in names])

    found = {
        column.name: fields(
            [source.split(".")[1] for source in column.sources] if column.derived else [column.name],
            (column.derivation or "") if column.derived else "cleaned and typed",
        )
        for column in contract.columns
    }
    found |= {name: fields([name], "trimmed") for name in additional}
    names = [*(column.name for column in contract.source_columns), *sorted(additional)]
    return found | {"_row_hash": fields(names, "SHA2-256 over the source columns", masking=True)}


def _row_lineage(contract: Contract, settings: Settings) -> list[column_lineage_dataset.InputField]:
    """Columns that decide which rows are in Silver: keys of parents, the own key, and the version."""
    from openlineage.client.facet_v2 import column_lineage_dataset as spec

    bronze = settings.bronze_entity_uri(contract.entity)
    used = [(bronze, name, "WINDOW") for name in contract.key]
    used.append((bronze, contract.version_column, "SORT"))
    for column in contract.parents:
        used.append((bronze, column.name, "JOIN"))
        parent = settings.table_uri("silver", str(column.parent_entity))
        used.append((parent, str(column.parent_column), "JOIN"))
    return [
        spec.InputField(*dataset_name(uri), name, [spec.Transformation("INDIRECT", how)])
        for uri, name, how in used
    ]


def _mart_lineage(mart: Mart, settings: Settings) -> DatasetFacet:
    """For each column of a mart, the columns of its inputs; and those that decide which rows count where."""
    from openlineage.client.facet_v2 import column_lineage_dataset as spec

    def field(source: str, ways: Sequence[str]) -> spec.InputField:
        table, _, column = source.rpartition(".")
        made = [spec.Transformation("INDIRECT" if how in INDIRECT else "DIRECT", how) for how in ways]
        return spec.InputField(*dataset_name(input_uri(table, settings)), column, made)

    known = mart_lineage()[mart.name]
    return spec.ColumnLineageDatasetFacet(
        fields={
            name: spec.Fields([field(source, [how]) for source, how in sources.items()])
            for name, sources in known.columns.items()
            if sources
        },
        dataset=[field(source, ways) for source, ways in known.rows.items()],
    )


def _rows_written(uri: str) -> int | None:
    """Rows of the table's newest commit, as Spark has noted them there."""
    commit = read_bytes(f"{uri}/_delta_log/{table_version(uri):020}.json") or b""
    for action in map(json.loads, commit.splitlines()):
        if rows := action.get("commitInfo", {}).get("operationMetrics", {}).get("numOutputRows"):
            return int(rows)
    return None


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
