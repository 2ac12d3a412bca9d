"""From the candidates of all partitions to one allocation problem: its groups and its blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from engine import tables
from engine.block import KEY_RANGE, MEMBER_BITS, Block, spanned
from engine.candidates import WORD, Candidates, scopes
from engine.errors import ConfigError, DataError
from engine.limits import parts_of_limit, question
from engine.parts import Parts, at_hand, parts_of
from engine.plan_rules import rules
from engine.pose import Groups, Stock
from engine.problem import MOST_WEIGHT, Problem
from engine.rules import Plan
from engine.settings import Job
from engine.weights import BadWeights, refuse_weights
from kernels.backend import to_cpu
from kernels.choose import WEIGHT_GRID

GROUPS_AT_LEAST = 16  # scope groups are split by key until there are about so many
MOST_GROUPS = 1 << 14  # scope groups: tables of prices have a row for each


@dataclass(frozen=True, eq=False)
class Placed:
    """A problem and where its rows came from."""

    problem: Problem  # of the objective under all limits, goals left aside
    order: Sequence[Any] | Parts  # by block: the candidates' row of each of the block's rows
    stock: Stock  # for other questions about the same subscribers


@dataclass(frozen=True, eq=False)
class _Patterns:
    """The distinct scopes of a partition's subscribers, and what else the whole must know."""

    inverse: Any  # [S] the number of each subscriber's scope
    found: list[tuple[int, ...]]  # what each number stands for


@dataclass(frozen=True)
class _Told:
    """What a partition tells of its subscribers."""

    subscribers: int
    weight: float  # of all
    bad_weights: tuple[BadWeights, ...]
    most: int  # actions of any of them
    matched: tuple[int, ...]  # [W] conditions that hold for some: bits as in Candidates.scope


