"""What a run has to do, found out from listings and the ledger, without Spark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from contracts import Contract
from pipeline.files import ALL_DAYS, Days, new_files
from pipeline.gold import MARTS, Mart
from pipeline.gold.mart import in_order, input_versions, is_current
from pipeline.ledger import Batch, Ledger
from pipeline.quality import orphan_reason
from pipeline.settings import Settings
from pipeline.storage import ObjectInfo
from pipeline.tables import rows_are_those_of

SILVER, GOLD, ALL = "silver", "gold", "all"
LAYERS = (ALL, SILVER, GOLD)


@dataclass
class Plan:
    """What there is to do.

    Attributes:
        contracts: Entities that the run is about.
        redo: Interrupted batches by entity.
        files: New Bronze files by entity.
        left: How many new files of each entity are left for later, since they are not of the chosen days.
        marts: Marts that are not what Silver would make of them.
        held: Rows in quarantine by entity and reason.
        replay: Reasons of the quarantined rows that are to be tried again, whatever has changed.
    """

    contracts: dict[str, Contract]
    redo: dict[str, Batch]
    files: dict[str, list[ObjectInfo]]
    marts: list[Mart]
    held: dict[str, Counter[str]]
    replay: tuple[str, ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)

    @property
    def silver_work(self) -> bool:
        """Whether Silver may have to be written."""
        return bool(self.redo or self.replay) or any(self.files.values())


def make_plan(
    settings: Settings,
    ledger: Ledger,
    contracts: dict[str, Contract],
    layer: str,
    *,
    replay: Sequence[str] = (),
    days: Days = ALL_DAYS,
) -> Plan:
    """Find out what there is to do, without Spark. With ``replay``, no new file is looked for."""
    silver = contracts if layer != GOLD else {}
    with ThreadPoolExecutor(max_workers=8) as pool:
        known = pool.submit(ledger.known_files)
        redo = pool.submit(ledger.open_batches)
        held = pool.submit(ledger.held_reasons)
        listed = {
            entity: pool.submit(new_files, entity, settings, known.result())
            for entity in (silver if not replay else ())
        }
        stale = pool.submit(_stale_marts, settings) if layer != SILVER else None
        new = {entity: future.result() for entity, future in listed.items()}
        chosen = {entity: [info for info in infos if days.hold(info.uri)] for entity, infos in new.items()}
        return Plan(
            contracts=contracts,
            redo={batch.entity: batch for batch in redo.result() if batch.entity in silver},
            files=chosen,
            left={entity: len(infos) - len(chosen[entity]) for entity, infos in new.items()},
            marts=stale.result() if stale else [],
            held=held.result(),
            replay=tuple(replay),
        )


def _stale_marts(settings: Settings) -> list[Mart]:
    def is_stale(mart: Mart) -> bool:
        versions = input_versions(mart.inputs, settings)
        # Version 0 is an empty table: there is nothing to aggregate yet.
        return max(versions.values()) > 0 and not is_current(mart, versions, settings)

    stale: list[Mart] = []
    with ThreadPoolExecutor(max_workers=8) as pool:
        for level in in_order(MARTS):
            found = list(pool.map(is_stale, level))
            names = {mart.name for mart in stale}
            stale += [m for m, is_ in zip(level, found, strict=True) if is_ or names & set(m.input_marts)]
    return stale


def may_release(plan: Plan, ledger: Ledger, settings: Settings) -> bool:
    """Whether a parent table has changed since orphans were last tried."""
    last = ledger.last_parent_versions()
    for entity, contract in plan.contracts.items():
        held = plan.held.get(entity, Counter())
        if _orphans(contract, held):  # otherwise the tables need not be asked
            present = input_versions(contract.parent_entities, settings)
            if due_orphans(contract, held, last.get(entity), present, settings):
                return True
    return False


def due_orphans(
    contract: Contract,
    held: Mapping[str, int],
    last: Mapping[str, int] | None,
    present: Mapping[str, int],
    settings: Settings,
) -> tuple[str, ...]:
    """Reasons of the orphans in quarantine that are to be tried again, since a parent's table has changed.

    Args:
        contract: The entity.
        held: Its rows in quarantine by reason.
        last: Versions of the parents' tables that its last batch looked at; None when it has had none.
        present: Their present versions.
        settings: Where the tables are.
    """
    reasons = _orphans(contract, held)
    if not reasons or present == last:
        return ()
    unchanged = (
        last is not None
        and last.keys() == present.keys()
        and all(
            last[entity] == version or rows_are_those_of(settings.table_uri("silver", entity), last[entity])
            for entity, version in present.items()
        )
    )
    return () if unchanged else reasons


def _orphans(contract: Contract, held: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(reason for column in contract.parents if held.get(reason := orphan_reason(column)))
