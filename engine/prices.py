"""Find the prices: minimise the Lagrangian dual by cutting planes in a trust box.

    D(prices) = prices . limit + sum_g D_g(prices),
    D_g(prices) = max over bundles of class g of  value_g - prices . use_g

A class is one or more scope groups of subscribers, G of them here. D is convex and piecewise
linear. Every evaluation yields, for each class, a bundle choice and so a cut that D_g never falls
below. OR-Tools (GLOP) minimises the model made of the cuts inside a box around the best prices;
the box widens when the model was right at its face and shrinks when it was wrong. The cuts'
multipliers at the end say how to mix the choices so that use meets limits.

Source:
    Marsten, Hogan, Blankenship, "The Boxstep Method for Large-Scale Optimization", Operations
    Research 23(3), 1975; Lemaréchal, Nemirovskii, Nesterov, "New variants of bundle methods",
    Mathematical Programming 69, 1995.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ortools.linear_solver import pywraplp

from engine.errors import EngineError

# A trial goes this far from the best prices to the model's minimum: a whole step overshoots
# (Ben-Ameur and Neto, "Acceleration of cutting-plane and column generation algorithms", 2007).
STEP = 0.4
WIDEN, NARROW = 2.0, 0.5
# Warm: rows were only added and bounds moved, so the dual simplex goes on where it ended. Cold:
# from scratch, for the rare model on which the warm start does not end. Ratios make cuts of both
# signs, on some of which GLOP's scaling cycles from any start: then it goes without, or perturbed.
WARM = (
    "use_dual_simplex: true, use_preprocessing: false, random_seed: 1, "
    "max_number_of_iterations: 5000"
)
COLD = (
    "use_dual_simplex: false, use_preprocessing: true, random_seed: 1, "
    "max_number_of_iterations: 50000, change_status_to_imprecise: false"
)
UNSCALED = "use_dual_simplex: false, use_scaling: false, max_number_of_iterations: 5000"
PERTURBED = (
    "use_dual_simplex: true, perturb_costs_in_dual_simplex: true, max_number_of_iterations: 5000"
)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The best bundles at some prices, added up by class."""

    prices: Any  # [K] float64, money per unit of the constraint
    value: Any  # [G] float64, money
    use: Any  # [K, G] float64, units of the constraint

    def dual(self, limit: Any) -> float:
        """Return D(prices)."""
        kept = self.value - _dot(self.prices, self.use)
        return float(sum(kept.tolist()) + sum((self.prices * limit).tolist()))


@dataclass(frozen=True, eq=False)
class Trust:
    """Where the dual is known to be right: ``|rows . prices - centre| <= spread``."""

    rows: Any  # [N, K] float64
    centre: Any  # [N] float64
    spread: Any  # [N] float64

    def is_inside(self, prices: Any) -> bool:
        """Return whether the prices are off the region's faces."""
        moved = np.abs(_dot(prices, self.rows.T) - self.centre)
        return bool((moved < self.spread * (1 - 1e-6)).all())


EVERYWHERE = Trust(np.empty((0, 0)), np.empty(0), np.empty(0))


