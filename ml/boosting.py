"""Gradient boosting of small trees: it sees features that matter together, and still has its reasons.

Trees are those of scikit-learn's HistGradientBoostingClassifier, kept as plain numbers. What a feature adds
to a prediction is its Shapley value in each tree, by the shares of training that went each way (TreeSHAP:
Lundberg et al., From local explanations to global understanding with explainable AI for trees, 2020), with
all columns of a category as one feature. So parts are exact: they add up to the log-odds. A leaf's part
depends only on which of its features' splits a row meets, so it is worked out once for each combination
(Yang, Fast TreeSHAP, 2021) and looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.data import Columns, Floats, codes, length
from ml.errors import ModelError
from ml.model import (
    Fitted,
    Levels,
    Model,
    Range,
    calibration,
    drawn,
    ends,
    folds,
    levels_of,
    made,
    sigmoid,
)
from ml.tasks import Task

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

TREES, LEAVES, DEPTH = 100, 15, 5
RATE, PENALTY = 0.08, 1.0
ROWS = 20_000
"""Rows that are worked on at once."""

Truths = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Tree:
    """A tree; its nodes are numbered, the first is the root.

    Attributes:
        column: Column that a node splits by; -1 for a leaf.
        threshold: Values up to it go left; 0 for a leaf.
        missing_left: Whether missing values do.
        left: Node to the left; 0 for a leaf.
        right: Node to the right; 0 for a leaf.
        cover: Rows of training that came to a node.
        value: What a leaf adds to the log-odds; 0 for others.
    """

    column: tuple[int, ...]
    threshold: tuple[float, ...]
    missing_left: tuple[bool, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    cover: tuple[int, ...]
    value: tuple[float, ...]

    def goes_left(self, design: Floats) -> Truths:
        """By node, whether each row would go left there; the rows of a leaf mean nothing."""
        values = design[:, np.maximum(self.column, 0)].T
        is_left = values <= np.array(self.threshold)[:, None]
        found: Truths = np.where(np.isnan(values), np.array(self.missing_left)[:, None], is_left)
        return found

    def leaves(self) -> list[tuple[float, list[tuple[int, bool]]]]:
        """Value of each leaf, and the nodes on the way to it with whether it goes left there."""
        found: list[tuple[float, list[tuple[int, bool]]]] = []
        open_: list[tuple[int, list[tuple[int, bool]]]] = [(0, [])]
        while open_:
            node, way = open_.pop()
            if self.column[node] < 0:
                found.append((self.value[node], way))
            else:
                open_.append((self.left[node], [*way, (node, True)]))
                open_.append((self.right[node], [*way, (node, False)]))
        return found


@dataclass(frozen=True)
class Leaf:
    """A leaf as a game of the features on the way to it.

    Attributes:
        features: Their numbers.
        splits: For each, the nodes that split by it, and whether the way goes left there.
        parts: What each adds, by the combination of those whose splits a row meets: bit ``i`` is the i-th.
    """

    features: tuple[int, ...]
    splits: tuple[tuple[tuple[int, bool], ...], ...]
    parts: Floats


@dataclass(frozen=True)
class BoostedModel(Model):
    """A fitted model of trees.

    Attributes:
        ranges: Numbers.
        trees: Trees.
        base: Log-odds to which the trees add.
    """

    ranges: tuple[Range, ...]
    trees: tuple[Tree, ...]
    base: float

    @property
    def numbers(self) -> tuple[Range, ...]:
        """Numbers, in the order of parts."""
        return self.ranges

    def log_odds(self, columns: Columns) -> Floats:
        """Log-odds before calibration."""
        return self.base + _sum_of_trees(self.trees, _design(columns, self.ranges, self.levels))

    def added(self, columns: Columns) -> Floats:
        """What each feature adds to the log-odds before calibration; one column per feature."""
        found = np.zeros((length(columns), len(self.features)))
        design = _design(columns, self.ranges, self.levels)
        for begin in range(0, len(design), ROWS):
            some = design[begin : begin + ROWS]
            added = np.zeros((len(self.features), len(some)))
            for tree, leaves in zip(self.trees, self._games):
                left = tree.goes_left(some)
                for leaf in leaves:
                    combination = np.zeros(len(some), dtype=np.int64)
                    for bit, splits in enumerate(leaf.splits):
                        combination |= _meets(left, splits).astype(np.int64) << bit
                    for number, parts in zip(leaf.features, leaf.parts):
                        added[number] += parts[combination]
            found[begin : begin + ROWS] = added.T
        return found

    @cached_property
    def _games(self) -> list[list[Leaf]]:
        owner = _owners(self.ranges, self.levels)
        return [[_game(tree, owner, value, way) for value, way in tree.leaves()] for tree in self.trees]

    @classmethod
    def from_fields(cls, found: dict[str, Any]) -> BoostedModel:
        """The model from its fields as JSON has them."""
        ranges = tuple(made(Range, one) for one in found.pop("ranges"))
        return cls(ranges=ranges, trees=tuple(made(Tree, one) for one in found.pop("trees")), **found)


def fit(columns: Columns, task: Task, *, seed: int = 0) -> Fitted:
    """Fit a model to labelled rows.

    Args:
        columns: Features, group and label; all labels known, with both outcomes.
        task: What is predicted.
        seed: Decides which rows without the event are drawn when there are too many.

    Raises:
        ModelError: All events are of one group, or this scikit-learn keeps its trees in another way.
    """
    truth = columns[task.label]
    ranges = tuple(Range(name, *ends(columns[name])) for name in task.numbers)
    known = tuple(levels_of(name, columns[name]) for name in task.categories)
    design = _design(columns, ranges, known)
    weight = drawn(truth, seed)
    out_of_fold = np.zeros(len(truth))
    for train, test in folds(truth, columns[task.group]):
        rows = train[weight[train] > 0]
        part = _booster(seed).fit(design[rows], truth[rows], sample_weight=weight[rows])
        out_of_fold[test] = part.decision_function(design[test])
    rows = np.flatnonzero(weight)
    model = _booster(seed).fit(design[rows], truth[rows], sample_weight=weight[rows])
    trees, base = _kept(model, design[rows])
    slope, shift = calibration(out_of_fold, truth)
    fitted = BoostedModel(
        task=task.name,
        kind="boosting",
        levels=known,
        intercept=base + sum(_usual(tree) for tree in trees),
        slope=slope,
        shift=shift,
        training={},
        reference={},
        ranges=ranges,
        trees=trees,
        base=base,
    )
    return Fitted(fitted, sigmoid(slope * out_of_fold + shift))


def _booster(seed: int) -> HistGradientBoostingClassifier:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        early_stopping=False, max_iter=TREES, learning_rate=RATE, max_leaf_nodes=LEAVES, max_depth=DEPTH,
        l2_regularization=PENALTY, random_state=seed,
    )  # fmt: skip


def _design(columns: Columns, ranges: tuple[Range, ...], known: tuple[Levels, ...]) -> Floats:
    """Numbers as they are, and a column of 0 and 1 per value of a category.

    A category's value that training never met, or none, is missing: it goes where most of training went.
    """
    blocks: list[Floats] = [columns[one.name][:, None] for one in ranges]
    for level in known:
        values = columns[level.name]
        block = (codes(values, level.used)[:, None] == np.arange(len(level.used))).astype(np.float64)
        block[codes(values, level.known) < 0] = np.nan
        blocks.append(block)
    return np.hstack(blocks)


def _owners(ranges: tuple[Range, ...], known: tuple[Levels, ...]) -> list[int]:
    """For each column, the number of its feature."""
    categories = enumerate(known, start=len(ranges))
    return [*range(len(ranges)), *(number for number, level in categories for _ in level.used)]


def _kept(model: HistGradientBoostingClassifier, design: Floats) -> tuple[tuple[Tree, ...], float]:
    """A fitted model's trees as plain numbers, and the log-odds to which they add.

    Raises:
        ModelError: They do not predict what the model does.
    """
    trees = []
    for (predictor,) in model._predictors:  # it offers its trees nowhere else
        nodes = predictor.nodes
        is_leaf = nodes["is_leaf"].astype(bool)
        # Infinity where a split asks only whether the value is missing; JSON has no word for it.
        threshold = np.minimum(nodes["num_threshold"], np.finfo(np.float64).max)
        trees.append(
            Tree(
                column=tuple(np.where(is_leaf, -1, nodes["feature_idx"]).tolist()),
                threshold=tuple(np.where(is_leaf, 0.0, threshold).tolist()),
                missing_left=tuple((nodes["missing_go_to_left"].astype(bool) & ~is_leaf).tolist()),
                left=tuple(np.where(is_leaf, 0, nodes["left"]).tolist()),
                right=tuple(np.where(is_leaf, 0, nodes["right"]).tolist()),
                cover=tuple(nodes["count"].tolist()),
                value=tuple(np.where(is_leaf, nodes["value"], 0.0).tolist()),
            )
        )
    some = design[:ROWS]
    rest = model.decision_function(some) - _sum_of_trees(tuple(trees), some)
    if np.ptp(rest) > 1e-6:
        raise ModelError("this scikit-learn keeps its trees in a way that finlake does not know")
    return tuple(trees), float(rest.mean())


def _sum_of_trees(trees: tuple[Tree, ...], design: Floats) -> Floats:
    found = np.zeros(len(design))
    for begin in range(0, len(design), ROWS):
        some = design[begin : begin + ROWS]
        for tree in trees:
            left = tree.goes_left(some)
            node, row = np.zeros(len(some), dtype=np.int64), np.arange(len(some))
            is_leaf = np.array(tree.column) < 0
            ways = np.array([tree.right, tree.left])
            while not is_leaf[node].all():
                node = np.where(is_leaf[node], node, ways[left[node, row].astype(np.int64), node])
            found[begin : begin + ROWS] += np.array(tree.value)[node]
    return found


def _usual(tree: Tree) -> float:
    """What a tree adds when nothing is known of a row."""
    return sum(value * float(np.prod([_share(tree, *step) for step in way])) for value, way in tree.leaves())


def _share(tree: Tree, node: int, is_left: bool) -> float:
    """Share of a node's rows of training that went one way."""
    return tree.cover[tree.left[node] if is_left else tree.right[node]] / tree.cover[node]


