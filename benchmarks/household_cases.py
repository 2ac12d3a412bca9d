"""Operands of the operations on households, and what their results must be."""

from dataclasses import replace
from functools import cache

import numpy as np

from engine.household_rules import HouseholdRules
from kernels.choose import NO_ACTION
from kernels.households import choose_households_cpu
from tests import household_problems
from tests.household_problems import fit_together, households_of, solved
from tests.plan_problems import entries_of
from tests.test_choose import counted, surpluses

CHANNELS, CONSTRAINTS, UNIT, BANDWIDTH = 2, 3, 2.0**20, 0.05
MONEY = np.random.default_rng(3).integers(-1_024, 1_024, 400) / 1_024  # few sums of them are equal
MOST_SOLVED = 1_000  # subscribers whose households are all solved for the curvature


@cache
def _case(subscribers, actions, width):
    """Return a case: one in three alone, the others in households of two to eight."""
    rng = np.random.default_rng(subscribers)
    sizes, rows = [], 0
    while rows < subscribers:
        heads = min(int(rng.choice([0, 2, 3, 4, 5, 8])), subscribers - rows)
        sizes.append(heads)
        rows += max(heads, 1)
    shape = actions // CHANNELS, CHANNELS
    return household_problems.household_problem(7, sizes, shape, width=width, money=MONEY)


def household_choices(size, width):
    """Return the arguments of ``choose_households``."""
    inputs, out = household_problems.arguments(_case(size.subscribers, size.each, width), width)
    return (*inputs, *out)


def household_switches(size, width):
    """Return the arguments of ``curve_households``."""
    *inputs, _, _, tally = household_choices(size, width)
    entries = entries_of(size.seed, tally[..., 0].size, CONSTRAINTS)
    curvature = np.zeros((CONSTRAINTS, CONSTRAINTS), np.int64)
    return (*inputs, *entries, tally, curvature, np.zeros(1, np.int64), BANDWIDTH, UNIT, width)


def _free(case):
    """Return the case without caps over households; what they exclude, a member has not either."""
    problem, household, room, rules = case
    joint = rules.households
    none = HouseholdRules(joint.members[:0], joint.per_contact[:0], joint.exclusive)
    return problem, household, room[:0], replace(rules, households=none)


def _choosers(case):
    """Give those who choose at once: the rows, the two best choices and their surpluses.

    A choice is a set of members, by place, and actions.
    """
    free = _free(case)
    for rows in households_of(case[1]):
        own = [solved(free, [s]) for s in rows]
        choice = [{a for _, a in taken} for _, taken in own]
        if fit_together(choice, case, rows):
            for s, best in zip(rows, own, strict=True):
                yield [s], best, solved(free, [s], best[1])
        else:
            best = solved(case, rows)
            yield rows, best, solved(case, rows, best[1])


def _first(case, count):
    """Return the case of the first rows, and of the rest of the last one's household."""
    problem, household, room, rules = case
    while 0 < count < len(household) and household[count] == household[count - 1] >= 0:
        count += 1
    rows = (x[..., :count].copy() for x in problem[:6])
    return (*rows, *problem[6:]), household[:count], room[:, :count], rules


def by_household_choice(operands, count, result):
    """Return the members' best bundles in the first rows, their margins, and what all add up to."""
    width = len(operands[-3])
    case = _case(operands[0].shape[1], len(operands[0]), width)
    chosen, margin = result[0][:, :count].copy(), result[1][:count].copy()
    for rows, (best, _), (second, _) in _choosers(_first(case, count)):
        worth = 0.0
        for s in rows:
            surplus = surpluses(case[0], s)
            worth += sum(surplus[a] for a in result[0][:, s].tolist() if a != NO_ACTION)
        inside = [s for s in rows if s < count]
        if worth != best:
            chosen[:, inside] = NO_ACTION - 1  # as no result is
        margin[inside] = best - second
    alone = case[1] < 0
    chosen[:, alone[:count]], margin[alone[:count]] = -7, -7  # as they were
    return [chosen, margin, counted(case[0], np.where(alone, NO_ACTION, result[0]))]


def by_household_curvature(operands, _, result):
    """Return tally, curvature and count of the near; at larger sizes than smoke the tally alone."""
    *inputs, first, constraint, fixed, accept, _, _, _, bandwidth, unit, width = operands
    case = _case(operands[0].shape[1], len(operands[0]), width)
    _, out = household_problems.arguments(case, width)
    tally = choose_households_cpu(*inputs, *out)[2]
    if len(operands[1]) > MOST_SOLVED:
        return [tally, *result[1:]]
    curvature, near = np.zeros((CONSTRAINTS, CONSTRAINTS)), 0
    for rows, (best, one), (second, other) in _choosers(case):
        if not best - second < bandwidth:
            continue
        near += 1
        moved = np.zeros(CONSTRAINTS)
        for sign, choice in ((1.0, one), (-1.0, other)):
            for m, a in choice:
                cell = operands[2][rows[m]] * len(operands[0]) + a
                at = slice(first[cell], first[cell + 1])
                use = fixed[at] + accept[at] * float(operands[0][a, rows[m]])
                np.add.at(moved, constraint[at], sign * use)
        curvature += np.rint(np.tril(np.outer(moved, moved)) * unit)
    return [tally, curvature, np.array([near])]