def assemble(job: Job, parts: Sequence[Candidates] | Parts, *, is_whole: bool = True) -> Placed:
    """Return the allocation problem of all partitions, one block a partition.

    Subscribers with equal scopes form a group (and equal weights, where a limit counts them);
    groups are split by key while there are few, so that the dual gets more cuts a pass. A block's
    rows are those alone, by group, then key; then the members of households, by key. Blocks are
    made where the candidates are, and stay there.

    Args:
        job: the job.
        parts: the candidates of each partition.
        is_whole: whether they are all subscribers, so that each condition should hold for some.

    Raises:
        ConfigError: conditions of constraints that no subscriber meets.
        DataError: weights that are no numbers from 0 to 1000 or too large in sum, or too many
            distinct scopes.
    """
    parts = parts_of(parts)
    summaries = parts.map(_told)
    bad_weights = [bad for summary in summaries for bad in summary.bad_weights]
    refuse_weights(job.catalogue.weight, bad_weights)
    if is_whole:
        _refuse_empty_scopes(job, summaries)
    total = sum(summary.weight for summary in summaries)
    if total > MOST_WEIGHT:
        raise DataError(
            f"catalogue.weight: sums to {total:,.0f}; at most {MOST_WEIGHT:,} allowed; divide the "
            "expression, or take fewer subscribers"
        )
    is_weighted = counts_weights(job)
    local = parts.keep(_patterns, is_weighted)
    patterns = sorted({pattern for found in local.map(_found) for pattern in found})
    patterns = patterns or [(0,) * (1 + is_weighted)]
    _refuse_many_groups(len(patterns), is_weighted=is_weighted, has_fatigue=bool(job.fatigue))
    number = {pattern: i for i, pattern in enumerate(patterns)}
    split = max(1, GROUPS_AT_LEAST // len(patterns))
    width = max([1, *(summary.most for summary in summaries)])
    placed = parts.keep(_placed, local, (number, split, rules(job).plan(), width))
    blocks = at_hand(placed.keep(itemgetter(1)))
    table = np.array(patterns, np.int64).repeat(split, axis=0)  # [G, W], then the weight
    conditions = tuple(scopes(job))
    holds = [table[:, i // WORD] >> i % WORD & 1 == 1 for i in range(len(conditions))]
    groups = Groups(
        conditions,
        np.array(holds, bool).reshape(len(conditions), len(table)),
        table[:, -1] if is_weighted else None,
    )
    stock = Stock(job, blocks, groups)
    return Placed(stock.pose(question(job)), at_hand(placed.keep(itemgetter(0))), stock)


def _told(part: Candidates) -> _Told:
    weight = float(part.weight.sum(dtype="float64"))
    matched = tuple(int(np.bitwise_or.reduce(to_cpu(word), initial=0)) for word in part.scope)
    most = int(part.most.max()) if len(part.reason) else 1
    return _Told(len(part.reason), weight, part.bad_weights, most, matched)


def _found(local: _Patterns) -> list[tuple[int, ...]]:
    return local.found


def _placed(
    part: Candidates, local: _Patterns, whole: tuple[Any, int, Plan | None, int]
) -> tuple[Any, Block]:
    """Return a partition's rows in the order of its block, and the block."""
    number, split, plan, width = whole
    side = tables.array_library(part.subscriber)
    code = side.asarray([number[pattern] for pattern in local.found], dtype="int64")[local.inverse]
    group = (code * split + (part.key >> 20) % split).astype("int32")
    order = [part.key, group.astype("int64")]
    for household in part.household:
        is_member = household >= 0
        first = side.where(is_member, part.key >> MEMBER_BITS, order[1])
        own = tables.bucket(part.subscriber, KEY_RANGE)  # of members with one key
        order = [own, part.key, household, first, is_member.astype("int64")]
    rows = side.lexsort(side.stack(order))
    block = Block(
        part.key[rows],
        side.ascontiguousarray(part.propensity[:, rows]),
        part.weight[rows],
        group[rows],
        part.most[rows],
        part.fewest[rows],
        side.ascontiguousarray(part.cap[:, rows]),
        side.ascontiguousarray(part.days[:, rows]),
        household=side.ascontiguousarray(part.household[:, rows]),
        room=side.ascontiguousarray(part.room[:, rows]),
    )
    return rows, spanned(block, plan, width)


def counts_weights(job: Job) -> bool:
    """Whether a limit counts weights: the value reached is to be kept by what is pursued next."""
    pursued = [goal.measure for goal in job.goals if not goal.meet]
    pursued += [job.objective.measure] if job.objective.then else []
    return "value" in pursued and job.catalogue.weight is not None


def _patterns(part: Candidates, is_weighted: bool) -> _Patterns:  # noqa: FBT001 (as mapped)
    """Number the distinct scopes (and weights) of a partition."""
    side = tables.array_library(part.subscriber)
    rows = list(part.scope)
    if is_weighted:
        rows.append(side.rint(part.weight.astype("float64") * WEIGHT_GRID).astype("int64"))
    number = side.zeros(len(part.reason), "int64")
    for row in rows:
        values, inverse = side.unique(row, return_inverse=True)
        _, number = side.unique(number * len(values) + inverse.ravel(), return_inverse=True)
        number = number.ravel()
    _, first = side.unique(number, return_index=True)
    found = to_cpu(side.stack([row[first] for row in rows])).T.tolist()
    return _Patterns(number, [tuple(pattern) for pattern in found])


def _refuse_many_groups(count: int, *, is_weighted: bool, has_fatigue: bool) -> None:
    """Raise if limits tell too many kinds of subscribers apart."""
    if count > MOST_GROUPS:
        weights = " and the weights that the value to keep counts" if is_weighted else ""
        levels = " with the levels of fatigue" if has_fatigue else ""
        raise DataError(
            f"constraints: their conditions (where){levels}{weights} tell {count:,} groups of "
            f"subscribers apart; at most {MOST_GROUPS:,} are allowed; make some coarser"
        )


def _refuse_empty_scopes(job: Job, parts: Sequence[_Told]) -> None:
    """Raise if there are subscribers, but none in the scope of some constraint."""
    if not any(part.subscribers for part in parts):
        return
    place = {where: i for i, where in enumerate(scopes(job))}

    def matches(where: str) -> bool:
        word, bit = divmod(place[where], WORD)
        return any(part.matched[word] >> bit & 1 for part in parts)

    problems = []
    for constraint in job.constraints:
        parts_of_it = zip(("of", "to"), parts_of_limit(constraint, job), strict=True)
        for name, part in parts_of_it if constraint.enforce else ():
            if part is None or part.where is None or matches(part.where):
                continue
            setting = "where" if constraint.ratio is None else f"ratio.{name}"
            problems.append(
                f"constraints.{constraint.name}.{setting}: matches no subscriber, got "
                f"{part.where}; change the condition or leave the constraint out"
            )
    if problems:
        raise ConfigError.of(problems)
