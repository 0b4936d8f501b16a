"""A run: load what is new into Silver, refresh the Gold marts that this makes stale.

The plan is made without Spark, from listings and the ledger. When nothing is new, Spark is not
started and nothing is written.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from contracts import Contract, load_contracts
from pipeline.catalog import catalog_tables, gold_tables, register, register_views
from pipeline.errors import FinlakeError, NoAnswerError, UsageError, explain
from pipeline.files import ALL_DAYS, Days, gzip_problem, inspect_files
from pipeline.forget_journal import refuse_while_forgetting
from pipeline.gold import MARTS, Mart
from pipeline.gold.mart import input_versions, is_current
from pipeline.history import table_name
from pipeline.layout import COLUMN_NOTES, additional_columns
from pipeline.ledger import QUARANTINE, Batch, BronzeFile, Ledger, RowCount
from pipeline.lock import exclusive, new_run_id
from pipeline.openlineage import Lineage
from pipeline.plan import ALL, GOLD, LAYERS, SILVER, Plan, due_orphans, make_plan, may_release
from pipeline.preview import preview
from pipeline.quality import RuleBrokenError
from pipeline.report import EntityReport, MartReport, RunReport
from pipeline.settings import Settings
from pipeline.silver import ensure_tables, load_batch, silver_tables
from pipeline.snapshots import days_of
from pipeline.storage import etag_of
from pipeline.tables import planned_changes, table_version

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Tables written side by side. More would not be faster on two cores, and costs memory.
PARALLEL = 2
READ_FAILED = "(?:reading file|Path does not exist:|No such file or directory:|File)"

Progress = Callable[[str, str], None]


@dataclass(frozen=True)
class Engine:
    """What every step of a run needs; ``additional`` are the columns that each contract does not know."""

    spark: SparkSession
    settings: Settings
    ledger: Ledger
    run_id: str
    progress: Progress
    additional: dict[str, tuple[str, ...]]
    lineage: Lineage
    confirm_lock: Callable[[str], None]


def run_pipeline(
    settings: Settings,
    *,
    entities: Sequence[str] = (),
    layer: str = ALL,
    dry_run: bool = False,
    replay: Sequence[str] = (),
    days: Days = ALL_DAYS,
    full_refresh: bool = False,
    progress: Progress = lambda _name, _phase: None,
) -> RunReport:
    """Run the pipeline once.

    Args:
        settings: Where the lake is.
        entities: Entities to load; all when empty. Gold is only refreshed when this is empty or
            the layer is ``gold``.
        layer: ``all``, ``silver`` or ``gold``.
        dry_run: Only say what would be done; nothing is written.
        replay: Instead of new files, try quarantined rows again that have one of these reasons.
        days: Load only files of these days of ingestion.
        full_refresh: Build all marts anew, also those that are up to date.
        progress: Called with an entity or mart and what happens to it.

    Raises:
        UsageError: An entity or the layer is unknown, or the days end before they begin.
        FinlakeError: The lake cannot be reached, or another run holds its locks.
    """
    if layer not in LAYERS:
        raise UsageError(f"there is no layer {layer!r}", f"layers are: {', '.join(LAYERS)}")
    if days.first and days.last and days.first > days.last:
        raise UsageError(f"{days.first} is after {days.last}", "--from is the first day, --to the last one")
    begun = time.monotonic()
    contracts = _chosen(entities)
    if entities and layer == ALL:
        layer = SILVER
    if full_refresh and layer == SILVER:
        raise UsageError(
            "a full refresh is of Gold's marts, and this run leaves them alone",
            "finlake run --layer gold --full-refresh",
        )
    if dry_run:
        return _dry_run(contracts, settings, layer, days, full_refresh=full_refresh)
    run_id = new_run_id(settings.instant())
    names = [*(contracts if layer != GOLD else ()), *(["gold"] if layer != SILVER else ())]
    report = RunReport(run_id)
    with exclusive(names, run_id, settings) as confirm_lock:
        refuse_while_forgetting(settings)
        ledger = Ledger(settings)
        additional = _ensure_tables(contracts if layer != GOLD else {}, ledger, settings)
        plan = make_plan(settings, ledger, contracts, layer, replay=replay, days=days)
        report.seconds["plan"] = time.monotonic() - begun
        work = plan.silver_work or plan.marts or full_refresh or may_release(plan, ledger, settings)
        if work:
            _execute(
                plan,
                report,
                ledger,
                settings,
                additional,
                confirm_lock=confirm_lock,
                layer=layer,
                progress=progress,
                full_refresh=full_refresh,
            )
        else:
            report.run_id = None
            report.entities = [EntityReport(entity) for entity in contracts] if layer != GOLD else []
            report.marts = [MartReport(mart.name, "current") for mart in MARTS] if layer != SILVER else []
            _register(settings, additional)
            if layer != SILVER:
                _register_gold(settings)
    for entry in report.entities:
        entry.left = plan.left.get(entry.entity, 0)
    report.seconds["total"] = time.monotonic() - begun
    return report


def _execute(
    plan: Plan,
    report: RunReport,
    ledger: Ledger,
    settings: Settings,
    additional: dict[str, tuple[str, ...]],
    *,
    confirm_lock: Callable[[str], None],
    layer: str,
    progress: Progress,
    full_refresh: bool,
) -> None:
    from pipeline.session import start_session

    run_id = str(report.run_id)
    entry = ledger.start_run(run_id, layer)
    lineage = Lineage(settings, run_id)
    error: str | None = "interrupted"
    can_write = True
    try:
        with ThreadPoolExecutor(max_workers=1) as pool:
            found = dict(additional)
            registering = pool.submit(_register, settings, found)
            clock = time.monotonic()
            progress("spark", "starting")
            spark = start_session()
            engine = Engine(spark, settings, ledger, run_id, progress, additional, lineage, confirm_lock)
            report.seconds["spark_start"] = time.monotonic() - clock
            load_and_refresh(engine, plan, report, layer=layer, full=full_refresh)
            registering.result()
            if additional != found:
                _register(settings, additional)
            if layer != SILVER:
                _register_gold(settings)
        error = "; ".join(report.errors) or None
    except Exception as exception:
        error = str(exception)
        can_write = not isinstance(explain(exception), NoAnswerError)
        raise
    finally:
        if can_write:  # otherwise the run shows as interrupted, as one that was killed
            ledger.finish_run(entry, error)
        report.warnings += lineage.close(error)


def load_and_refresh(engine: Engine, plan: Plan, report: RunReport, *, layer: str, full: bool) -> None:
    """Load entities and bring marts up to date, two at a time, each as soon as all that it reads is there.

    Args:
        engine: What every step needs.
        plan: The entities.
        report: What becomes of each goes there.
        layer: ``all``, ``silver`` or ``gold``.
        full: Build all marts anew.

    Raises:
        NoAnswerError: The storage is gone, so that there is nothing that could go on.
    """
    contracts = plan.contracts if layer != GOLD else {}
    marts = {f"{GOLD}.{mart.name}": mart for mart in MARTS} if layer != SILVER else {}
    loaded: dict[str, EntityReport] = {}
    refreshed: dict[str, MartReport] = {}
    last_parents = engine.ledger.last_parent_versions() if contracts else {}

    def work(name: str) -> None:
        if name in contracts:
            loaded[name] = _load_after(engine, name, plan, last_parents.get(name), loaded)
        else:
            refreshed[name] = _refresh_after(engine, marts[name], refreshed, full=full)

    needs = {name: set(contract.parent_entities) - {name} for name, contract in contracts.items()}
    needs |= {name: set(map(_written_with, mart.inputs)) for name, mart in marts.items()}
    order = TopologicalSorter({name: others & needs.keys() for name, others in needs.items()})
    order.prepare()
    clock = time.monotonic()
    with _workers(engine) as pool:
        running: dict[Future[None], str] = {}
        while order.is_active():
            running |= {pool.submit(work, name): name for name in order.get_ready()}
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                name = running.pop(future)
                order.done(name)
                if name in contracts:
                    report.seconds["silver"] = time.monotonic() - clock
    # Marts that were built beside Silver took no time of their own.
    report.seconds["gold"] = time.monotonic() - clock - report.seconds.setdefault("silver", 0.0)
    report.entities = [loaded[name] for name in contracts]
    report.marts = [refreshed[name] for name in marts]


def _written_with(table: str) -> str:
    """An input of a mart, and for a history the entity that it is written with."""
    return next((entity for entity in load_contracts() if table == table_name(entity)), table)


def _load_after(
    engine: Engine,
    entity: str,
    plan: Plan,
    last_parents: dict[str, int] | None,
    loaded: Mapping[str, EntityReport],
) -> EntityReport:
    """Load an entity, unless one of its parents failed in the same run."""
    parents = plan.contracts[entity].parent_entities
    if failed := [name for name in parents if name in loaded and loaded[name].error]:
        return EntityReport(entity, error=f"not loaded, because {failed[0]} failed")
    return load_entity(engine, entity, plan, last_parents)


def _refresh_after(
    engine: Engine, mart: Mart, refreshed: Mapping[str, MartReport], *, full: bool
) -> MartReport:
    """Bring a mart up to date, unless one that it reads failed."""
    if failed := [name for name in mart.input_marts if refreshed[f"{GOLD}.{name}"].error]:
        return MartReport(mart.name, "failed", error=f"not built, because {failed[0]} failed")
    return refresh_mart(engine, mart, full=full)


def load_entity(engine: Engine, entity: str, plan: Plan, last_parents: dict[str, int] | None) -> EntityReport:
    """Finish an interrupted batch of the entity, then load what is new. Errors go into the report.

    Raises:
        NoAnswerError: The storage is gone, so that there is nothing that could go on.
    """
    clock = time.monotonic()
    contract = plan.contracts[entity]
    report = EntityReport(entity)
    try:
        done_files: set[tuple[str, str]] = set()
        if batch := plan.redo.get(entity):
            engine.progress(entity, "finishing an interrupted batch")
            batch = replace(
                batch,
                additional=_evolve(engine, contract, batch.files),
                snapshot_days=_snapshot_days(engine, contract, batch.number),
            )
            _load(engine, batch, contract, report)
            done_files = {(file.path, file.etag) for file in batch.files}
        infos = [info for info in plan.files.get(entity, []) if (info.uri, info.etag) not in done_files]
        parents = {
            str(column.parent_entity): table_version(
                engine.settings.table_uri("silver", str(column.parent_entity))
            )
            for column in contract.parents
        }
        # Asked for anew: what an interrupted batch has put into quarantine may have found its parent.
        held = engine.ledger.held_reasons().get(entity, Counter())
        due = due_orphans(contract, held, last_parents, parents, engine.settings)
        reasons = tuple(dict.fromkeys((*plan.replay, *due)))
        if infos or reasons:
            engine.progress(entity, f"reading {len(infos)} files" if infos else "trying rows again")
            files = inspect_files(infos, contract)
            additional = _evolve(engine, contract, files)
            number = engine.ledger.next_number(entity)
            batch = Batch(
                entity=entity,
                number=number,
                run_id=engine.run_id,
                ingested_at=engine.settings.instant(),
                silver_version=table_version(engine.settings.table_uri("silver", entity)),
                quarantine_version=table_version(engine.settings.table_uri("quarantine", entity)),
                history_version=_history_version(contract, engine.settings),
                parent_versions=parents,
                files=files,
                additional=additional,
                replay_reasons=reasons,
                replay_layouts=engine.ledger.replay_layouts(entity, reasons),
                snapshot_days=_snapshot_days(engine, contract, number),
            )
            engine.ledger.begin(batch)
            _load(engine, batch, contract, report)
        engine.progress(entity, "done")
    except NoAnswerError:
        engine.progress(entity, "failed")
        raise
    except FinlakeError as error:
        report.error = error.with_hint
        engine.progress(entity, "failed")
    report.seconds = time.monotonic() - clock
    return report


def _history_version(contract: Contract, settings: Settings) -> int:
    """Version of the history that a batch finds; -1 when it keeps none."""
    uri = settings.table_uri("silver", table_name(contract.entity))
    return table_version(uri) if contract.keeps_history else -1


def _snapshot_days(engine: Engine, contract: Contract, number: int) -> tuple[date, ...]:
    """Days of the snapshots that were loaded before a batch; none when files hold changes."""
    return days_of(engine.ledger.files_read(contract.entity, number)) if contract.is_snapshot else ()


def _evolve(engine: Engine, contract: Contract, files: Sequence[BronzeFile]) -> tuple[str, ...]:
    """Give Silver the columns that files have and the contract does not know, if its policy says so.

    Returns:
        All columns of Silver that the contract does not know.

    Raises:
        FinlakeError: The policy is to fail when files have not exactly the contract's columns.
    """
    known = engine.additional[contract.entity]
    if contract.schema_policy == "fail":
        for file in files:
            if wrong := [note for note in file.notes if note.startswith(COLUMN_NOTES)]:
                raise FinlakeError(
                    f"{file.path} has not the columns of the contract: {'; '.join(wrong)}",
                    "correct the file or the contract, or choose another schemaPolicy",
                )
    if contract.schema_policy != "evolve":
        return known
    headers = [file.layout.header for file in files if file.status == "pending" and file.layout]
    found = {name for header in headers for name in additional_columns(header, contract)}
    if found <= set(known):
        return known
    added = tuple(sorted(found - set(known)))
    engine.additional[contract.entity] = ensure_tables(contract, (*known, *added), engine.settings)
    return engine.additional[contract.entity]


def _load(engine: Engine, batch: Batch, contract: Contract, report: EntityReport) -> None:
    with engine.lineage.batch(batch, contract) as finished:
        done, counts = _write(engine, batch, contract)
        finished(done, counts)
    _add(report, done, counts)


def _write(engine: Engine, batch: Batch, contract: Contract) -> tuple[Batch, list[RowCount]]:
    """Load a batch and close it; files that cannot be read are set aside and the rest is loaded."""
    clock = time.monotonic()
    while True:
        try:
            counts, closures = load_batch(engine.spark, batch, contract, engine.settings)
            break
        except RuleBrokenError:
            engine.ledger.refuse(batch)
            raise
        except Exception as error:
            if not is_spark_error(error):
                raise
            if isinstance(known := explain(error), NoAnswerError):
                raise known from error
            batch = _set_aside(batch, error)
            engine.ledger.begin(batch)
    counted = {count.path for count in counts}
    files = tuple(_without_rows(f) if f.path not in counted else f for f in batch.files)
    batch = replace(batch, files=files, closures=closures)
    engine.confirm_lock(batch.entity)  # otherwise another run has this batch, which it found open
    engine.ledger.commit(batch, counts, time.monotonic() - clock)
    return batch, counts


def _without_rows(file: BronzeFile) -> BronzeFile:
    notes = tuple(dict.fromkeys((*file.notes, "no rows in it")))  # once, however often it is done
    return replace(file, notes=notes) if file.status == "pending" else file


def is_spark_error(error: BaseException) -> bool:
    """Whether Spark raised it, in this process or, through Connect, in another."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    return isinstance(error, PySparkException | Py4JError)


