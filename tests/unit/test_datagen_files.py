"""Files: the same rows in every format, whatever the number of workers, and after an interruption."""

import gzip
import json

import polars as pl
import pytest

from contracts import load_contract, load_contracts
from datagen import BadRequestError, generate, read_manifests, tables
from datagen.formats import FORMATS


def read(out, file, name: str) -> pl.DataFrame:
    if name == "parquet":
        return pl.read_parquet(out / file.path)
    if name == "jsonl":
        return pl.read_ndjson(out / file.path, infer_schema_length=None)
    return pl.read_csv(out / file.path, infer_schema=False)


def paths(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def in_blocks_of(monkeypatch, rows: int) -> None:
    for module in ("schedule", "generator", "dirt"):
        monkeypatch.setattr(f"datagen.{module}.BLOCK_ROWS", rows)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_the_rows_that_the_manifest_promises(tmp_path, name):
    manifest = generate(tmp_path, scale=60, dirty=0.1, format=name)
    assert manifest.format == name
    for entity, content in manifest.entities.items():
        columns = [column.name for column in load_contract(entity).source_columns]
        for file in content.files:
            assert file.path.endswith(f".{name}")
            assert (tmp_path / file.path).stat().st_size == file.bytes
            if name in ("jsonl", "parquet"):
                frame = read(tmp_path, file, name)
                assert (frame.height, frame.columns) == (file.rows, columns)


def test_a_compressed_file_is_the_plain_one(tmp_path):
    plain = generate(tmp_path / "plain", scale=60, dirty=0.1)
    packed = generate(tmp_path / "packed", scale=60, dirty=0.1, format="csv.gz")
    for name, entity in plain.entities.items():
        text = gzip.decompress((tmp_path / "packed" / packed.entities[name].files[0].path).read_bytes())
        assert text == (tmp_path / "plain" / entity.files[0].path).read_bytes()


def test_typed_files_hold_the_tables_with_their_types(tmp_path):
    clean = tables(scale=60)
    manifest = generate(tmp_path, scale=60, dirty=0, format="parquet")
    for name, entity in manifest.entities.items():
        frame = pl.concat(read(tmp_path, file, "parquet") for file in entity.files)
        for column in load_contract(name).source_columns:
            kind = frame.schema[column.name]
            expected = {"date": pl.Date, "timestamp": pl.Datetime, "string": pl.String, "int": pl.Int32}
            assert kind == expected.get(column.physical_type, pl.Decimal(18, 2)) or column.is_decimal
        instants = pl.col(pl.Datetime).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        same = clean[name].with_columns(instants)
        assert frame.equals(same)


def test_json_lines_have_numbers_nulls_and_instants(tmp_path):
    manifest = generate(tmp_path, scale=60, dirty=0, format="jsonl")
    file = manifest.entities["loans"].files[0]
    rows = [json.loads(line) for line in (tmp_path / file.path).read_text().splitlines()]
    assert {type(row["principal"]) for row in rows} <= {float, int}
    assert {type(row["term_months"]) for row in rows} == {int}
    assert None in {row["collateral_value"] for row in rows}
    assert all(row["updated_at"].endswith("Z") for row in rows)


def test_typed_files_have_only_dirt_that_types_allow(tmp_path):
    manifest = generate(tmp_path, scale=60, dirty=0.2, format="parquet")
    impossible = {"malformed_date", "malformed_number", "wrong_column_count", "stray_quote"}
    for name, entity in manifest.entities.items():
        assert set(entity.dirt) & impossible == set()
        assert entity.dirty_rows / entity.rows == pytest.approx(0.2, abs=0.02)
        frame = pl.concat(read(tmp_path, file, "parquet") for file in entity.files)
        key = load_contract(name).key[0]
        assert frame[key].null_count() == entity.dirt["missing_key"] > 0
        assert frame.is_duplicated().sum() == 2 * entity.dirt["exact_duplicate"]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("workers", [1, 3])
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path, monkeypatch, workers, name):
    in_blocks_of(monkeypatch, 500)
    one = generate(tmp_path / "one", scale=200, dirty=0.1, file_rows=1_500, workers=2, format=name)
    other = generate(tmp_path / "other", scale=200, dirty=0.1, file_rows=1_500, workers=workers, format=name)
    assert one == other
    assert len(one.entities["transactions"].files) > 3


