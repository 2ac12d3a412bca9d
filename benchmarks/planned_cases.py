"""Operands of the operations on plans of several days, and what their results must be."""

import numpy as np

from engine.rules import Rules
from kernels.choose import NO_ACTION, WEIGHT_GRID
from kernels.planned import MOST_DAYS, choose_planned_cpu, spans_cpu
from tests import plan_problems

DAYS, RUN, CHANNELS, SCOPE_GROUPS, CONSTRAINTS = 7, 3, 2, 16, 3
MOST_ENUMERATED = 1_000  # subscribers of whom every bundle is tried for the curvature
ROUNDED = 1e-6  # of margins, which are float32
CLOSED = 0.2  # share of subscribers to whom some days are closed


def rules_of(pairs):
    """Return the rules: so many contacts in any three days, in all and of each channel."""
    channel, day = np.arange(pairs) % CHANNELS, np.arange(DAYS)
    members = [
        (own[:, None] & (day <= d) & (d < day + RUN)).reshape(-1)
        for own in (channel >= 0, channel == 0, channel == 1) for d in range(DAYS)
    ]  # fmt: skip
    return Rules(
        np.array(members), np.zeros(len(members), bool), np.arange(pairs * DAYS, dtype=np.int32),
        days=DAYS, day_class=channel.astype(np.int32),
    )  # fmt: skip


def plans(size, width):
    """Return the arguments of ``choose_planned`` but for the width: a third of the pairs closed."""
    rng = np.random.default_rng(size.seed)
    pairs, subscribers = size.each, size.subscribers
    rules = rules_of(pairs)
    plan = rules.plan()
    propensity = rng.random((pairs, subscribers), np.float32)
    propensity[rng.random((pairs, subscribers), np.float32) < 1 / 3] = np.nan
    open_days = np.full((rules.classes, subscribers), (1 << DAYS) - 1, np.uint16)
    own = rng.random(subscribers) < CLOSED
    open_days[:, own] = rng.integers(1, 1 << DAYS, (rules.classes, int(own.sum())))
    cap = rng.integers(1, 3, (len(rules.members), subscribers)).astype(np.uint8)
    offer = (np.arange(pairs, dtype=np.int32) // CHANNELS).repeat(DAYS)
    _, _, _, _, _, _, conflicts, requires = rules.arrays(offer)
    weight = np.rint(rng.uniform(0.5, 2.0, subscribers) * WEIGHT_GRID) / WEIGHT_GRID
    accept = rng.uniform(1.0, 3.0, pairs)[:, None] * 0.97 ** np.arange(DAYS)
    return (
        propensity, weight.astype(np.float32),
        np.sort(rng.integers(0, SCOPE_GROUPS, subscribers)).astype(np.int32),
        np.full(subscribers, width, np.uint8), np.zeros(subscribers, np.uint8), open_days,
        spans_cpu(cap, plan.group, plan.first, plan.last, len(plan.within), width - 1),
        offer, conflicts, requires, *plan.arrays(), np.full(pairs * DAYS, -0.01),
        accept.reshape(-1), *rng.gamma(2.0, 0.4, (2, SCOPE_GROUPS, pairs * DAYS)),
    )  # fmt: skip


def plan_choices(size, width):
    """Return the arguments of ``choose_planned``."""
    return (*plans(size, width), width)


def plan_switches(size, width):
    """Return the arguments of ``curve_planned``."""
    problem = plans(size, width)
    entries = plan_problems.entries_of(
        size.seed, problem[plan_problems.PRICE_FIXED].size, CONSTRAINTS
    )
    return (*problem, *entries, 0.02, 2.0**20, CONSTRAINTS, width)


def plan_caps(size):
    """Return the arguments of ``spans``: caps on runs of days, where one may get four contacts."""
    rng = np.random.default_rng(size.seed)
    first = rng.integers(0, MOST_DAYS, size.each).astype(np.int32)
    return (
        rng.integers(1, 5, (size.each, size.subscribers)).astype(np.uint8),
        (np.arange(size.each) % 3).astype(np.int32), first,
        np.minimum(first + RUN, MOST_DAYS - 1).astype(np.int32), 3, 3,
    )  # fmt: skip


def _ranked(problem, width, s):
    """Return the surplus of every bundle of up to two actions, best first, with the bundle."""
    rules = rules_of(len(problem[0]))
    offer, within, spans = (problem[i] for i in (7, 15, plan_problems.SPANS))
    surplus = plan_problems.surpluses(problem, rules, s)
    total = {(): 0.0} | {(a,): v for a, v in surplus.items()}
    found = np.array(list(surplus), np.int64)
    pair, day = np.divmod(found, DAYS)
    value = np.array(list(surplus.values()))
    may = (offer[found][:, None] != offer[found]) & (width > 1)
    apart = day - day[:, None]
    for group in range(len(within) if width > 1 else 0):
        both = within[group][pair].astype(bool)
        digit = spans[group, s] >> 4 * day & 15
        may &= ~((both[:, None] & both) & (apart < digit[:, None]))
    may &= (apart > 0) | ((apart == 0) & (found[:, None] < found))
    for i, j in np.argwhere(may).tolist():
        total[int(found[i]), int(found[j])] = value[i] + value[j]
    return sorted(((v, bundle) for bundle, v in total.items()), reverse=True)


def by_plan_choice(operands, count, result):
    """Return the best bundles of the first rows, their margins, and what all bundles add up to."""
    *problem, width = operands
    chosen, margin = result[0][:, :count].copy(), result[1][:count].copy()
    for s in range(len(margin)):
        (best, _), (second, _) = _ranked(problem, width, s)[:2]
        bundle = set(chosen[:, s].tolist()) - {NO_ACTION}
        own = [v for v, each in _ranked(problem, width, s) if set(each) == bundle]
        if not own or own[0] < best - ROUNDED:
            chosen[:, s] = NO_ACTION - 1  # as no result is
        if abs(margin[s] - (best - second)) > ROUNDED:
            margin[s] = best - second
    return [chosen, margin, plan_problems.counted(problem, DAYS, result[0])]


def by_plan_curvature(operands, _, result):
    """Return tally, curvature and count of the near; at larger sizes than smoke the tally alone."""
    problem, (*entries, bandwidth, unit, constraints, width) = operands[:20], operands[20:]
    entries = (*entries, constraints)
    tally = choose_planned_cpu(*problem, width)[2]
    if len(problem[1]) > MOST_ENUMERATED:
        return [tally, *result[1:]]
    curvature, near = np.zeros((constraints, constraints)), 0
    for s in range(len(problem[1])):
        (best, one), (second, other) = _ranked(problem, width, s)[:2]
        if best - second < bandwidth:
            near += 1
            moved = plan_problems.moved(problem, DAYS, entries, (one, other), s)
            curvature += np.rint(np.tril(np.outer(moved, moved)) * unit)
    return [tally, curvature, np.array([near])]


def by_plan_caps(operands, count, _):
    """Return the spans of the first rows."""
    cap, group, first, last, groups, reach = operands
    found = np.zeros((groups * reach, min(count, cap.shape[1])), np.int64)
    for row, s in np.ndindex(found.shape):
        own, r = divmod(row, reach)
        for d in range(MOST_DAYS):
            runs = (group == own) & (cap[:, s] <= r + 1) & (first <= d) & (d <= last)
            found[row, s] += int((last[runs] - d + 1).max(initial=0)) << 4 * d
    return [found]
