"""What earlier attempts at a batch have written is undone, however often that is begun."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import pipeline.writes as writes_module
from pipeline.ledger import Batch
from pipeline.tables import TableColumn, ensure_table
from pipeline.writes import undo_attempts

COLUMNS = (TableColumn("id", "string", "Key."),)
BATCH = Batch("loans", 1, "r1", datetime(2026, 1, 1, tzinfo=UTC), 1, 1, {}, (), redo=True)


class KilledError(Exception):
    pass


def ids(uri):
    return sorted(DeltaTable(uri).to_pyarrow_table()["id"].to_pylist())


@pytest.mark.parametrize("kept", [1, 2])
def test_undoing_that_was_killed_between_two_tables_is_done_again(tmp_path, monkeypatch, kept):
    uris = [f"file://{tmp_path}/{name}" for name in ("quarantine", "silver")]
    for uri in uris:
        ensure_table(uri, COLUMNS)
        for value in ("found", "of an attempt"):
            write_deltalake(uri, pa.table({"id": [value]}), mode="append")
    found = dict.fromkeys(uris, 1)
    restore, left = writes_module.restore_and_fence, [kept]

    def restore_and_die(*arguments):
        restore(*arguments)
        left[0] -= 1
        if not left[0]:
            raise KilledError

    monkeypatch.setattr(writes_module, "restore_and_fence", restore_and_die)
    with pytest.raises(KilledError):
        undo_attempts(BATCH, found)
    assert [ids(uri) for uri in uris].count(["found"]) == kept
    undo_attempts(BATCH, found)
    assert [ids(uri) for uri in uris] == [["found"]] * 2
    fences = [DeltaTable(uri).transaction_version("r1/loans") for uri in uris]
    assert all(fence > 0 for fence in fences)