def _set_aside(batch: Batch, error: Exception) -> Batch:
    """The batch without the files that made reading fail.

    Raises:
        FinlakeError: No file is to blame.
    """
    message = str(error)
    files, found = [], False
    for file in batch.files:
        changed = file
        if file.status == "pending":
            etag = etag_of(file.path)
            if etag is None:
                changed = replace(file, status="vanished", notes=(*file.notes, "the file is gone"))
            elif etag != file.etag:
                note = "its content changed while it was read; the next run reads it"
                changed = replace(file, status="vanished", notes=(*file.notes, note))
            elif _is_blamed(file.path, message):
                note = f"it cannot be read: {root_cause(message)}"
                changed = replace(file, status="unreadable", notes=(*file.notes, note))
        found = found or changed is not file
        files.append(changed)
    if not found:
        files = [_without_broken_gzip(file) for file in batch.files]
        found = files != list(batch.files)
    if not found:
        raise spark_failure(error) from error
    return replace(batch, files=tuple(files), redo=True)


def spark_failure(error: Exception) -> FinlakeError:
    """What Spark's error means for people."""
    if known := explain(error):
        return type(known)(f"Spark failed: {known}", known.hint)
    log = "Spark's own log is .finlake/logs/spark.log, or in `docker compose logs spark`"
    return FinlakeError(f"Spark failed: {root_cause(str(error))}", log)


