"""The page on costs: as the arithmetic says, and the arithmetic as it is written down."""

from __future__ import annotations

import json
import re
from math import prod
from pathlib import Path

import pytest

from contracts import load_contracts
from pipeline import costs

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/costs.md").read_text(encoding="utf-8")


def test_the_page_is_as_the_arithmetic_says() -> None:
    assert costs.render() in PAGE, "run `python -m pipeline.costs`"


def test_each_line_is_right_as_a_reader_would_reckon_it() -> None:
    rows = re.findall(r"^\| ([A-Z][^|*]+) \| ([^|]+ x [^|]+) \| \$([\d,.]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 3 * len(costs.estimate(costs.COMPANIES[0]))
    for component, arithmetic, dollars in rows:
        numbers = [float(part.replace(",", "").lstrip("$").split()[0]) for part in arithmetic.split(" x ")]
        assert prod(numbers) == pytest.approx(float(dollars.replace(",", "")), abs=0.01), component


@pytest.mark.parametrize("company", costs.COMPANIES, ids=lambda company: company.name)
def test_bronze_is_counted_once_whatever_its_age(company: costs.Company) -> None:
    bronze = [line for line in costs.estimate(company) if line.component.startswith("Bronze")]
    stored = sum(prod(number for number, _ in line.factors) for line in bronze)
    assert stored == pytest.approx(company.months * costs.DAYS * company.bronze_gb_a_day)


def test_it_counts_what_terraform_makes() -> None:
    entities = json.loads((ROOT / "terraform/contracts.auto.tfvars.json").read_text())["entities"]
    assert len(entities) == len(load_contracts()) == costs.ENTITIES
    prod_values = (ROOT / "terraform/envs/prod.tfvars").read_text(encoding="utf-8")
    assert re.search(r"bronze_ia\s+= 60\n\s+bronze_archive\s+= 180\n", prod_values)
