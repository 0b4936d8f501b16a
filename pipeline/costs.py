"""What a stage on AWS may cost a month: the tables in docs/costs.md (``python -m pipeline.costs``).

Nothing here was measured on AWS. Prices and sizes are assumptions, named below; change them to yours.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from pipeline import generated

DAYS = 30

# US dollars, eu-central-1, on demand, without free tiers and taxes; assumed in November 2026.
PRICES = {
    "Glue, per DPU-hour": 0.44,
    "S3 Standard, per GB-month": 0.0245,
    "S3 Standard-IA, per GB-month": 0.0135,
    "S3 Glacier Instant Retrieval, per GB-month": 0.005,
    "S3 writes and listings, per 1,000 requests": 0.0054,
    "S3 reads, per 1,000 requests": 0.00043,
    "Athena, per TB scanned": 5.0,
    "CloudWatch Logs taken in, per GB": 0.63,
    "CloudWatch metric, a month": 0.30,
    "CloudWatch alarm, a month": 0.10,
    "CloudWatch dashboard, a month": 3.0,
    "KMS key, a month": 1.0,
    "KMS, per 10,000 requests": 0.03,
    "QuickSight author, a month": 24.0,
    "QuickSight reader, a month": 3.0,
    "ml.m5.large, per hour": 0.138,
}
ENTITIES = 5
JOBS = ENTITIES + 2  # Gold and maintenance
SCORING_HOURS = 0.05  # it starts no Spark
# The stage's own: alarms on quarantine and freshness, metrics of rows read and quarantined and of Gold.
ALARMS = ENTITIES + 1
METRICS = 2 * ENTITIES + 1


@dataclass(frozen=True)
class Company:
    """A size of company, as far as it costs money.

    Attributes:
        name: What to call it.
        bronze_gb_a_day: Raw CSV that arrives a day, compressed or not as it is stored.
        months: Months that Bronze has been arriving.
        silver_share: Silver, Gold and their old versions, as a share of all of Bronze.
        workers: Workers that a job takes (G.1X, one DPU each).
        hours: Hours that a job takes, from the start of its code to its end.
        files: Files that a run reads and writes; each is taken as 5 reads and 2 writes.
        queries_a_day: Queries on Athena.
        gb_a_query: What one scans.
        authors: Authors in QuickSight.
        readers: Readers in QuickSight.
    """

    name: str
    bronze_gb_a_day: float
    months: int
    silver_share: float
    workers: int
    hours: float
    files: int
    queries_a_day: int
    gb_a_query: float
    authors: int
    readers: int


COMPANIES = (
    Company("small: 100,000 customers", 0.1, 12, 0.6, 2, 0.1, 2_000, 50, 0.2, 1, 5),
    Company("middle: 1 million customers", 1.0, 24, 0.6, 4, 0.25, 10_000, 400, 2.0, 3, 30),
    Company("large: 10 million customers", 10.0, 36, 0.6, 10, 0.75, 60_000, 3_000, 10.0, 10, 200),
)


@dataclass(frozen=True)
class Line:
    """One line of an estimate: a product of numbers, each with its unit, and a price.

    Attributes:
        component: What is paid for.
        factors: Numbers and their units.
        price: Name of the price in :data:`PRICES`.
    """

    component: str
    factors: tuple[tuple[float, str], ...]
    price: str

    @property
    def dollars(self) -> float:
        """The amount."""
        return prod(number for number, _ in self.factors) * PRICES[self.price]

    @property
    def arithmetic(self) -> str:
        """The product, as one would write it down."""
        numbers = [f"{number:,.10g} {unit}".strip() for number, unit in self.factors]
        return " x ".join([*numbers, f"${PRICES[self.price]:g}"])


def estimate(company: Company) -> list[Line]:
    """What a company of this size pays a month, line by line."""
    day = company.bronze_gb_a_day
    all_bronze = DAYS * company.months
    # envs/prod.tfvars: after 60 days to Standard-IA, after 180 to Glacier.
    standard, infrequent = min(all_bronze, 60), min(max(all_bronze - 60, 0), 120)
    archive = max(all_bronze - 180, 0)
    requests = company.files * DAYS / 1_000
    return [
        Line(
            "Glue jobs",
            (
                (JOBS, "jobs"),
                (DAYS, "days"),
                (company.workers, "DPU"),
                (company.hours, "h"),
            ),
            "Glue, per DPU-hour",
        ),
        Line("Bronze, fresh", ((standard, "days"), (day, "GB")), "S3 Standard, per GB-month"),
        Line("Bronze, older", ((infrequent, "days"), (day, "GB")), "S3 Standard-IA, per GB-month"),
        Line(
            "Bronze, archive", ((archive, "days"), (day, "GB")), "S3 Glacier Instant Retrieval, per GB-month"
        ),
        Line(
            "Silver and Gold",
            ((all_bronze, "days"), (day, "GB"), (company.silver_share, "")),
            "S3 Standard, per GB-month",
        ),
        Line(
            "S3 writes", ((requests, "thousand files"), (2, "")), "S3 writes and listings, per 1,000 requests"
        ),
        Line("S3 reads", ((requests, "thousand files"), (5, "")), "S3 reads, per 1,000 requests"),
        Line(
            "Athena",
            (
                (company.queries_a_day, "queries"),
                (DAYS, "days"),
                (company.gb_a_query, "GB"),
                (0.001, "TB/GB"),
            ),
            "Athena, per TB scanned",
        ),
        Line("Logs", ((JOBS, "jobs"), (DAYS, "days"), (0.01, "GB")), "CloudWatch Logs taken in, per GB"),
        Line("Metrics", ((METRICS, "metrics"),), "CloudWatch metric, a month"),
        Line("Alarms", ((ALARMS, "alarms"),), "CloudWatch alarm, a month"),
        Line("Dashboard", ((1, "dashboard"),), "CloudWatch dashboard, a month"),
        Line("Key", ((1, "key"),), "KMS key, a month"),
        # Bucket keys: one request for many objects.
        Line("Key, requests", ((requests, "thousand files"), (0.1, "")), "KMS, per 10,000 requests"),
        Line("QuickSight authors (optional)", ((company.authors, "people"),), "QuickSight author, a month"),
        Line("QuickSight readers (optional)", ((company.readers, "people"),), "QuickSight reader, a month"),
        Line(
            "Scoring (optional)",
            ((DAYS, "days"), (2, "DPU"), (SCORING_HOURS, "h")),
            "Glue, per DPU-hour",
        ),
        Line("SageMaker (optional)", ((4, "trainings"), (0.5, "h")), "ml.m5.large, per hour"),
    ]


def render() -> str:
    """The generated part of the page."""
    parts = ["| assumed price | US dollars |", "| --- | ---: |"]
    parts += [f"| {name} | {price:g} |" for name, price in PRICES.items()]
    for company in COMPANIES:
        lines = estimate(company)
        parts += ["", f"### {company.name[0].upper()}{company.name[1:]}", ""]
        parts += [
            f"Assumed: {company.bronze_gb_a_day:g} GB of Bronze a day for {company.months} months, "
            f"{company.workers} workers for {company.hours:g} hours per job, {company.files:,} files a run.",
            "",
            "| component | arithmetic | a month |",
            "| --- | --- | ---: |",
        ]
        parts += [f"| {line.component} | {line.arithmetic} | ${line.dollars:,.2f} |" for line in lines]
        needed = sum(line.dollars for line in lines if "optional" not in line.component)
        parts.append(f"| **without what is optional** | | **${needed:,.2f}** |")
        parts.append(f"| **with it** | | **${sum(line.dollars for line in lines):,.2f}** |")
    return "\n".join([generated.begin("python -m pipeline.costs"), "", *parts, "", generated.END])


def main() -> None:
    """Write the tables into docs/costs.md."""
    generated.refresh(Path(__file__).parents[1] / "docs" / "costs.md", render())


if __name__ == "__main__":
    main()
