"""What may be asked of the limits of a problem: other amounts, and to be without some.

A limit is asked for by the name that people know, in the units of its measure:

- of a sum its amount, of a minimum the least use; a soft one keeps its penalty;
- of an equation both sides at once, by the constraint's name;
- of a ratio the ratio; a soft one keeps the penalty of a unit of what is divided;
- of a level that a goal has reached (``kept:`` and its name) the level.

An amount is 0 or more; that of a value may be below, as a loss may be what a goal has reached.

What contacts cost in annoyance (``fatigue``) has no amount: it may be left out, nothing else.

A constraint that is only measured is no limit: there is nothing to change.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np

from engine.errors import ConfigError, DataError
from engine.limits import FATIGUE, MICRO, MOST_AMOUNT, MOST_USE, micro
from engine.offer_core import tally_of_bundles
from engine.problem import USE_UNIT, Problem, Row, penalties, use_units
from engine.quotient import Quotient

MOST = 1e12  # units of a limit


def named(rows: Sequence[Row]) -> dict[str, tuple[int, ...]]:
    """Return the rows of each limit by the name that people know; of an equation both sides.

    Raises:
        ConfigError: two limits of one name.
    """
    found: dict[str, tuple[int, ...]] = {}
    twice = []
    for k, row in enumerate(rows):
        name = row.twin or row.name
        if name in found and row.twin is None:
            twice.append(name)
        found[name] = (*found.get(name, ()), k)
    if twice:
        raise ConfigError(f"limits: named twice, got {', '.join(twice)}; name each once")
    return found


def unknown(
    names: Iterable[str], rows: Sequence[Row], where: str, measured: Sequence[str] = ()
) -> list[str]:
    """Return what is wrong with names that are no limit's, a line each kind."""
    have = named(rows)
    sides = {row.name: row.twin for row in rows if row.twin is not None}
    problems, rest = [], []
    for name in names:
        if name in have:
            continue
        if name in measured:
            problems.append(
                f"{where}.{name}: is only measured (enforce: false), it limits nothing; enforce it "
                "in the job to ask for other amounts"
            )
        elif name in sides:
            problems.append(
                f"{where}.{name}: is one side of an equation; ask for {sides[name]}, that is both"
            )
        else:
            rest.append(str(name))
    if rest:
        limits = f"the limits are {', '.join(have)}" if have else "there are no limits"
        problems.append(f"{where}: unknown, got {', '.join(rest)}; {limits}")
    return problems


def changed(
    problem: Problem, limits: Mapping[str, float], drop: Sequence[str], measured: Sequence[str] = ()
) -> tuple[Problem, tuple[int, ...]]:
    """Return a problem under other limits, and which of its rows it still has.

    Args:
        problem: the base.
        limits: new amounts by name.
        drop: names of limits that do not hold.
        measured: names of constraints that are only measured.

    Raises:
        ConfigError: names that are no limit's, or amounts that they cannot have: all of them.
    """
    problems = unknown(dict.fromkeys([*limits, *drop]), problem.rows, "limits", measured)
    both = sorted(set(limits) & set(drop))
    if both:
        problems.append(f"limits: both changed and dropped, got {', '.join(both)}; do one of them")
    twice = sorted({name for name in drop if list(drop).count(name) > 1})
    if twice:
        problems.append(f"limits: dropped twice, got {', '.join(twice)}; name each once")
    have, out = named(problem.rows), problem
    for name in (name for name in limits if name in have):
        try:
            out = _with(out, name, have[name], limits[name])
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError.of(problems)
    gone = {k for name in drop for k in have[name]}
    rows = tuple(k for k in range(len(problem.rows)) if k not in gone)
    return out.with_rows(rows), rows


def least(row: Row) -> float:
    """Return the least amount of a limit: 0, but a value may be a loss."""
    return -MOST if row.measure == "value" and row.quotient is None else 0.0


def costs(problem: Problem) -> list[str]:
    """Return the limits that stand for what contacts cost in annoyance, if they do not bind."""
    soft = problem.is_soft.tolist()
    return [r.name for r, s in zip(problem.rows, soft, strict=True) if s and r.measure == FATIGUE]


def _with(problem: Problem, name: str, rows: Sequence[int], value: Any) -> Problem:
    """Return the problem with another amount of one limit."""
    if name in costs(problem):
        raise ConfigError(
            f"limits.{name}: is a cost, not a limit, got an amount; drop it to be without, or "
            "change the job's fatigue"
        )
    low = least(problem.rows[rows[0]])
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not (is_number and low <= value <= MOST):
        got = value if is_number else repr(value)
        raise ConfigError(f"limits.{name}: must be a number from {low:g} to 1e12, got {got}")
    for k in rows:
        quotient = problem.rows[k].quotient
        problem = (
            _amount(problem, k, value) if quotient is None else _ratio(problem, k, quotient, value)
        )
    return problem


