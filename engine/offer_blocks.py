"""What the oracles ask of one block, wherever it is: pure functions, on the block's side."""

from typing import Any

from engine.block import Block
from engine.rules import Plan
from kernels.backend import library, to_cpu
from kernels.choose import choose, curve, within
from kernels.gather import counted_codes, marked
from kernels.planned import choose_planned, curve_planned

GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # odd; its products' high bits mix all bits of a key


def best_of(
    block: Block, tables: Any, width: int, plan: Plan | None = None
) -> tuple[Any, Any, Any]:
    """Return bundles and margins of a block, and their tally on the host."""
    if plan is not None and plan.is_by_pair(block.propensity):
        found = choose_planned(*_planned(block, tables, plan), width)
    else:
        found = choose(*_arguments(block, tables), width)
    return found[0], found[1], to_cpu(found[2])


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
    """Return the rows of a block, or those among some, whose margin is within the reach."""
    if among is not None:
        chosen, margin, group = (x[..., among] for x in (chosen, margin, block.group))
        side = library(margin)
        near = within(side.ascontiguousarray(chosen), margin, group, side.asarray(reach))
        return among[marked(near)]
    return marked(within(chosen, margin, block.group, library(margin).asarray(reach)))


def near_cells(block: Block, chosen: Any, rows: Any, shape: tuple[int, int]) -> Any:
    """Return [G, 1 + A] how many of some rows have no action, or each action, on the host."""
    return counted_codes(chosen, rows, block.group[rows], shape)


def one_in(block: Block, every: int) -> Block:
    """Return the block of one in so many of its subscribers, a power of 2, by their keys."""
    if every == 1:
        return block
    return block.take(marked((block.key * GOLDEN >> 48 & (every - 1)) == 0))


def curve_of(block: Block, tables: Any, sizes: Any, plan: Plan | None = None) -> tuple[Any, ...]:
    """Return tally, curvature and the number of near ties of a block, on the host."""
    if plan is not None and plan.is_by_pair(block.propensity):
        found = curve_planned(*_planned(block, tables, plan), *sizes)
    else:
        found = curve(*_arguments(block, tables), *sizes)
    return tuple(to_cpu(x) for x in found)
