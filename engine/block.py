"""Some of the subscribers of an allocation problem as arrays, on either side.

The members of a household are neighbours, in the order of their keys, and all in one block.

S subscribers, P pairs of offer and channel, A actions (a pair on a day; of one day A = P), D caps,
E caps over households, M classes of pairs, Q most actions of a subscriber.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.rules import Plan
from kernels.backend import library, to_cpu
from kernels.gather import gather_all, up_to
from kernels.planned import spans

if TYPE_CHECKING:
    from engine.problem import Problem

KEY_RANGE = 1 << 63
MEMBER_BITS = 32  # of the key of a household's member, the last, are its own


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the subscribers; the arrays may live on either side, all on one."""

    key: Any  # [S] int64 in [0, KEY_RANGE), stable hash of the subscriber: the canonical order
    propensity: Any  # [P or A, S] float32, multiple of 2**-24 in [0, 1]; NaN: not open
    weight: Any  # [S] float32, multiple of 2**-10 in [0, 1000]
    group: Any  # [S] int32, in [0, G)
    most: Any  # [S] uint8
    fewest: Any  # [S] uint8, with the flag MUST where the empty bundle is no choice
    cap: Any  # [D, S] uint8, >= 1 for the caps of an open action
    days: Any = None  # [M, S] uint16, bit d: pairs of the class are open on day d; M = 0: any day
    spans: Any = None  # [L (Q - 1), S] int64, the caps as :func:`kernels.planned.spans` has them
    household: Any = None  # [1 or 0, S] int64, equal for members; -1: alone; none: nothing is asked
    room: Any = None  # [E, S] uint8, what caps leave the household, the same for its members

    def __post_init__(self) -> None:
        none = library(self.propensity).zeros((0, len(self)), "int64")
        for name, kind in (
            ("days", "uint16"), ("spans", "int64"), ("household", "int64"), ("room", "uint8"),
        ):  # fmt: skip
            if getattr(self, name) is None:
                object.__setattr__(self, name, none.astype(kind))

    def __len__(self) -> int:
        return int(self.propensity.shape[1])

    @staticmethod
    def empty(problem: "Problem") -> "Block":
        """Return a host block without subscribers."""
        none, caps = np.empty(0, np.uint8), len(problem.rules.members)
        return Block(
            np.empty(0, np.int64), np.empty((problem.pairs, 0), np.float32),
            np.empty(0, np.float32), np.empty(0, np.int32), none, none,
            np.empty((caps, 0), np.uint8),
            np.empty((problem.rules.classes, 0), np.uint16),
            np.empty((problem.spans, 0), np.int64),
            np.empty((problem.rules.households is not None, 0), np.int64),
            np.empty((problem.rules.household_caps, 0), np.uint8),
        )  # fmt: skip

    @staticmethod
    def taken(blocks: Sequence["Block"], rows: Sequence[Any]) -> "Block":
        """Return one block of some rows (positions) of each of several blocks."""
        return Block(*gather_all([list(b.__dict__.values()) for b in blocks], rows))

    def take(self, rows: Any) -> "Block":
        """Return the block of some of its rows (positions)."""
        return Block.taken([self], [rows])

    def up_to(self, key: int) -> Any:
        """Return the rows (positions) whose key is at most ``key``, whole households of them."""
        return up_to(self.key, key | ((1 << MEMBER_BITS) - 1) if len(self.household) else key)

    def arrays(self) -> tuple[Any, ...]:
        """Return the subscriber side of the kernels' arguments."""
        return (
            self.propensity,
            self.weight,
            self.group,
            self.most,
            self.fewest,
            self.cap,
        )


def spread(block: Block, plan: Plan | None) -> Block:
    """Return a block with a row for each action, NaN on days on which it is not open.

    Args:
        block: with a row for each pair, or already spread.
        plan: None: of one day.
    """
    if plan is None or not plan.is_by_pair(block.propensity):
        return block
    side = library(block.propensity)
    p = block.propensity.repeat(plan.days, axis=0)
    own = block.days[side.asarray(plan.day_class)].repeat(plan.days, axis=0)
    day = side.tile(side.arange(plan.days, dtype="uint16"), len(plan.day_class))
    p[own >> day[:, None] & 1 == 0] = np.nan
    return Block(**{**block.__dict__, "propensity": p, "days": None, "spans": None})


def spanned(block: Block, plan: Plan | None, width: int) -> Block:
    """Return the block with the spans that its caps give.

    Args:
        block: of several days, with a row for each pair.
        plan: of the problem.
        width: Q, the most actions of any subscriber of the problem, at least 1.
    """
    if plan is None:
        return block
    runs = (library(block.cap).asarray(x) for x in (plan.group, plan.first, plan.last))
    found = spans(block.cap, *runs, len(plan.within), width - 1)
    return Block(**{**block.__dict__, "spans": found})


def open_pairs(block: Block) -> int:
    """Return the number of open pairs of a block, on whatever days."""
    return int((block.propensity == block.propensity).sum())


def to_host(block: Block) -> Block:
    """Return the block in host memory."""
    return Block(**{name: to_cpu(array) for name, array in block.__dict__.items()})


def joined(blocks: list[Block]) -> Block:
    """Return one block of the subscribers of all, on their side; of none there is no block."""
    if len(blocks) == 1:
        return blocks[0]
    side, parts = library(blocks[0].propensity), [b.__dict__ for b in blocks]
    return Block(**{name: side.concatenate([p[name] for p in parts], axis=-1) for name in parts[0]})
