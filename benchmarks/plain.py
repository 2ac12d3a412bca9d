"""An allocation problem as plain pair lists, that every solver can be given.

    maximise    sum_n value[n] x[n]
    subject to  sum_n use[k,n] x[n] <= limit[k]                     for every k
                the pairs of a subscriber keep its caps             for every s
                x in {0, 1}

Caps of subscriber s: at most ``most[s]`` pairs in all, ``category_most[h,s]`` of category h,
``channel_most[c,s]`` on channel c, and one of each offer. A minimum is a negated row.

Numbers are float64 and exact multiples of 2**value_grid and 2**use_grid, so they are whole numbers
once divided by it. They count units of ``value_unit`` and ``use_unit``: micro-money, say.
S subscribers, A actions, N open pairs, M uses other than zero, K limits, C channels, H categories.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from engine.problem import Problem, whole_limits
from kernels.choose import PROPENSITY_GRID, WEIGHT_GRID

MICRO = 1e-6
MOST_WHOLE = 1 << 53  # whole numbers up to here are exact in float64


@dataclass(frozen=True, eq=False)
class Plain:
    """One problem. Pairs are listed by subscriber, their uses by pair."""

    indptr: Any  # [S + 1] int64, pairs of subscriber s are indptr[s]:indptr[s + 1]
    action: Any  # [N] int32, ascending within a subscriber
    value: Any  # [N] float64, units of value_unit
    use_indptr: Any  # [N + 1] int64, uses of pair n are use_indptr[n]:use_indptr[n + 1]
    use_row: Any  # [M] int32, the limit
    use_amount: Any  # [M] float64, units of use_unit
    limit: Any  # [K] float64, units of use_unit
    most: Any  # [S] uint8
    category: Any  # [A] int32
    category_most: Any  # [H, S] uint8
    channel: Any  # [A] int32
    channel_most: Any  # [C, S] uint8
    offer: Any  # [A] int32
    value_grid: int  # values are multiples of 2**value_grid
    use_grid: int  # amounts and limits are multiples of 2**use_grid
    value_unit: float = 1.0
    use_unit: float = 1.0

    @property
    def subscribers(self) -> int:
        """Return S."""
        return len(self.indptr) - 1

    @property
    def pairs(self) -> int:
        """Return N."""
        return len(self.action)

    @property
    def owner(self) -> Any:
        """Return [N] int64, the subscriber of each pair."""
        return np.repeat(np.arange(self.subscribers), np.diff(self.indptr))

    @property
    def arrays(self) -> tuple[Any, ...]:
        """Return the subscribers' side, as the compiled functions take it."""
        return (
            self.indptr, self.action, self.most, self.category, self.category_most,
            self.channel, self.channel_most, self.offer,
        )  # fmt: skip

    @property
    def uses(self) -> tuple[Any, Any, Any]:
        """Return the limits' side, as the compiled functions take it."""
        return self.use_indptr, self.use_row, self.use_amount


def save(plain: Plain, path: str | Path) -> None:
    """Write a problem to a .npz file, uncompressed."""
    np.savez(path, **{f.name: getattr(plain, f.name) for f in fields(Plain)})


def load(path: str | Path) -> Plain:
    """Read a problem that :func:`save` wrote.

    Raises:
        ValueError: the file lacks an array, or arrays do not fit together.
    """
    with np.load(path) as file:
        missing = [f.name for f in fields(Plain) if f.name not in file]
        if missing:
            raise ValueError(f"{path}: lacks {', '.join(missing)}")
        found = {f.name: file[f.name] for f in fields(Plain)}
    plain = Plain(**{n: a if a.ndim else a.item() for n, a in found.items()})
    check(plain)
    return plain


def check(plain: Plain) -> None:
    """Check that the arrays fit together and keep to their grids.

    Raises:
        ValueError: which do not.
    """
    pairs, subscribers, actions = plain.pairs, plain.subscribers, len(plain.category)
    shapes = {
        "value": (pairs,), "use_indptr": (pairs + 1,), "use_row": plain.use_amount.shape,
        "most": (subscribers,), "channel": (actions,), "offer": (actions,),
        "category_most": (len(plain.category_most), subscribers),
        "channel_most": (len(plain.channel_most), subscribers),
    }  # fmt: skip
    for name, shape in shapes.items():
        if getattr(plain, name).shape != shape:
            raise ValueError(f"{name}: has shape {getattr(plain, name).shape}; {shape} is needed")
    for name, count, end in (("indptr", subscribers, pairs), ("use_indptr", pairs, None)):
        pointer = getattr(plain, name)
        end = len(plain.use_row) if end is None else end
        if pointer[0] != 0 or pointer[count] != end or (np.diff(pointer) < 0).any():
            raise ValueError(f"{name}: must rise from 0 to {end}")
    for name, below in (
        ("action", actions), ("use_row", len(plain.limit)),
        ("category", len(plain.category_most)), ("channel", len(plain.channel_most)),
    ):  # fmt: skip
        array = getattr(plain, name)
        if len(array) and not 0 <= array.min() <= array.max() < below:
            raise ValueError(f"{name}: must be in [0, {below})")
    for name, grid in (
        ("value", plain.value_grid), ("use_amount", plain.use_grid), ("limit", plain.use_grid),
    ):  # fmt: skip
        array = np.ldexp(getattr(plain, name), -grid)
        if not (np.isfinite(array).all() and (array == np.rint(array)).all()):
            raise ValueError(f"{name}: must be multiples of 2**{grid}")


