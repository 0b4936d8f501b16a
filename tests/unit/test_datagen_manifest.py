"""The manifest is right: a naive pipeline that reads the files line by line counts the same."""

import csv
import re
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import Contract, load_contracts
from datagen import GenerateError, Manifest, generate, read_manifests
from datagen.dirt import kinds

NUMBER = re.compile(r"-?\d+(\.\d+)?")
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


class NaivePipeline:
    """Loads batches one after another into dictionaries, in the plainest way that is right."""

    def __init__(self) -> None:
        self.contracts = load_contracts()
        self.tables = {name: {} for name in self.contracts}
        self.orphans = {name: [] for name in self.contracts}

    def load(self, name: str, files: list[Path]) -> Counter:
        """Load one batch of an entity whose parents are loaded, and count what becomes of its rows."""
        contract = self.contracts[name]
        outcome = Counter(
            released=sum(self.upsert(contract, row) == "inserted" for row in self.returning(contract))
        )
        good: dict[str, list[dict[str, str]]] = {}
        for row in (row for file in files for row in self.read(contract, file, outcome)):
            if self.has_parents(contract, row):
                good.setdefault(row[contract.key[0]], []).append(row)
            else:
                outcome["unknown_parent"] += 1
                self.orphans[name].append(row)
        for rows in good.values():
            distinct = [row for position, row in enumerate(rows) if row not in rows[:position]]
            distinct.sort(key=lambda row: row[contract.version_column])
            outcome["duplicate"] += len(rows) - len(distinct)
            outcome["stale"] += len(distinct) - 1
            outcome[self.upsert(contract, distinct[-1])] += 1
        return outcome

    def read(self, contract: Contract, file: Path, outcome: Counter):
        header, *lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        names = header.split(",")
        for line in lines:
            outcome["rows"] += 1
            fields = next(csv.reader([line]))
            if line.count('"') % 2:
                outcome["stray_quote"] += 1
            elif len(fields) != len(names):
                outcome["wrong_column_count"] += 1
            else:
                row = dict(zip(names, fields, strict=True))
                reasons = set(self.reasons(contract, row))
                assert len(reasons) <= 1, (line, reasons)
                outcome.update(reasons)
                if not reasons:
                    yield row

    @staticmethod
    def reasons(contract: Contract, row: dict[str, str]):
        for column in contract.source_columns:
            value = row[column.name]
            if value == "":
                if column.name in contract.key:
                    yield "missing_key"
                elif column.required:
                    yield f"missing {column.name}"
            elif column.physical_type == "date":
                if not DAY.fullmatch(value) or not is_day(value):
                    yield "malformed_date"
            elif column.physical_type == "timestamp":
                if not INSTANT.fullmatch(value):
                    yield f"malformed {column.name}"
            elif column.physical_type != "string":
                if not NUMBER.fullmatch(value):
                    yield "malformed_number"
            elif column.allowed_values and value not in column.allowed_values:
                yield column.allowed_values_rule
            elif column.pattern and not re.search(column.pattern, value):
                yield column.pattern_rule

    def has_parents(self, contract: Contract, row: dict[str, str]) -> bool:
        return all(row[column.name] in self.tables[column.parent_entity] for column in contract.parents)

    def returning(self, contract: Contract) -> list[dict[str, str]]:
        orphans = self.orphans[contract.entity]
        back = [row for row in orphans if self.has_parents(contract, row)]
        self.orphans[contract.entity] = [row for row in orphans if row not in back]
        return back

    def upsert(self, contract: Contract, row: dict[str, str]) -> str:
        table, key = self.tables[contract.entity], row[contract.key[0]]
        if key not in table:
            table[key] = row
            return "inserted"
        if row[contract.version_column] <= table[key][contract.version_column]:
            return "stale"
        table[key] = row
        return "updated"


def is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def counts(pipeline: NaivePipeline, out: Path, manifest: Manifest) -> dict[str, dict[str, int]]:
    outcomes = {
        name: pipeline.load(name, [out / file.path for file in manifest.entities[name].files])
        for name in pipeline.contracts
    }
    return {name: dict(+outcome) for name, outcome in outcomes.items()}


def promises(manifest: Manifest) -> dict[str, dict[str, int]]:
    promised = {
        name: Counter(
            rows=entity.rows,
            inserted=entity.inserted,
            updated=entity.updated,
            duplicate=entity.duplicate,
            stale=entity.stale,
            released=entity.released,
            **entity.quarantined,
        )
        for name, entity in manifest.entities.items()
    }
    return {name: dict(+counter) for name, counter in promised.items()}


