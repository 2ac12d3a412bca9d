"""Which policies together close the pairs of a partition: sets of them, by action."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from engine.actions import Action
from engine.policies import Closed

MOST_SETS = 1 << 9  # sets that are told apart before those without a pair are dropped
DIGIT = 24  # bits of a number that are summed together: exact in float64

Worth = Callable[[int, Any], Any]
Sets = dict[tuple[int, tuple[str, ...]], tuple[int, int, int]]
"""Action and policies -> subscribers, those to whom the action is worth its price, its worth."""


def sets_of(closed: Mapping[str, Sequence[Closed]], open_: Any, worth: Worth) -> Sets:
    """Return, for each action, every set of policies that forbid it, and to how many.

    Args:
        closed: by policy, the pairs that it forbids by itself.
        open_: [A, S] bool, pairs that nothing but policies closes.
        worth: gives the worth of an action to some rows, int64 units, >= 0.
    """
    found: Sets = {}
    for a in range(len(open_)):
        code = np.zeros(open_.shape[1], np.int64)
        names: list[tuple[str, ...]] = [()]
        for policy, own in closed.items():
            masks = [one.rows for one in own if a in one.actions]
            if masks:
                code, names = _beside(code, names, policy, np.logical_or.reduce(masks))
        rows = np.flatnonzero(open_[a] & (code > 0))  # number 0: no policy
        amount = worth(a, rows)
        code, size = code[rows], len(names)
        count = np.bincount(code, minlength=size)
        worthy = np.bincount(code, amount > 0, minlength=size)
        for n in np.flatnonzero(count).tolist():
            found[a, names[n]] = (int(count[n]), int(worthy[n]), 0)
        for shift in range(0, 63, DIGIT):
            digit = amount >> shift & ((1 << DIGIT) - 1)
            total = np.bincount(code, digit, minlength=size)
            for n in np.flatnonzero(total).tolist():
                subscribers, some, units = found[a, names[n]]
                found[a, names[n]] = (subscribers, some, units + (int(total[n]) << shift))
    return found


def _beside(
    code: Any, names: Sequence[tuple[str, ...]], policy: str, mask: Any
) -> tuple[Any, list[tuple[str, ...]]]:
    """Number the sets anew where one policy more forbids some rows."""
    code = code + len(names) * mask
    more = [*names, *((*own, policy) for own in names)]
    if len(more) <= MOST_SETS:
        return code, more
    count = np.bincount(code, minlength=len(more))
    count[0] = 1  # the empty set stays number 0
    kept = np.flatnonzero(count)
    number = np.zeros(len(more), np.int64)
    number[kept] = np.arange(len(kept))
    return number[code], [more[n] for n in kept.tolist()]


def merged(found: Iterable[Sets]) -> Sets:
    """Return the sets of all partitions together."""
    total: Counter[Any] = Counter()
    for own in found:
        for place, numbers in own.items():
            for i, n in enumerate(numbers):
                total[place, i] += n
    places = dict.fromkeys(place for place, _ in total)
    return {place: (total[place, 0], total[place, 1], total[place, 2]) for place in places}


def table(found: Sets, acts: Sequence[Action], unit: int | None) -> pd.DataFrame:
    """Return the sets as a table, by action and the most subscribers first.

    Of several days it has a column of days, from 1 on.

    Args:
        found: of all partitions.
        acts: the actions.
        unit: units of worth in one of what is pursued; None: nothing has a worth.
    """
    rows = [
        (acts[a].offer, acts[a].channel, acts[a].day + 1, ", ".join(names), count,
         None if unit is None else some, np.nan if unit is None else units / unit)
        for (a, names), (count, some, units) in
        sorted(found.items(), key=lambda item: (item[0][0], -item[1][0], item[0][1]))
    ]  # fmt: skip
    names = ["offer", "channel", "day", "policies", "subscribers", "worthwhile", "surplus"]
    kinds = ["str", "str", "int64", "str", "int64", "Int64", "float64"]
    frame = pd.DataFrame(rows, columns=names).astype(dict(zip(names, kinds, strict=True)))
    return frame if any(act.day for act in acts) else frame.drop(columns="day")