def _without_broken_gzip(file: BronzeFile) -> BronzeFile:
    """The file, set aside when it is damaged gzip. Spark does not say which file that was."""
    if file.status == "pending" and file.path.endswith(".gz") and (problem := gzip_problem(file.path)):
        return replace(file, status="unreadable", notes=(*file.notes, f"it cannot be read: {problem}"))
    return file


def _is_blamed(path: str, message: str) -> bool:
    """Whether Spark's message says that reading this file failed, in one of Spark's spellings."""
    from pipeline.reader import spark_spelling

    spellings = {re.sub("^file:/+", "file:/", spelling) for spelling in (path, spark_spelling(path))}
    written = "|".join(re.escape(spelling).replace("file:/", "file:/+", 1) for spelling in spellings)
    return re.search(rf"{READ_FAILED} (?:{written})[.,]?(?:\s|$)", message) is not None


def root_cause(message: str) -> str:
    """The last ``Caused by`` line of a Java stack trace, or its first line."""
    causes = re.findall(r"^Caused by: (.+)$", message, flags=re.MULTILINE)
    text = causes[-1] if causes else next((line for line in message.splitlines() if line.strip()), "")
    return re.sub(r"^(?:\w+\.)+(\w+(?:Exception|Error))", r"\1", text.strip())[:300]