@dataclass(frozen=True, eq=False)
class Dual:
    """Prices that minimise the dual, and how to mix the choices seen on the way."""

    prices: Any  # [K] float64
    bound: float  # D(prices), money
    model: float  # lower bound of min D by the cuts, money; exact when ``is_inside``
    is_inside: bool  # the minimum of the model is inside the box and the trusted region
    mix: dict[tuple[int, int], float]  # (evaluation, class) -> share of the class that takes it
    evaluations: tuple[Evaluation, ...]

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
        trust: Trust,
        groups: int,
    ) -> None:
        """Start with the cut of the empty bundle, ``D_g >= 0``.

        Args:
            limit: [K] float64, units of the constraint.
            scale: [K] float64, > 0, units of the constraint that a typical contact uses; the
                model's prices are those of such a contact.
            unit: money, what a typical contact is worth: the model's money.
            range_: [K] float64 twice, smallest and largest price, money per unit.
            trust: prices stay within it.
            groups: G.
        """
        self.solver = pywraplp.Solver.CreateSolver("GLOP")
        self.scale, self.unit, self.range, self.trust = scale, unit, range_, trust
        infinity = self.solver.infinity()
        self.price = [self.solver.NumVar(0, infinity, f"price_{k}") for k in range(len(limit))]
        self.loss = [self.solver.NumVar(0, infinity, f"class_{g}") for g in range(groups)]
        objective = self.solver.Objective()
        for variable, coefficient in zip(self.price, limit / scale, strict=True):
            objective.SetCoefficient(variable, float(coefficient))
        for variable in self.loss:
            objective.SetCoefficient(variable, 1.0)
        objective.SetMinimization()
        for row, centre, spread in zip(trust.rows, trust.centre, trust.spread, strict=True):
            limits = self.solver.Constraint(
                float((centre - spread) / unit), float((centre + spread) / unit)
            )
            for k in np.flatnonzero(row):
                limits.SetCoefficient(self.price[k], float(row[k] / scale[k]))
        self.cuts: list[tuple[int, int, Any]] = []
        self.evaluations: list[Evaluation] = []

    def add(self, evaluation: Evaluation) -> None:
        """Add the evaluation's cut of each class: ``D_g >= value_g - prices . use_g``."""
        index = len(self.evaluations)
        self.evaluations.append(evaluation)
        infinity = self.solver.infinity()
        scaled = evaluation.use / self.scale[:, None]
        for g, variable in enumerate(self.loss):
            column = scaled[:, g]
            if evaluation.value[g] == 0.0 and not column.any():
                continue  # the empty bundle's cut is there from the start
            cut = self.solver.Constraint(float(evaluation.value[g] / self.unit), infinity)
            cut.SetCoefficient(variable, 1.0)
            for k in np.flatnonzero(column):
                cut.SetCoefficient(self.price[k], float(column[k]))
            self.cuts.append((index, g, cut))

    def solve(self, centre: Any, radius: float) -> tuple[Any, float, bool]:
        """Return prices, the model's minimum in the box, and whether it is off all faces."""
        scale, radius = self.scale / self.unit, radius / self.unit
        lowest, highest = (bound * scale for bound in self.range)
        middle = centre * scale
        lower = np.maximum(lowest, middle - radius)
        upper = np.minimum(highest, middle + radius)
        for k, variable in enumerate(self.price):
            variable.SetBounds(float(lower[k]), float(upper[k]))
        for options in (WARM, COLD, UNSCALED, PERTURBED):
            self.solver.SetSolverSpecificParametersAsString(options)
            parameters = pywraplp.MPSolverParameters()
            if options in (UNSCALED, PERTURBED):  # without the basis of the attempts before
                off = parameters.INCREMENTALITY_OFF
                parameters.SetIntegerParam(parameters.INCREMENTALITY, off)
            status = self.solver.Solve(parameters)
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
        is_inside = not on_face.any() and (not len(self.trust.rows) or self.trust.is_inside(prices))
        return prices, float(self.solver.Objective().Value()) * self.unit, is_inside

    def mix(self) -> dict[tuple[int, int], float]:
        """Return the multipliers of the cuts at the last solution, by (evaluation, class)."""
        out: dict[tuple[int, int], float] = {}
        for index, g, cut in self.cuts:
            share = cut.dual_value()
            if share > 1e-9:
                out[index, g] = out.get((index, g), 0.0) + float(share)
        return out


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
    trust: Trust = EVERYWHERE,
    known: Sequence[Evaluation] = (),
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
        trust: prices stay within it.
        known: earlier evaluations of the same subscribers; their cuts hold everywhere.
        is_done: asked after every evaluation; ends the search early.

    Returns:
        The best prices found and the mix of choices.
    """
    best = evaluate(np.clip(start, *range_))
    best_dual = best.dual(limit)
    groups = len(best.value)
    master = Master(limit, scale, unit=unit, range_=range_, trust=trust, groups=groups)
    for evaluation in (*known, best):
        master.add(evaluation)
    while True:
        prices, model, is_inside = master.solve(best.prices, radius)
        gain = best_dual - model
        small = tolerance * max(1.0, abs(best_dual))
        if gain <= small and not is_inside:
            radius *= WIDEN * WIDEN  # nothing left in this box, but the model wants to leave it
            prices, model, is_inside = master.solve(best.prices, radius)
            gain = best_dual - model
        if gain <= small or is_done(len(master.evaluations) - len(known), best, model):
            return Dual(
                best.prices, best_dual, model, is_inside, master.mix(), tuple(master.evaluations)
            )
        trial = evaluate(best.prices + STEP * (prices - best.prices))
        master.add(trial)
        dual = trial.dual(limit)
        if dual < best_dual:
            if best_dual - dual >= 0.5 * STEP * gain and not is_inside:
                radius *= WIDEN
            best, best_dual = trial, dual
        elif dual - best_dual > gain:
            radius *= NARROW