def test_clean_rows_do_not_depend_on_the_size_of_blocks(tmp_path, monkeypatch):
    for batch in (0, 3):
        in_blocks_of(monkeypatch, 100_000)
        whole = generate(tmp_path / "whole", scale=150, dirty=0, batch=batch)
        in_blocks_of(monkeypatch, 300)
        split = generate(tmp_path / "split", scale=150, dirty=0, batch=batch)
        for name, entity in whole.entities.items():
            rows = {
                out: sorted(
                    line
                    for file in files
                    for line in (tmp_path / out / file.path).read_text().splitlines()[1:]
                )
                for out, files in (("whole", entity.files), ("split", split.entities[name].files))
            }
            assert rows["whole"] == rows["split"], (name, batch)


def test_a_file_has_about_as_many_rows_as_asked_for(tmp_path, monkeypatch):
    in_blocks_of(monkeypatch, 1_000)
    manifest = generate(tmp_path, scale=1_500, file_rows=5_000)
    sizes = [file.rows for file in manifest.entities["transactions"].files]
    assert len(sizes) > 5
    assert all(2_500 < rows < 6_500 for rows in sizes[:-1])


class InterruptedRunError(Exception):
    """Stands for whatever ends a process."""


def test_an_interrupted_batch_goes_on_where_it_stopped(tmp_path, monkeypatch):
    in_blocks_of(monkeypatch, 500)
    options = {"scale": 300, "dirty": 0.1, "file_rows": 1_000}
    whole = generate(tmp_path / "whole", **options)

    def stop(step):
        if step.entity == "transactions" and step.done > step.total // 2:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        generate(tmp_path / "cut", **options, on_progress=stop)
    assert read_manifests(tmp_path / "cut") == []
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cut/transactions").rglob("*.csv")}
    assert 2 < len(before) < len(whole.entities["transactions"].files)
    steps = []
    assert generate(tmp_path / "cut", **options, on_progress=steps.append) == whole
    assert {path: path.stat().st_mtime_ns for path in before} == before, "finished files are not made again"
    assert paths(tmp_path / "cut") == paths(tmp_path / "whole")
    moves = [step.rows for step in steps if step.entity == "transactions"]
    assert moves[-1] == whole.entities["transactions"].rows


@pytest.mark.parametrize("other", [{"seed": 5}, {"dirty": 0.2}, {"file_rows": 900}, {"profile": "neobank"}])
def test_files_of_another_request_are_not_taken_over(tmp_path, monkeypatch, other):
    in_blocks_of(monkeypatch, 500)
    options = {"scale": 200, "dirty": 0.1, "file_rows": 1_000}

    def stop(step):
        if step.entity == "transactions" and step.done > step.total // 2:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        generate(tmp_path / "cut", **options, on_progress=stop)
    assert generate(tmp_path / "cut", **options | other) == generate(tmp_path / "whole", **options | other)
    for file in (tmp_path / "whole").rglob("*.*"):
        assert (tmp_path / "cut" / file.relative_to(tmp_path / "whole")).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("wrong", [{"format": "xml"}, {"file_rows": 0}, {"workers": 0}])
def test_impossible_requests_write_nothing(tmp_path, wrong):
    with pytest.raises(BadRequestError, match=str(next(iter(wrong.values())))):
        generate(tmp_path / "out", scale=5, **wrong)
    assert not (tmp_path / "out").exists()


def test_tables_are_the_files_in_memory(tmp_path):
    frames = tables("neobank", seed=3, scale=40, batch=2)
    manifest = generate(tmp_path, profile="neobank", seed=3, scale=40, batch=2, dirty=0)
    assert list(frames) == list(load_contracts())
    for name, frame in frames.items():
        text = frame.write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ")
        assert text.encode() == (tmp_path / manifest.entities[name].files[0].path).read_bytes()


def test_tables_become_arrow_tables():
    import pyarrow as pa

    table = tables(scale=5)["transactions"].to_arrow()
    assert isinstance(table, pa.Table)
    assert table.schema.field("amount").type == pa.decimal128(18, 2)
