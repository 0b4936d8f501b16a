"""Models that learned from noise, for tests of what is done with models; and archives like SageMaker's."""

from __future__ import annotations

import io
import tarfile

import numpy as np

from ml.kinds import fit
from ml.model import Model
from ml.tasks import Task

ROWS = 300


def noise_model(task: Task) -> Model:
    """A model of a task; the same one each time."""
    drawn = np.random.default_rng(1)
    columns = {number: drawn.random(ROWS) for number in task.numbers}
    columns |= {text: drawn.choice(["a", "b"], ROWS).astype(object) for text in task.categories}
    columns[task.group] = np.array([f"G{number}" for number in range(ROWS)], dtype=object)
    columns[task.label] = (drawn.random(ROWS) < 0.3).astype(np.float64)
    return fit("logistic", columns, task, knots=0).model


def packed(*members: tuple[str | tarfile.TarInfo, bytes]) -> bytes:
    """A tar.gz of names and contents; or of tar's own descriptions, with contents."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return whole.getvalue()