def on_grid(amounts: Any, grid: int) -> Any:
    """Round amounts to multiples of 2**grid."""
    return np.ldexp(np.rint(np.ldexp(np.asarray(amounts, np.float64), -grid)), grid)


def below_on_grid(amounts: Any, grid: int) -> Any:
    """Round amounts down to multiples of 2**grid."""
    return np.ldexp(np.floor(np.ldexp(np.asarray(amounts, np.float64), -grid)), grid)


def joined(parts: Any) -> Any:
    """Return the pointers of lists of so many items each: [n + 1] int64."""
    return np.concatenate([[0], np.cumsum(parts, dtype=np.int64)])


def lowered(problem: Problem) -> Plain:
    """List the open pairs of a structured problem with their numbers, in micro-units.

    Uses and limits are exact. A value is rounded to float64 and to the grid on which the largest
    value has 53 bits; nothing is lost while contacts and acceptances are worth less than 500 money.

    Args:
        problem: the problem; its blocks on the host.

    Raises:
        ValueError: a pair's use is too large to be exact in float64.
    """
    parts = [_block_pairs(problem, block) for block in problem.blocks]
    counts, action, value, use_counts, rows, amounts = map(np.concatenate, zip(*parts, strict=True))
    grid = -int(PROPENSITY_GRID).bit_length() + 1
    largest = float(np.abs(value).max(initial=1.0))
    value_grid = max(grid - int(WEIGHT_GRID).bit_length() + 1, int(np.frexp(largest)[1]) - 53)
    return Plain(
        joined(counts), action, on_grid(value, value_grid), joined(use_counts), rows, amounts,
        whole_limits(problem).astype(np.float64),
        np.concatenate([b.most for b in problem.blocks]), *_partitions(problem), problem.offer,
        value_grid, grid, MICRO, MICRO,
    )  # fmt: skip


def _partitions(problem: Problem) -> tuple[Any, Any, Any, Any]:
    """Return the caps as two partitions of the actions, each with [H, S] caps of its parts.

    Raises:
        ValueError: the rules say more than caps on the parts of two partitions.
    """
    rules, blocks = problem.rules, problem.blocks
    is_plain = not (rules.exclusive or rules.requires or rules.per_contact.any())
    if not is_plain or any(b.fewest.any() for b in blocks):
        raise ValueError("a plain problem has caps on actions alone")
    cap = np.concatenate([b.cap for b in blocks], axis=1)
    found = [(np.zeros(len(problem.offer), np.int32), [np.full(cap.shape[1], 255, np.uint8)])
             for _ in range(2)]  # fmt: skip
    for members, most in zip(rules.members, cap, strict=True):
        free = [p for p in found if not p[0][members].any()]
        if not free:
            raise ValueError("a plain problem has caps on the parts of two partitions")
        part, caps = free[0]
        part[members] = len(caps)
        caps.append(most)
    (one, caps), (other, more) = found
    return one, np.stack(caps), other, np.stack(more)


def _block_pairs(problem: Problem, block: Any) -> tuple[Any, ...]:
    open_ = ~np.isnan(block.propensity.T)
    s, a = np.nonzero(open_)
    p = np.rint(block.propensity.T[open_].astype(np.float64) * PROPENSITY_GRID).astype(np.int64)
    base = problem.value_fixed[a] * float(PROPENSITY_GRID)
    base += problem.value_accept[a].astype(np.float64) * p
    weight = np.rint(block.weight.astype(np.float64) * WEIGHT_GRID)
    value = weight[s] * base / (float(PROPENSITY_GRID) * float(WEIGHT_GRID))
    fixed, accept = (t.astype(np.float64) for t in (problem.use_fixed, problem.use_accept))
    used = (problem.use_fixed != 0) | (problem.use_accept != 0)
    if (np.abs(fixed) * PROPENSITY_GRID + np.abs(accept) * PROPENSITY_GRID >= MOST_WHOLE).any():
        raise ValueError("a use of a pair needs more than 53 bits")
    # [G, A] lists of the limits that a pair may use
    listed = (problem.in_scope.T[:, :, None] & used[None]).transpose(0, 2, 1)
    pointer = joined(listed.sum(axis=2).ravel())
    limits = np.nonzero(listed)[2].astype(np.int32)
    group = block.group[s].astype(np.int64)
    amounts = problem.use_fixed, problem.use_accept, int(PROPENSITY_GRID)
    pairs = group * len(problem.offer) + a, a, p
    counts, rows, amount = _pair_uses(*pairs, (pointer, limits), amounts)
    return open_.sum(axis=1), a.astype(np.int32), value, counts, rows, amount


@njit(cache=True, nogil=True)
def _pair_uses(place: Any, action: Any, p: Any, lists: Any, amounts: Any) -> Any:
    pointer, limits = lists
    fixed, accept, grid = amounts
    counts = np.zeros(place.size, np.int64)
    total = 0
    for n in range(place.size):
        total += pointer[place[n] + 1] - pointer[place[n]]
    rows, amount = np.empty(total, np.int32), np.empty(total, np.float64)
    m = 0
    for n in range(place.size):
        for i in range(pointer[place[n]], pointer[place[n] + 1]):
            k = limits[i]
            units = fixed[k, action[n]] * grid + accept[k, action[n]] * p[n]
            if units != 0:
                rows[m], amount[m] = k, units / grid
                m += 1
                counts[n] += 1
    return counts, rows[:m], amount[:m]
