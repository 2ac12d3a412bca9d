"""What the oracles ask of one block, wherever it is: pure functions, on the block's side."""

from dataclasses import dataclass
from typing import Any

from engine.block import MEMBER_BITS, Block
from engine.problem import Problem
from engine.rules import Plan
from kernels.backend import library, to_cpu
from kernels.choose import choose, curve, within
from kernels.gather import counted_codes, marked
from kernels.households import choose_households, curve_households
from kernels.planned import choose_planned, curve_planned

GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # odd; its products' high bits mix all bits of a key


@dataclass(frozen=True, eq=False)
class Ways:
    """What bundles there may be, beside the tables of the kernels."""

    width: int  # Q
    plan: Plan | None  # of several days
    households: tuple[Any, ...] | None  # as :meth:`HouseholdRules.arrays`; None: nothing is joint

    @staticmethod
    def of(problem: Problem) -> "Ways":
        """Return those of a problem."""
        rules = problem.rules
        joint = None if rules.households is None else rules.households.arrays(problem.offer)
        return Ways(problem.width, rules.plan(), joint)


def best_of(block: Block, tables: Any, ways: Ways) -> tuple[Any, Any, Any]:
    """Return bundles and margins of a block, and their tally on the host."""
    if ways.plan is not None and ways.plan.is_by_pair(block.propensity):
        found = choose_planned(*_planned(block, tables, ways.plan), ways.width)
    elif ways.households is None:
        found = choose(*_arguments(block, tables), ways.width)
    else:
        found = choose(*_arguments(_alone(block), tables), ways.width)
        choose_households(*_joint(block, tables, ways.households), *found)
    return found[0], found[1], to_cpu(found[2])


def _alone(block: Block) -> Block:
    """Return the block with nothing for the members of households."""
    is_alone = block.household[0] < 0
    return Block(**{**block.__dict__, "most": block.most * is_alone})


def _joint(block: Block, tables: Any, households: Any) -> tuple[Any, ...]:
    """Return the arguments of the kernels over households, up to the prices."""
    offer, kind, contact, indptr, caps, per_contact, conflicts, _, *rest = tables
    asarray = library(block.propensity).asarray
    mine = (block.propensity, block.weight, block.group, block.most, block.cap)
    own = (offer, kind, contact, indptr, caps, per_contact, conflicts)
    tables_ = map(asarray, (*own, *households, *rest))
    return (*mine, block.household[0], block.room, *tables_)


def _arguments(block: Block, tables: Any) -> tuple[Any, ...]:
    """Return the arguments of the kernels, without the sizes."""
    return (*block.arrays(), *map(library(block.propensity).asarray, tables))


def _planned(block: Block, tables: Any, plan: Plan) -> tuple[Any, ...]:
    """Return the arguments of the kernels over several days, without the sizes."""
    offer, _, _, _, _, _, conflicts, requires, *rest = tables
    asarray = library(block.propensity).asarray
    mine = (*block.arrays()[:5], block.days, block.spans)
    return (*mine, *map(asarray, (offer, conflicts, requires, *plan.arrays(), *rest)))


def heaviest(block: Block) -> float:
    """Return the largest weight of a block."""
    return float(block.weight.max()) if len(block) else 0.0


def near_rows(block: Block, chosen: Any, margin: Any, reach: Any, among: Any = None) -> Any:
    """Return the rows of a block, or those among some, whose margin is within the reach.

    Of a household all members are, or nobody is.
    """
    group, household, side = block.group, block.household, library(margin)
    if among is not None:
        arrays = (chosen, margin, group, household)
        chosen, margin, group, household = (x[..., among] for x in arrays)
        chosen = side.ascontiguousarray(chosen)
    near = within(chosen, margin, group, side.asarray(reach))
    if len(household):
        _take_in_mates(near, household[0])
    rows = marked(near)
    return rows if among is None else among[rows]


def _take_in_mates(near: Any, household: Any) -> None:
    """Mark all members of a household, which are neighbours, where one is marked."""
    side = library(near)
    rows = side.flatnonzero(household >= 0)
    if not len(rows):
        return
    own = household[rows]
    number = side.zeros(len(rows), "int64")
    number[1:] = side.cumsum(own[1:] != own[:-1])
    has_near = side.zeros(len(rows), bool)
    has_near[number[near[rows] != 0]] = True
    near[rows] = has_near[number]


def near_cells(block: Block, chosen: Any, rows: Any, shape: tuple[int, int]) -> Any:
    """Return [G, 1 + A] how many of some rows have no action, or each action, on the host."""
    return counted_codes(chosen, rows, block.group[rows], shape)


def one_in(block: Block, every: int) -> Block:
    """Return the block of one in so many of its subscribers, a power of 2, by their keys.

    Households are taken whole.
    """
    if every == 1:
        return block
    key = block.key
    if len(block.household):
        key = library(key).where(block.household[0] < 0, key, key >> MEMBER_BITS)
    return block.take(marked((key * GOLDEN >> 48 & (every - 1)) == 0))


def curve_of(block: Block, tables: Any, sizes: tuple[Any, ...], ways: Ways) -> tuple[Any, ...]:
    """Return tally, curvature and the number of near ties of a block, on the host.

    Args:
        block: the block.
        tables: of the kernels, with the entries.
        sizes: bandwidth, unit of squares, and number of limits.
        ways: what bundles there may be.
    """
    if ways.plan is not None and ways.plan.is_by_pair(block.propensity):
        found = curve_planned(*_planned(block, tables, ways.plan), *sizes, ways.width)
    elif ways.households is None:
        found = curve(*_arguments(block, tables), *sizes, ways.width)
    else:
        found = curve(*_arguments(_alone(block), tables), *sizes, ways.width)
        bandwidth, unit, _ = sizes
        curve_households(
            *_joint(block, tables, ways.households), *found, bandwidth, unit, ways.width
        )
    return tuple(to_cpu(x) for x in found)