def _meets(left: Truths, splits: tuple[tuple[int, bool], ...]) -> Truths:
    found = np.ones(left.shape[1], dtype=np.bool_)
    for node, is_left in splits:
        found &= left[node] if is_left else ~left[node]
    return found


def _game(tree: Tree, owner: list[int], value: float, way: list[tuple[int, bool]]) -> Leaf:
    """A leaf's features, and their Shapley values by combination."""
    splits: dict[int, list[tuple[int, bool]]] = {}
    for node, is_left in way:
        splits.setdefault(owner[tree.column[node]], []).append((node, is_left))
    shares = [float(np.prod([_share(tree, *step) for step in steps])) for steps in splits.values()]
    return Leaf(tuple(splits), tuple(map(tuple, splits.values())), value * _shapley(shares))


def _shapley(shares: list[float]) -> Floats:
    """Shapley values of players, by the combination of those whose conditions hold.

    The worth of a coalition is the product of what its members' conditions are, 1 or 0, and of the others'
    shares.
    """
    count = len(shares)
    holds = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    found = np.zeros((count, 2**count))
    for player in range(count):
        others = [other for other in range(count) if other != player]
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for members in combinations(others, size):
                worth = np.full(2**count, weight)
                for other in others:
                    worth = worth * (holds[:, other] if other in members else shares[other])
                found[player] += worth * (holds[:, player] - shares[player])
    return found