def _amount(problem: Problem, k: int, value: float) -> Problem:
    row, limit = problem.rows[k], problem.limit.copy()
    stored = micro(value) * row.scale
    if abs(stored) > MOST_AMOUNT:
        most = MOST_AMOUNT / row.scale / MICRO
        side = f"at least {-most:g}" if value < 0 else f"at most {most:g}"
        raise ConfigError(f"limits.{row.twin or row.name}: must be {side} to be exact, got {value}")
    limit[k] = -stored if row.is_minimum else stored
    return replace(problem, limit=limit)


def _ratio(problem: Problem, k: int, quotient: Quotient, value: float) -> Problem:
    row, limit = problem.rows[k], Fraction(micro(value), MICRO)
    scale = quotient.scale(limit)
    try:
        out = problem.at_ratio(k, limit)
        own = out.terms == k
        parts = [*out.use_fixed[own].tolist(), *out.use_accept[own].tolist()]
        is_exact = (
            max((sum(map(abs, of)) for of in zip(*parts, strict=True)), default=0) <= MOST_USE
        )
    except (OverflowError, DataError):
        is_exact = False
    if not is_exact:
        raise ConfigError(
            f"limits.{row.twin or row.name}: {value} is out of the exact range of a ratio; give it "
            "fewer decimals"
        )
    rows = list(out.rows)
    rows[k] = replace(row, quotient=replace(quotient, limit=limit), scale=scale)
    penalty = out.penalty
    if penalty is not None and np.isfinite(penalty[k]):
        of = round(float(penalty[k]) * MICRO) * row.scale  # of a unit of what is divided
        penalty = penalty.copy()
        penalty[k] = penalties([max(1, round(Fraction(of, scale)))])[0]
    return replace(out, rows=rows, penalty=penalty)


def amount(problem: Problem, name: str) -> float:
    """Return the amount of a limit, in units of its measure."""
    k = named(problem.rows)[name][0]
    row = problem.rows[k]
    if row.quotient is not None:
        return float(row.quotient.limit)
    stored = int(problem.limit[k]) / MICRO / row.scale
    return (-stored if row.is_minimum else stored) + 0.0


def loosens(problem: Problem, name: str) -> int:
    """Return 1 if a higher amount allows all that a lower one does, -1 if a lower one, else 0.

    An equation allows something else at each amount. What passing a soft ratio costs is rounded
    for each ratio by itself.
    """
    rows = named(problem.rows)[name]
    row = problem.rows[rows[0]]
    if len(rows) > 1 or (row.quotient is not None and problem.is_soft[rows[0]]):
        return 0
    return -1 if row.is_minimum else 1


def price(problem: Problem, name: str, prices: Any) -> float:
    """Return what one unit of a limit's measure is worth; of an equation that of its upper side."""
    rows = named(problem.rows)[name]
    net = float(prices[rows[0]]) - sum(float(prices[k]) for k in rows[1:])
    return net * problem.rows[rows[0]].scale


def uses(problem: Problem, use: Any, chosen: Sequence[Any]) -> dict[str, float | None]:
    """Return what bundles use of each limit, by name; of a ratio that, None: it is by nothing.

    Args:
        problem: the problem.
        use: [K] float64, units, as limits are stored.
        chosen: the bundles by block.
    """
    found: dict[str, float | None] = {}
    tally = None
    for name, (k, *_) in named(problem.rows).items():
        row = problem.rows[k]
        if row.quotient is None:
            found[name] = (-1 if row.is_minimum else 1) * float(use[k]) / row.scale + 0.0
            continue
        tally = tally_of_bundles(problem, list(chosen)) if tally is None else tally
        found[name] = _reached(problem, row.quotient, tally)
    return found


def _reached(problem: Problem, quotient: Quotient, tally: Any) -> float | None:
    """Return the ratio that the bundles of a tally reach."""
    both = Problem(
        **{
            **problem.__dict__,
            "rows": [Row("of", "", is_minimum=False), Row("to", "", is_minimum=False)],
            "use_fixed": np.stack([quotient.of[0], quotient.to[0]]),
            "use_accept": np.stack([quotient.of[1], quotient.to[1]]),
            "in_scope": np.stack([quotient.of_scope, quotient.to_scope]),
            "limit": np.zeros(2, np.int64),
            "penalty": None,
            "term_of": None,
        }
    )
    of, to = use_units(both, tally)
    return None if to == 0 else float(Fraction(of, USE_UNIT) / Fraction(to, USE_UNIT))


def netted(rows: Sequence[Row], prices: Any) -> Any:
    """Return prices of which an equation's two sides are netted: one of them is 0.

    Only their difference counts, for every surplus and for the bound.
    """
    net = prices.copy()
    for pair in named(rows).values():
        if len(pair) > 1:
            net[list(pair)] -= net[list(pair)].min()
    return net
