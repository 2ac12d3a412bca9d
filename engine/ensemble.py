"""Margins of many actions at once: each tree is evaluated once per way the actions resolve it.

    margin[a, s] = base + tree_0(x[s], ones[a]) + tree_1(x[s], ones[a]) + …   float32, in this order

What an action's 0/1 columns are is known beforehand, so splits on them can be taken out of a tree.
Trees that are the same for several actions then are evaluated once for all of them. XGBoost sums
in the same order, so the margins have the bits of its own prediction.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from engine.errors import ConfigError
from kernels import backend

THREADS = 1  # a constant, so that no sum over rows depends on the machine; tasks run side by side
LEAF = -1  # a child that does not exist
ROOT = 2**31 - 1  # the parent of a tree's first node
CELLS = 2**24  # leaves found at a time, at most: 64 MiB
PER_NODE = (
    "base_weights", "default_left", "loss_changes", "split_conditions", "split_indices",
    "split_type", "sum_hessian",
)  # fmt: skip


def xgboost() -> Any:
    """Import XGBoost, which takes a second and may be missing.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module("xgboost")
    except ImportError:
        raise ConfigError(
            "scores.kind: model needs XGBoost, which is not installed; "
            "pip install 'walras[cpu]' or 'walras[gpu]'"
        ) from None


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The distinct trees of all actions, and which of them each action sums."""

    booster: Any  # [T] trees; tree 0 has one leaf, of value 0
    value: Any  # [all nodes of all trees] float32, of a leaf
    start: Any  # [T] int32, where a tree's nodes begin in ``value``
    terms: tuple[tuple[int, ...], ...]  # [A] trees of an action, in order

    def margins(self, block: Any) -> Any:
        """Return the margins of every action.

        Args:
            block: [S, columns of the booster] float32; NaN is missing, 0/1 columns are not read.

        Returns:
            [A, S] float32, on the side of ``block``.
        """
        library = backend.library(block)
        value, start = library.asarray(self.value), library.asarray(self.start)
        out = library.empty((len(self.terms), len(block)), "float32")
        out[:] = self._base(block) if len(block) else 0
        rows = max(1, CELLS // len(self.start))
        for at in range(0, len(block), rows):
            part = xgboost().DMatrix(block[at : at + rows], nthread=THREADS)
            leaf = self.booster.predict(part, pred_leaf=True, validate_features=False)
            found = value[library.asarray(leaf).astype("int32") + start]
            by_tree = library.ascontiguousarray(found.T)
            for action, trees in enumerate(self.terms):
                sums = out[action, at : at + rows]
                for tree in trees:
                    sums += by_tree[tree]
        return out

    def _base(self, block: Any) -> np.float32:
        """Return the margin before any tree, which XGBoost keeps as a rounded probability."""
        part = xgboost().DMatrix(block[:1], nthread=THREADS)
        whole = self.booster.predict(
            part, output_margin=True, iteration_range=(0, 1), validate_features=False
        )
        return np.float32(whole[0])


def resolved(booster: Any, first: int, ones: Sequence[frozenset[int]]) -> Ensemble:
    """Resolve a booster's 0/1 columns for every action.

    Args:
        booster: numeric splits only, one output, one tree a round.
        first: the first 0/1 column; they are the last of the booster.
        ones: per action, the columns that are 1.
    """
    whole = json.loads(booster.save_raw("json"))
    forest = whole["learner"]["gradient_booster"]["model"]
    trees = [_constant(forest["trees"][0])]
    terms: list[list[int]] = [[] for _ in ones]
    for tree in forest["trees"]:
        used = {column for column in tree["split_indices"] if column >= first}
        place: dict[frozenset[int], int] = {}
        same: dict[tuple[int, ...], int] = {}
        for action, every in enumerate(ones):
            seen = every & used
            if seen not in place:
                nodes, links = _resolve(tree, first, seen)
                place[seen] = same.setdefault(tuple(nodes), len(trees))
                if place[seen] == len(trees):
                    trees.append(_part(tree, nodes, links))
            terms[action].append(place[seen])
    forest["trees"] = [{**tree, "id": index} for index, tree in enumerate(trees)]
    forest["tree_info"] = [0] * len(trees)
    forest["iteration_indptr"] = list(range(len(trees) + 1))
    forest["gbtree_model_param"]["num_trees"] = str(len(trees))
    wide = xgboost().Booster({"nthread": THREADS}, model_file=bytearray(json.dumps(whole).encode()))
    sizes = [len(tree["parents"]) for tree in trees]
    return Ensemble(
        wide,
        np.concatenate([np.array(tree["split_conditions"], np.float32) for tree in trees]),
        np.cumsum([0, *sizes[:-1]]).astype(np.int32),
        tuple(map(tuple, terms)),
    )


def _resolve(
    tree: Mapping[str, Any], first: int, ones: frozenset[int]
) -> tuple[list[int], dict[str, list[int]]]:
    """Return the nodes that are left of a tree, its root first, and how they are linked."""
    left, right, column = (
        tree[name] for name in ("left_children", "right_children", "split_indices")
    )

    def reached(node: int) -> int:
        while left[node] != LEAF and column[node] >= first:
            goes_left = (column[node] in ones) < tree["split_conditions"][node]
            node = left[node] if goes_left else right[node]
        return node

    nodes = [reached(0)]
    links: dict[str, list[int]] = {"left_children": [], "right_children": [], "parents": [ROOT]}
    for place, node in enumerate(nodes):  # children are appended as their parents are met
        for name, children in (("left_children", left), ("right_children", right)):
            if children[node] == LEAF:
                links[name].append(LEAF)
                continue
            links[name].append(len(nodes))
            links["parents"].append(place)
            nodes.append(reached(children[node]))
    return nodes, links


def _part(tree: Mapping[str, Any], nodes: list[int], links: Mapping[str, Any]) -> dict[str, Any]:
    """Return XGBoost's own form of a tree with some of its nodes."""
    kept = {name: [tree[name][node] for node in nodes] for name in PER_NODE}
    size = {**tree["tree_param"], "num_nodes": str(len(nodes))}
    return {**tree, **kept, **links, "tree_param": size}


def _constant(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tree of one leaf, of value 0."""
    alone = {"left_children": [LEAF], "right_children": [LEAF], "parents": [ROOT]}
    return {**_part(tree, [0], alone), "split_conditions": [0.0], "split_indices": [0]}
