"""The best value as one limit changes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine import asked
from engine.problem import Problem
from engine.solve import Allocation, Status


@dataclass(frozen=True)
class Point:
    """One answer of a frontier."""

    limit: float  # units of the measure
    status: Status
    value: float | None  # money; None, as all below: limits conflict
    bound: float | None  # money
    gap: float | None
    price: float | None  # money a unit; of an equation below 0 if less is worth more
    uses: dict[str, float | None]  # limit -> units; None: a ratio by nothing


def point(problem: Problem, name: str, limit: float, found: Allocation) -> Point:
    """Return an answer as a point.

    Args:
        problem: under the limit.
        name: of the limit that changes.
        limit: its amount, units.
        found: the answer.
    """
    if found.status == Status.INFEASIBLE:
        return Point(limit, found.status, None, None, None, None, {})
    uses = asked.uses(problem, found.use, found.chosen)
    price = asked.price(problem, name, found.prices)
    return Point(limit, found.status, found.value, found.bound, found.gap, price, uses)


def monotone(points: Sequence[Point], tolerance: float) -> list[Point]:
    """Return the points with what they prove for each other: values and bounds never fall.

    What is allowed at a tighter limit is so at a looser one, and no allocation at a tighter limit
    is worth more than the bound at a looser one.

    Args:
        points: the tightest limit first.
        tolerance: the gap that counts as solved.
    """
    out = list(points)
    for i in range(1, len(out)):
        before, now = out[i - 1].value, out[i].value
        if before is not None and now is not None and before > now:
            out[i] = replace(out[i], value=before, uses=out[i - 1].uses)
    for i in range(len(out) - 2, -1, -1):
        after, bound = out[i + 1].bound, out[i].bound
        if after is not None and bound is not None and after < bound:
            out[i] = replace(out[i], bound=after)
    return [_judged(p, tolerance) for p in out]


def _judged(p: Point, tolerance: float) -> Point:
    if p.value is None or p.bound is None:
        return p
    gap = (p.bound - p.value) / max(1.0, abs(p.bound))
    return replace(p, gap=gap, status=Status.OPTIMAL if gap <= tolerance else p.status)