@pytest.mark.parametrize(
    ("seed", "scale", "dirty", "batches"), [(42, 150, 0.02, 16), (7, 12, 0.5, 8), (1, 1, 0.1, 4)]
)
def test_a_naive_pipeline_counts_what_the_manifests_promise(tmp_path, seed, scale, dirty, batches):
    pipeline = NaivePipeline()
    for batch in range(batches):
        manifest = generate(tmp_path, seed=seed, scale=scale, dirty=dirty, batch=batch)
        assert counts(pipeline, tmp_path, manifest) == promises(manifest), batch
    orphans = {name: rows for name, rows in pipeline.orphans.items() if rows}
    assert set(orphans) == {"accounts", "loans", "payments", "transactions"}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**64),
    scale=st.integers(1, 60),
    dirty=st.one_of(st.just(0.0), st.floats(0, 0.5)),
    batch=st.integers(0, 120),
)
def test_the_outcomes_of_a_batch_always_add_up_to_its_rows(tmp_path_factory, seed, scale, dirty, batch):
    out = tmp_path_factory.mktemp("batch")
    manifest = generate(out, seed=seed, scale=scale, dirty=dirty, batch=batch)
    for name, entity in manifest.entities.items():
        outcomes = entity.inserted + entity.updated + entity.duplicate + entity.stale
        assert entity.rows == outcomes + sum(entity.quarantined.values())
        assert entity.rows - entity.dirty_rows == entity.inserted + entity.updated > 0
        assert entity.rows == sum(file.rows for file in entity.files)
        for file in entity.files:
            data = (out / file.path).read_bytes()
            assert (data.count(b"\n"), len(data)) == (file.rows + 1, file.bytes)
            assert data.endswith(b"\n")
        assert all(entity.dirt[kind] > 0 for kind in kinds(load_contracts()[name])) or dirty == 0


def test_dirty_rows_are_the_share_that_was_asked_for(tmp_path):
    manifest = generate(tmp_path, scale=500, dirty=0.25)
    for entity in manifest.entities.values():
        assert entity.dirty_rows / entity.rows == pytest.approx(0.25, abs=0.002)
        assert max(entity.dirt.values()) - min(entity.dirt.values()) <= 1


def test_dirty_rows_are_spread_over_the_file(tmp_path):
    manifest = generate(tmp_path, scale=500, dirty=0.1)
    path = tmp_path / manifest.entities["customers"].files[0].path
    quoted = [n for n, line in enumerate(path.read_text().splitlines()) if line.count('"') % 2]
    assert min(quoted) < manifest.entities["customers"].rows * 0.4
    assert max(quoted) > manifest.entities["customers"].rows * 0.6


def test_a_clean_batch_has_no_dirt(tmp_path):
    manifest = generate(tmp_path, scale=30, dirty=0)
    for entity in manifest.entities.values():
        assert entity.rows == entity.inserted
        assert sum(entity.quarantined.values()) + entity.duplicate + entity.stale + entity.released == 0


def test_manifests_are_read_back_as_they_were_written(tmp_path):
    written = [generate(tmp_path, scale=30, batch=batch) for batch in (1, 0)]
    assert read_manifests(tmp_path) == written[::-1]
    assert Manifest.from_json(written[0].to_json()) == written[0]


def test_the_manifest_names_the_checksum_of_each_file(tmp_path):
    import hashlib

    manifest = generate(tmp_path, scale=30)
    files = [file for entity in manifest.entities.values() for file in entity.files]
    assert {file.path for file in files} == {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.csv")
    }
    for file in files:
        assert hashlib.sha256((tmp_path / file.path).read_bytes()).hexdigest() == file.sha256


def test_a_folder_without_batches_has_no_manifests(tmp_path):
    assert read_manifests(tmp_path / "nothing") == []
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"manifest_version": 1}', '{"manifest_version": 99}'])
def test_a_damaged_manifest_is_named(tmp_path, text):
    folder = tmp_path / "_manifest"
    folder.mkdir()
    (folder / "batch=0000.json").write_text(text)
    with pytest.raises(GenerateError, match=r"batch=0000\.json"):
        read_manifests(tmp_path)


def test_a_large_batch_is_split_into_files(tmp_path, monkeypatch):
    monkeypatch.setattr("datagen.schedule.BLOCK_ROWS", 1_000)
    monkeypatch.setattr("datagen.generator.BLOCK_ROWS", 1_000)
    monkeypatch.setattr("datagen.dirt.BLOCK_ROWS", 1_000)
    monkeypatch.setattr("datagen.generator.FILE_ROWS", 3_000)
    pipeline = NaivePipeline()
    for batch in range(2):
        manifest = generate(tmp_path, scale=300, batch=batch, dirty=0.1)
        assert counts(pipeline, tmp_path, manifest) == promises(manifest)
    files = read_manifests(tmp_path)[0].entities["transactions"].files
    assert len(files) == 6
    assert all(file.rows <= 3_000 for file in files)
    assert len({file.sha256 for file in files}) == 6
