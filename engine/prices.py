"""Find the prices: minimise the Lagrangian dual by cutting planes in a trust box.

    D(prices) = prices . limit + sum_g D_g(prices),
    D_g(prices) = max over bundles of class g of  value_g - prices . use_g

A class is one or more scope groups of subscribers, G of them here. D is convex and piecewise
linear. Every evaluation yields, for each class, a bundle choice and so a cut that D_g never falls
below. OR-Tools (GLOP) minimises the model made of the cuts inside a box around the best prices;
the box widens when the model was right at its face and shrinks when it was wrong.

Source:
    Marsten, Hogan, Blankenship, "The Boxstep Method for Large-Scale Optimization", Operations
    Research 23(3), 1975; Lemaréchal, Nemirovskii, Nesterov, "New variants of bundle methods",
    Mathematical Programming 69, 1995.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ortools.linear_solver import pywraplp

from engine.errors import EngineError

# A trial goes this far from the best prices to the model's minimum: a whole step overshoots
# (Ben-Ameur and Neto, "Acceleration of cutting-plane and column generation algorithms", 2007).
STEP = 0.4
WIDEN, NARROW = 2.0, 0.5
# Warm: rows were only added and bounds moved, so the dual simplex goes on where it ended. Cold:
# from scratch, for the rare model on which the warm start does not end.
WARM = (
    "use_dual_simplex: true, use_preprocessing: false, random_seed: 1, "
    "max_number_of_iterations: 5000"
)
COLD = (
    "use_dual_simplex: false, use_preprocessing: true, random_seed: 1, "
    "max_number_of_iterations: 50000, change_status_to_imprecise: false"
)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The best bundles at some prices, added up by class."""

    prices: Any  # [K] float64, money per unit of the constraint
    value: Any  # [G] float64, money
    use: Any  # [K, G] float64, units of the constraint
    floor: float = 0.0  # no D_g is below it: 0, or -inf where the empty bundle is no choice

    @cached_property
    def use_in_all(self) -> Any:
        """Return [K] the use of all classes, added in their order."""
        total = np.zeros(len(self.use))
        for g in range(self.use.shape[1]):
            total += self.use[:, g]
        return total

    def dual(self, limit: Any) -> float:
        """Return D(prices)."""
        kept = self.value - _dot(self.prices, self.use)
        return float(sum(kept.tolist()) + sum((self.prices * limit).tolist()))


@dataclass(frozen=True, eq=False)
class Dual:
    """Prices that minimise the dual."""

    prices: Any  # [K] float64
    bound: float  # D(prices), money
    model: float  # lower bound of min D by the cuts, money; exact when ``is_inside``
    is_inside: bool  # the minimum of the model is inside the box
    best: Evaluation  # at the prices
    evaluations: int

    @property
    def gap(self) -> float:
        """Return how far the bound may still fall, as a share of it."""
        return (self.bound - self.model) / max(1.0, abs(self.bound))


def _dot(prices: Any, use: Any) -> Any:
    """Return prices @ use, summed in a fixed order (BLAS would depend on the processor)."""
    out = np.zeros(use.shape[1])
    for k in range(len(prices)):
        out += prices[k] * use[k]
    return out


