"""Train a model from a folder of features: on a laptop, and as SageMaker's script mode calls it.

    python ml/train.py --model default --training features/ --model-dir model/

SageMaker's scikit-learn image runs this file with hyperparameters as arguments, and says by environment
variables where things are: ``SM_CHANNEL_TRAINING`` (features), ``SM_MODEL_DIR`` (what becomes model.tar.gz)
and ``SM_OUTPUT_DATA_DIR`` (what becomes output.tar.gz). For serving, the image calls ``model_fn``,
``input_fn``, ``predict_fn`` and ``output_fn``; the code goes into the model's ``code`` folder for that.

Exit codes: 0 the model is written; 1 it could not be trained.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: the package is beside
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow as pa

from ml.card import render
from ml.data import read_folder, to_columns
from ml.errors import ModelError
from ml.kinds import read_model
from ml.model import Model
from ml.scoring import in_words, reasons, version_of
from ml.tasks import TASKS
from ml.training import artefacts, metric_lines, train

JSON_TYPE = "application/json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and write the model, its metrics and its card."""
    options = _options(arguments)
    try:
        table = read_folder(options.training)
        trained = train(
            to_columns(table, TASKS[options.model]),
            TASKS[options.model],
            knots=options.knots,
            test_share=options.test_share,
            draws=options.draws,
            seed=options.seed,
            challenger=bool(options.challenger),
        )
    except ModelError as error:
        print(f"Error: {error}" + (f"; {error.hint}" if error.hint else ""), file=sys.stderr)  # noqa: T201 - a script
        return 1
    files = artefacts(trained, render(trained))
    options.model_dir.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (options.model_dir / name).write_bytes(data)
    _bring_code(options.model_dir / "code")
    if options.output_data_dir:
        options.output_data_dir.mkdir(parents=True, exist_ok=True)
        for name in ("metrics.json", "card.html"):
            (options.output_data_dir / name).write_bytes(files[name])
    print(f"version={trained.version};", *metric_lines(trained), sep="\n")  # noqa: T201 - SageMaker reads it
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=sorted(TASKS), default="default")
    parser.add_argument(
        "--knots",
        type=int,
        choices=range(1, 21),
        metavar="N",
        default=3,
        help="bends of each curve of an additive model",
    )
    parser.add_argument(
        "--test-share", type=float, default=0.25, help="least share of rows that are tested on"
    )
    parser.add_argument("--draws", type=int, default=200, help="draws of the bootstrap")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--challenger", type=int, choices=(0, 1), default=1, help="1: gradient boosting is a candidate too"
    )
    folders = {
        "--training": ("SM_CHANNEL_TRAINING", "folder of features, Parquet or CSV with a header"),
        "--model-dir": ("SM_MODEL_DIR", "folder for the model"),
        "--output-data-dir": ("SM_OUTPUT_DATA_DIR", "another folder for metrics and card"),
    }
    for name, (variable, text) in folders.items():
        given = os.environ.get(variable)
        required = given is None and name != "--output-data-dir"
        folder = Path(given) if given else None
        parser.add_argument(name, type=Path, default=folder, required=required, help=f"{text}; {variable}")
    return parser.parse_args(arguments)


def _bring_code(folder: Path) -> None:
    """Put this package where the inference container looks for it."""
    here = Path(__file__).resolve().parent
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(here, folder / here.name, dirs_exist_ok=True, ignore=ignored)
    shutil.copy(here / "inference.py", folder)


# --- what the inference container calls ---------------------------------------------------------------


def model_fn(model_dir: str) -> Model:
    """Load the model."""
    return read_model((Path(model_dir) / "model.json").read_text(encoding="utf-8"))


def input_fn(body: str | bytes, content_type: str) -> list[dict[str, Any]]:
    """Rows of a request: a JSON list of objects with the model's features.

    Raises:
        ModelError: The request is something else.
    """
    if content_type != JSON_TYPE:
        raise ModelError(f"requests are {JSON_TYPE}, not {content_type}")
    rows = json.loads(body)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not rows:
        raise ModelError("a request is a list of objects, one per row")
    return rows


def predict_fn(rows: list[dict[str, Any]], model: Model) -> list[dict[str, Any]]:
    """Probability, reasons, and values that training never met, of each row."""
    task = TASKS[model.task]
    lacking = sorted({name for row in rows for name in task.features if name not in row})
    if lacking:
        raise ModelError(f"rows lack {', '.join(lacking)}", "give null for what is not known")
    names = dict.fromkeys((*task.columns, *rows[0]))
    table = pa.Table.from_pydict(
        {name: pa.array([row.get(name) for row in rows]) for name in names if name != task.label}
    )
    columns = to_columns(table, task, labelled=False)
    scored = model.score(columns)
    return [
        {
            "probability": round(float(probability), 6),
            "reasons": in_words(why),
            "unknown": list(unknown),
            "model_version": version_of(model),
        }
        for probability, why, unknown in zip(
            scored.probability, reasons(model, columns, scored.parts), scored.doubtful
        )
    ]


def output_fn(found: list[dict[str, Any]], accept: str) -> str:
    """The answer, as JSON."""
    if accept not in (JSON_TYPE, "*/*"):
        raise ModelError(f"answers are {JSON_TYPE}, not {accept}")
    return json.dumps(found)


if __name__ == "__main__":
    raise SystemExit(main())
