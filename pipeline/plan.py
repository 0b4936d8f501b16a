"""What a run has to do, found out from listings and the ledger, without Spark."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from contracts import Contract
from pipeline.files import new_files
from pipeline.gold import MARTS, Mart
from pipeline.gold.mart import is_current
from pipeline.ledger import Batch, Ledger
from pipeline.settings import Settings
from pipeline.silver import input_versions
from pipeline.storage import ObjectInfo

SILVER, GOLD, ALL = "silver", "gold", "all"
LAYERS = (ALL, SILVER, GOLD)


@dataclass
class Plan:
    """What there is to do."""

    contracts: dict[str, Contract]
    redo: dict[str, Batch]
    files: dict[str, list[ObjectInfo]]
    marts: list[Mart]
    orphans: dict[str, int]

    @property
    def silver_work(self) -> bool:
        """Whether Silver may have to be written."""
        return bool(self.redo) or any(self.files.values())


def make_plan(settings: Settings, ledger: Ledger, contracts: dict[str, Contract], layer: str) -> Plan:
    """Find out what there is to do, without Spark."""
    silver = contracts if layer != GOLD else {}
    with ThreadPoolExecutor(max_workers=8) as pool:
        known = pool.submit(ledger.known_files)
        redo = pool.submit(ledger.open_batches)
        orphans = pool.submit(ledger.open_orphans)
        listed = {entity: pool.submit(new_files, entity, settings, known.result()) for entity in silver}
        stale = pool.submit(_stale_marts, settings) if layer != SILVER else None
        return Plan(
            contracts=contracts,
            redo={batch.entity: batch for batch in redo.result() if batch.entity in silver},
            files={entity: future.result() for entity, future in listed.items()},
            marts=stale.result() if stale else [],
            orphans=orphans.result(),
        )


def _stale_marts(settings: Settings) -> list[Mart]:
    stale = []
    for mart in MARTS:
        versions = input_versions(mart.inputs, settings)
        # Version 0 is an empty table: there is nothing to aggregate yet.
        if max(versions.values()) > 0 and not is_current(mart, versions, settings):
            stale.append(mart)
    return stale


def may_release(plan: Plan, ledger: Ledger, settings: Settings) -> bool:
    """Whether a parent table has changed since orphans were last tried."""
    last = ledger.last_parent_versions()
    for entity, waiting in plan.orphans.items():
        contract = plan.contracts.get(entity)
        if not contract or waiting <= 0:
            continue
        if last.get(entity, {}) != input_versions(contract.parent_entities, settings):
            return True
    return False