class Master:
    """The cutting-plane model of the dual, as a linear program that only grows."""

    def __init__(
        self,
        limit: Any,
        scale: Any,
        *,
        unit: float,
        range_: tuple[Any, Any],
        groups: int,
        floor: float = 0.0,
    ) -> None:
        """Start with the cut of the empty bundle, ``D_g >= 0``, if everybody may have it.

        Args:
            limit: [K] float64, units of the constraint.
            scale: [K] float64, > 0, units of the constraint that a typical contact uses; the
                model's prices are those of such a contact.
            unit: money, what a typical contact is worth: the model's money.
            range_: [K] float64 twice, smallest and largest price, money per unit.
            groups: G.
            floor: as in :class:`Evaluation`.
        """
        self.floor = floor
        self.solver = pywraplp.Solver.CreateSolver("GLOP")
        self.scale, self.unit, self.range = scale, unit, range_
        infinity = self.solver.infinity()
        self.price = [self.solver.NumVar(0, infinity, f"price_{k}") for k in range(len(limit))]
        self.loss = [self.solver.NumVar(floor, infinity, f"class_{g}") for g in range(groups)]
        objective = self.solver.Objective()
        for variable, coefficient in zip(self.price, limit / scale, strict=True):
            objective.SetCoefficient(variable, float(coefficient))
        for variable in self.loss:
            objective.SetCoefficient(variable, 1.0)
        objective.SetMinimization()

    def add(self, evaluation: Evaluation) -> None:
        """Add the evaluation's cut of each class: ``D_g >= value_g - prices . use_g``."""
        infinity = self.solver.infinity()
        scaled = evaluation.use / self.scale[:, None]
        for g, variable in enumerate(self.loss):
            column = scaled[:, g]
            if self.floor == 0.0 and evaluation.value[g] == 0.0 and not column.any():
                continue  # the empty bundle's cut is there from the start
            cut = self.solver.Constraint(float(evaluation.value[g] / self.unit), infinity)
            cut.SetCoefficient(variable, 1.0)
            for k in np.flatnonzero(column):
                cut.SetCoefficient(self.price[k], float(column[k]))

    def solve(self, centre: Any, radius: float) -> tuple[Any, float, bool]:
        """Return prices, the model's minimum in the box, and whether it is off all faces."""
        scale, radius = self.scale / self.unit, radius / self.unit
        lowest, highest = (bound * scale for bound in self.range)
        middle = centre * scale
        lower = np.maximum(lowest, middle - radius)
        upper = np.minimum(highest, middle + radius)
        for k, variable in enumerate(self.price):
            variable.SetBounds(float(lower[k]), float(upper[k]))
        for options in (WARM, COLD):
            self.solver.SetSolverSpecificParametersAsString(options)
            status = self.solver.Solve()
            if status == pywraplp.Solver.OPTIMAL:
                break
        if status != pywraplp.Solver.OPTIMAL:
            raise EngineError(f"the linear program over prices ended with status {status}")
        scaled = np.array([v.solution_value() for v in self.price])
        slack = 1e-9 * (1.0 + radius)
        on_face = ((scaled <= lower + slack) & (lower > lowest)) | (
            (scaled >= upper - slack) & (upper < highest)
        )
        prices = np.clip(scaled / scale, *self.range)
        return prices, float(self.solver.Objective().Value()) * self.unit, not on_face.any()


def minimise_dual(
    evaluate: Callable[[Any], Evaluation],
    limit: Any,
    start: Any,
    *,
    scale: Any,
    unit: float,
    range_: tuple[Any, Any],
    radius: float,
    tolerance: float,
    is_done: Callable[[int, Evaluation, float], bool],
) -> Dual:
    """Minimise D from ``start``.

    Stops when ``D(best) - model <= tolerance * max(1, |D(best)|)`` in the box and in one four
    times as wide, or when ``is_done(evaluations, best, model)``.

    Args:
        evaluate: the oracle, one pass over the subscribers.
        limit: [K] float64.
        start: [K] float64, first prices, >= 0.
        scale: [K] float64, as in :class:`Master`.
        unit: money, as in :class:`Master`.
        range_: [K] float64 twice, as in :class:`Master`.
        radius: half the side of the first box, money per contact.
        tolerance: as above.
        is_done: asked after every evaluation; ends the search early.

    Returns:
        The best prices found.
    """
    best = evaluate(np.clip(start, *range_))
    best_dual = best.dual(limit)
    groups = len(best.value)
    master = Master(limit, scale, unit=unit, range_=range_, groups=groups, floor=best.floor)
    master.add(best)
    count = 1
    while True:
        prices, model, is_inside = master.solve(best.prices, radius)
        gain = best_dual - model
        small = tolerance * max(1.0, abs(best_dual))
        if gain <= small and not is_inside:
            radius *= WIDEN * WIDEN  # nothing left in this box, but the model wants to leave it
            prices, model, is_inside = master.solve(best.prices, radius)
            gain = best_dual - model
        if gain <= small or is_done(count, best, model):
            return Dual(best.prices, best_dual, model, is_inside, best, count)
        trial = evaluate(best.prices + STEP * (prices - best.prices))
        master.add(trial)
        count += 1
        dual = trial.dual(limit)
        if dual < best_dual:
            if best_dual - dual >= 0.5 * STEP * gain and not is_inside:
                radius *= WIDEN
            best, best_dual = trial, dual
        elif dual - best_dual > gain:
            radius *= NARROW