def _add(report: EntityReport, batch: Batch, counts: Iterable[RowCount]) -> None:
    report.files += len(batch.files)
    report.closed += batch.closures.closed
    report.reopened += batch.closures.reopened
    for count in counts:
        report.outcomes += count.outcomes
        report.warnings += count.warnings
        if count.origin == QUARANTINE:
            report.released += count.read
        else:
            report.reasons += count.reasons
    for file in batch.files:
        report.notes += [f"{file.path}: {_noted(file)}"] if file.notes else []


def _noted(file: BronzeFile) -> str:
    state = "" if file.status in ("pending", "loaded") else f"{file.status}: "
    return state + "; ".join(file.notes)


def refresh_mart(engine: Engine, mart: Mart, *, full: bool = False) -> MartReport:
    """Bring one mart up to date. Errors go into the report.

    Raises:
        NoAnswerError: The storage is gone, so that there is nothing that could go on.
    """
    from pipeline.refresh import refresh

    clock = time.monotonic()
    versions = input_versions(mart.inputs, engine.settings)
    if min(versions.values()) < 0:
        return MartReport(mart.name, "waiting for Silver")
    if not full and is_current(mart, versions, engine.settings):
        return MartReport(mart.name, "current")
    engine.progress(mart.name, "building")
    try:
        with engine.lineage.mart(mart, versions):
            status = refresh(engine.spark, mart, versions, engine.settings, full=full)
    except NoAnswerError:
        raise
    except Exception as error:
        if not isinstance(error, FinlakeError) and not is_spark_error(error):
            raise
        failure = error if isinstance(error, FinlakeError) else spark_failure(error)
        if isinstance(failure, NoAnswerError):
            raise failure from error
        engine.progress(mart.name, "failed")
        return MartReport(mart.name, "failed", time.monotonic() - clock, failure.with_hint)
    engine.progress(mart.name, "done")
    return MartReport(mart.name, status, time.monotonic() - clock)


