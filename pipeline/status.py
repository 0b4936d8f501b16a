"""What has happened in the lake so far, from the ledger alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl

from contracts import load_contracts
from pipeline.dedupe import DISPOSITIONS
from pipeline.detection import UNTAGGED
from pipeline.ledger import QUARANTINE, WARNING, Ledger
from pipeline.settings import Settings

SET_ASIDE = ("rejected", "vanished", "unreadable", "refused")


def lake_status(settings: Settings, runs: int = 5) -> dict[str, Any]:
    """Figures of the lake.

    Args:
        settings: Where the lake is.
        runs: How many of the last runs to tell.

    Returns:
        ``runs`` (newest first), ``entities`` (files and rows by outcome since the beginning; rows
        now in quarantine by reason), ``set_aside`` (files that could not be read) and ``personal_data``
        (what looked like personal data in columns that are not tagged).
    """
    ledger = Ledger(settings)
    row_counts, files, held = ledger.read("row_counts"), ledger.read("files"), ledger.held_reasons()
    warnings = ledger.read("quarantine_reasons").filter(pl.col("level") == WARNING)
    entities = []
    for entity in load_contracts():
        counts = row_counts.filter(pl.col("entity") == entity)
        released = int(counts.filter(pl.col("origin") == QUARANTINE)["read"].sum())
        marked: Counter[str] = Counter()
        for row in warnings.filter(pl.col("entity") == entity).iter_rows(named=True):
            marked[row["reason"]] += row["rows"]
        total = {name: int(counts[name].sum()) for name in ("read", *DISPOSITIONS)}
        entities.append(
            {
                "entity": entity,
                "files": files.filter(pl.col("entity") == entity).height,
                **total,
                "read": total["read"] - released,
                "released": released,
                "in_quarantine": total["quarantined"] - released,
                "reasons": dict(held.get(entity, {})),
                "warnings": dict(marked),
            }
        )
    last = ledger.read("runs").sort("run_id", descending=True).head(runs)
    aside = files.filter(pl.col("status").is_in(SET_ASIDE))
    return {
        "runs": last.to_dicts(),
        "entities": entities,
        "set_aside": aside.select("entity", "path", "status", "notes").to_dicts(),
        "personal_data": [
            {"entity": row["entity"], "path": row["path"], "notes": noted}
            for row in files.sort("entity", "path").iter_rows(named=True)
            if (noted := [note for note in row["notes"] or () if UNTAGGED in note])
        ],
    }