@contextmanager
def _workers(engine: Engine) -> Iterator[ThreadPoolExecutor]:
    """Threads for tables that are written side by side. Ctrl-C waits for those that have begun.

    Pressed again, it ends the process like a kill. The locks stay then, so that no run writes beside
    what Spark may still be writing; the next run takes them over, because this process is gone.
    """
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        try:
            yield pool
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, lambda _signal, _frame: os.kill(os.getpid(), signal.SIGKILL))
            engine.progress("interrupted", "finishing what is being written; Ctrl-C again ends it at once")
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        except Exception:
            pool.shutdown(wait=False, cancel_futures=True)  # what has begun is waited for
            raise


def _register(settings: Settings, additional: dict[str, tuple[str, ...]]) -> None:
    """Register the ledger and the tables of these entities: on AWS, a job may change no other's."""
    if _is_in_glue(settings.silver_uri):
        contracts = {entity: load_contracts()[entity] for entity in additional}
        register(catalog_tables(contracts, settings, additional), settings)


def _register_gold(settings: Settings) -> None:
    if _is_in_glue(settings.gold_uri):
        built = [table for table in gold_tables(settings) if table_version(table.uri) >= 0]
        register(built, settings)
        if built:
            register_views(settings)


def _is_in_glue(uri: str) -> bool:
    return uri.startswith("s3://")


def _ensure_tables(
    contracts: dict[str, Contract], ledger: Ledger, settings: Settings
) -> dict[str, tuple[str, ...]]:
    """Make the ledger, and the tables of the run's entities as their contracts say.

    Those of other entities are left alone, parents' too: on AWS, a job may write its own only.

    Returns:
        By entity, the columns of Silver that its contract does not know.

    Raises:
        FinlakeError: Tables and contract do not go together.
    """
    _refuse_later_history(contracts, ledger)
    with ThreadPoolExecutor(max_workers=8) as pool:
        pending = [pool.submit(table.ensure) for table in ledger.tables]
        additional = {
            entity: pool.submit(ensure_tables, contract, (), settings)
            for entity, contract in contracts.items()
        }
        for future in pending:
            future.result()
        return {entity: future.result() for entity, future in additional.items()}


def _refuse_later_history(contracts: dict[str, Contract], ledger: Ledger) -> None:
    """A history that lacks versions is none: what was loaded without one cannot be made up for."""
    for entity in ledger.loaded_without_history():
        if entity in contracts and contracts[entity].keeps_history:
            raise FinlakeError(
                f"the contract of {entity} keeps a history, and rows were loaded when it did not",
                "take `history` out of it, or load into a new lake: Bronze has every row",
            )


def _dry_run(
    contracts: dict[str, Contract], settings: Settings, layer: str, days: Days, *, full_refresh: bool
) -> RunReport:
    ledger = Ledger(settings)
    _refuse_later_history(contracts if layer != GOLD else {}, ledger)
    plan = make_plan(settings, ledger, contracts, layer, days=days)
    report = RunReport(None, dry_run=True)
    for entity, infos in plan.files.items():
        found = preview(infos, plan.contracts[entity])
        entry = EntityReport(entity, files=len(infos), left=plan.left[entity], preview=found)
        if entity in plan.redo:
            entry.notes.append(f"batch {plan.redo[entity].number} was interrupted and would be finished")
        for table in silver_tables(plan.contracts[entity]):
            changes = planned_changes(settings.table_uri("silver", table.name), table.columns)
            entry.notes += [f"silver.{table.name}: {change}" for change in changes]
        report.entities.append(entry)
    pending = full_refresh or plan.silver_work or may_release(plan, ledger, settings)
    stale = {mart.name for mart in plan.marts}
    if layer != SILVER:
        report.marts = [
            MartReport(mart.name, "would be rebuilt" if mart.name in stale or pending else "current")
            for mart in MARTS
        ]
    return report


def _chosen(entities: Sequence[str]) -> dict[str, Contract]:
    contracts = load_contracts()
    unknown = [entity for entity in entities if entity not in contracts]
    if unknown:
        raise UsageError(f"there is no entity {unknown[0]!r}", f"entities are: {', '.join(contracts)}")
    return {entity: contracts[entity] for entity in contracts if not entities or entity in entities}
