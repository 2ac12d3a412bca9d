"""What is timed: every operation of ``kernels``, with arguments drawn from a seed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.contact_cases import by_latest, by_most, latest, used
from benchmarks.household_cases import (
    by_household_choice,
    by_household_curvature,
    household_choices,
    household_switches,
)
from benchmarks.pair_cases import (
    LISTS,
    by_pair_choice,
    by_pair_curvature,
    pair_choices,
    pair_switches,
)
from benchmarks.planned_cases import (
    by_plan_caps,
    by_plan_choice,
    by_plan_curvature,
    plan_caps,
    plan_choices,
    plan_switches,
)
from engine.rules import Rules
from kernels import choose
from kernels.choose import NO_ACTION, WEIGHT_GRID
from kernels.grouped import CODES
from kernels.screen import screened
from kernels.summary import Asked
from tests import test_choose
from tests.sequences import as_tuple
from tests.test_bursts import bursts_definition
from tests.test_choose import PRICE_FIXED, VALUE_FIXED
from tests.test_fatigue import fatigue_definition
from tests.test_grouped import grouped_definition
from tests.test_hours import hours_definition
from tests.test_lifetime import lifetime_definition
from tests.test_open_case import open_case_definition
from tests.test_ranges import ranges_definition, until_definition
from tests.test_repeats import repeats_definition
from tests.test_run_out import run_out_definition
from tests.test_saturation import saturation_definition
from tests.test_summary import summary_definition

CHECKED_ROWS = 50
"""Rows compared with the definition, which is slow; the twins are compared on all rows."""
HOUR_S, DAY_S = 3_600, 86_400
DAYS = 90
WEEK_S, MONTH_S, QUARTER_S = 7 * DAY_S, 30 * DAY_S, 90 * DAY_S
WINDOWS = np.array([WEEK_S, MONTH_S, QUARTER_S], np.int64)
COUNTS = Asked((WEEK_S, MONTH_S, QUARTER_S), valued=False)
TWELVE = Asked(  # count and sum of each window, recency, first, mean and deviation of gaps, ...
    (WEEK_S, MONTH_S, QUARTER_S), rhythm=True, half_lives=(14 * DAY_S,), trends=((28, 1),)
)
EVERYTHING = Asked(
    (DAY_S, WEEK_S, MONTH_S, QUARTER_S), rhythm=True, extremes=True, spread=True, days=True,
    half_lives=(DAY_S, WEEK_S, 14 * DAY_S, MONTH_S), trends=((28, 1), (12, 7)),
)  # fmt: skip
MOST_ENUMERATED = 1_000  # rows of which every bundle is tried
ROUNDED = 1e-7  # of margins, which are float32; those of single actions by their doubt
OFFERS_PER_CHANNEL, SCOPE_GROUPS = 10, 16


@dataclass(frozen=True)
class Size:
    """One size; everything else follows from the seed."""

    name: str
    subscribers: int
    each: int  # events of a subscriber on average, or actions
    seed: int = 7


@dataclass(frozen=True)
class Operation:
    """A public operation of ``kernels`` on one kind of arguments."""

    label: str
    name: str  # of the operation, as in backend.TWINS
    operands: Callable  # size -> its arguments
    definition: Callable  # operands, rows, result -> expected outputs of the first rows
    streamed: tuple[int, ...]  # the arguments it must read as a whole
    item: str = "events"  # what the first streamed argument holds
    rounding: float = 0.0  # largest relative difference, 0: the same bits
    is_threaded: bool = False  # whether the CPU twin uses all cores; else one, as a task does
    written: tuple[int, ...] = ()  # the arguments that are its results too

    def own(self, operands):
        """Return the operands with copies of those that it writes to."""
        return tuple(a.copy() if i in self.written else a for i, a in enumerate(operands))


def events(size):
    """Return time, value, start, stop and instant: a skewed number of events in 90 days."""
    rng = np.random.default_rng(size.seed)
    counts = rng.poisson(rng.gamma(0.8, size.each / 0.8, size.subscribers))
    ends = np.cumsum(counts)
    owner = np.repeat(np.arange(size.subscribers), counts)
    seconds = rng.integers(0, DAYS * DAY_S, len(owner))
    time = np.sort(owner * (DAYS * DAY_S) + seconds) - owner * (DAYS * DAY_S)
    at = np.full(size.subscribers, DAYS * DAY_S, np.int64)
    return time, rng.gamma(1.0, 3.0, len(owner)), ends - counts, ends, at


def series(size, asked, share=1.0):
    """Return the arguments of ``summarised``, such a share of the events being kept."""
    time, value, *rows = events(size)
    kept = np.random.default_rng(size.seed).random(len(time)) < share
    value = value if asked.valued else np.empty(0)
    return time, value, kept if share < 1.0 else np.empty(0, bool), *rows, asked


def grouped(size):
    """Return the arguments of ``grouped``: eight kinds of events, five groups and none."""
    time, value, *rows = events(size)
    code = np.random.default_rng(size.seed).integers(0, 8, len(time)).astype(np.int8)
    group = np.full(CODES, 5, np.int8)
    group[:6] = 0, 1, 2, 3, 4, 0
    return time, value, code, group, *rows, WINDOWS, 5, 1, 1


def sequence(size, *asked, valued=False, share=1.0):
    """Return the arguments of an operation on the order of events, a share of them being kept."""
    time, value, *rows = events(size)
    kept = np.random.default_rng(size.seed).random(len(time)) < share
    kept = kept if share < 1.0 else np.empty(0, bool)
    return time, *([value] if valued else []), kept, *rows, *asked


def cases(size):
    """Return the arguments of ``open_case``: one event in eight opens, one in eight closes."""
    time, _, *rows = events(size)
    draw = np.random.default_rng(size.seed).integers(0, 8, len(time))
    return time, (draw == 0).astype(np.int8) - (draw == 1).astype(np.int8), *rows


def keys(size):
    """Return the arguments of ``ranges``: a third of the subscribers have no row."""
    _, _, start, stop, _ = events(size)
    subscriber = np.arange(size.subscribers)
    return np.repeat(subscriber, stop - start), subscriber[subscriber % 3 > 0]


def in_order(size):
    """Return the arguments of ``disordered``: keys, and times of which some are out of order."""
    key = keys(size)[0]
    return key, np.arange(len(key)) - 5 * (np.arange(len(key)) % 7 == 0)


def times_until(size):
    """Return the arguments of ``events_until``, half of the events being too late."""
    time, _, start, end, at = events(size)
    return time, start, end, at // 2


def balances(size):
    """Return the arguments of ``run_out``: some rows without spend, some without balance."""
    rng = np.random.default_rng(size.seed)
    balance, rate = rng.normal(10.0, 8.0, size.subscribers), rng.gamma(0.5, 0.2, size.subscribers)
    rate[rng.random(size.subscribers) < 0.1] = 0.0
    return balance, rate, rate * rng.gamma(1.0, 2.0, size.subscribers), 24.0 * DAYS, 168.0, 0.1


def troubles(size):
    """Return the arguments of ``saturation``."""
    return np.random.default_rng(size.seed).gamma(0.5, 4.0, size.subscribers), 3.0


def histories(size):
    """Return the arguments of ``lifetime``: transactions of a year, money, and a year ahead."""
    _, _, start, stop, _ = events(size)
    rng, number = np.random.default_rng(size.seed), (stop - start).astype(np.float64)
    age = rng.uniform(0.0, 365.0, size.subscribers)
    recency = np.where(number > 1.0, age * rng.random(size.subscribers), age)
    model = np.array([0.6, 9.0, 0.8, 2.4, 6.25, 3.74, 15.44, 365.0, 0.992])
    return number, recency, age, number * rng.gamma(2.0, 9.0, size.subscribers), model


def rules_of(actions):
    """Return the rules of ``bundles``: caps of channels and of three categories."""
    channels = -(-actions // OFFERS_PER_CHANNEL)
    index = np.arange(actions)
    members = [index % channels == c for c in range(channels)]
    members += [index // channels % 3 == h for h in range(3)]
    return Rules(np.array(members), np.zeros(channels + 3, bool), index.astype(np.int32))


def bundles(size, width):
    """Return the arguments of ``choose``: offers by channels, a third of the pairs not open."""
    rng = np.random.default_rng(size.seed)
    actions, subscribers = size.each, size.subscribers
    channels = -(-actions // OFFERS_PER_CHANNEL)
    index = np.arange(actions)
    propensity = rng.random((actions, subscribers), np.float32)
    propensity[rng.random((actions, subscribers), np.float32) < 1 / 3] = np.nan
    money = (rng.gamma(2.0, 0.2, (SCOPE_GROUPS, actions)) for _ in range(2))
    return (
        propensity,
        np.rint(rng.uniform(0.5, 2.0, subscribers) * WEIGHT_GRID).astype(np.float32) / WEIGHT_GRID,
        np.sort(rng.integers(0, SCOPE_GROUPS, subscribers)).astype(np.int32),
        np.full(subscribers, width, np.uint8),
        np.zeros(subscribers, np.uint8),
        np.ones((channels + 3, subscribers), np.uint8),
        *rules_of(actions).arrays((index // channels).astype(np.int32)),
        np.full(actions, -0.01),
        rng.uniform(1.0, 3.0, actions),
        *money,
    )  # fmt: skip


def choices(size, width):
    """Return the arguments of ``choose``."""
    return (*bundles(size, width), width)


def reaches(size, width):
    """Return the arguments of ``within``; every action's surplus may move by 0.02."""
    problem = bundles(size, width)
    groups, actions = problem[PRICE_FIXED].shape
    chosen, margin, _ = choose(*problem, width)
    return chosen, margin, problem[2], np.full((groups, actions + 1), 0.02)


def switches(size, width):
    """Return the arguments of ``curve``: one constraint of all contacts, one of each action's."""
    problem = bundles(size, width)
    groups, actions = problem[PRICE_FIXED].shape
    cells = np.arange(groups * actions)
    constraint = np.stack([0 * cells, 1 + cells % actions], axis=1).reshape(-1)
    entries = 2 * np.arange(groups * actions + 1), constraint
    one = np.ones(2 * len(cells))
    return (*problem, *entries, one, 0.5 * one, 0.02, 2.0**20, actions + 1, width)


def first_rows(operands, rows, count):
    """Return event operands with the first ``count`` of the arguments at the places ``rows``."""
    return tuple(a[:count] if i in rows else a for i, a in enumerate(operands))


def by_summary(operands, count, _):
    """Return the summary of the first rows."""
    return list(summary_definition(first_rows(operands, (3, 4, 5), count)))


def by_order(definition, rows):
    """Return what gives the outputs of the first rows by the definition of an operation."""

    def expected(operands, count, _):
        return list(as_tuple(definition(first_rows(operands, rows, count))))

    return expected


def by_ranges(operands, count, _):
    """Return the ranges of the first rows."""
    return list(ranges_definition(*first_rows(operands, (1,), count)))


def by_disorder(operands, *_):
    """Return how many events should stand before the one before them."""
    order = np.lexsort(operands[::-1])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return [np.array([np.sum(rank[1:] < rank[:-1])])]


def by_until(operands, count, _):
    """Return where the events of the first rows end."""
    return [until_definition(*first_rows(operands, (1, 2, 3), count))]


def by_lifetime(operands, count, _):
    """Return probability, transactions, spend and value of the first rows."""
    return list(lifetime_definition(first_rows(operands, (0, 1, 2, 3), count)))


def by_run_out(operands, count, result):
    """Return the times and probabilities of the first rows; those that are near are as found.

    The two tails of the normal distribution have a relative error of 1.2e-7 each; a time is off
    by that over its density, and by the bisection.
    """
    exact = run_out_definition(first_rows(operands, (0, 1, 2), count))
    found = [field[:count] for field in result]
    limits = (0.0, 1e-5 + 1e-4 * exact[1], 2.5e-7)
    return [
        np.where(np.abs(a - b) <= limit, a, b)
        for a, b, limit in zip(found, exact, limits, strict=True)
    ]


def by_saturation(operands, count, _):
    """Return the scores of the first rows."""
    return [saturation_definition(operands[0][:count], operands[1])]


def by_choice(operands, count, result):
    """Return the best bundles of the first rows, their margins, and what all bundles add up to."""
    *problem, _ = operands
    rules = rules_of(len(problem[0]))
    chosen, margin = result[0][:, :count].copy(), result[1][:count].copy()
    _, doubt = screened(*problem[VALUE_FIXED : VALUE_FIXED + 4])
    doubts = problem[1] * doubt[0] + doubt[1 + problem[2]] if len(chosen) == 1 else 0.0 * margin
    for s in range(len(margin)):
        total = test_choose.totals(problem, s, rules)
        bundle = frozenset(chosen[:, s].tolist()) - {NO_ACTION}
        best = total.pop(bundle, -np.inf)
        expected = best - max(total.values(), default=-np.inf)
        if expected < -ROUNDED:
            chosen[:, s] = NO_ACTION - 1  # as no result is
        elif abs(margin[s] - expected) > ROUNDED + doubts[s]:
            margin[s] = expected
    problem[0] = np.nan_to_num(problem[0], nan=-1.0)  # not open: the tally is wrong then
    return [chosen, margin, test_choose.counted(problem, result[0])]


def by_reach(operands, count, _):
    """Return who of the first rows is near."""
    chosen, margin, group, reach = operands
    own = reach[group[:count]]
    within = [
        sum(r[a + 1] for a in c if a >= 0) or r[0] for r, c in zip(own, chosen.T, strict=False)
    ]
    return [(margin[:count] < np.array(within)).astype(np.uint8)]


def by_curvature(operands, _, result):
    """Return tally, curvature and count of the near; at larger sizes than smoke the tally alone."""
    *problem, first, constraint, fixed, accept, bandwidth, unit, constraints, width = operands
    tally, rules = choose(*problem, width)[2], rules_of(len(problem[0]))
    if len(problem[1]) > MOST_ENUMERATED:
        return [tally, *result[1:]]
    entries = first, constraint, fixed, accept, constraints
    curvature, near, _ = test_choose.curvature_of(problem, rules, entries, bandwidth, unit)
    return [tally, curvature, np.array([near])]


def both_widths(label, name, operands, definition, streamed=(0, 1, 2, 3), *, written=()):
    """Return an operation on one offer per subscriber and on bundles of two."""
    return [
        Operation(f"{label}-{text}", name, lambda size, width=width: operands(size, width),
                  definition, streamed, "pairs", is_threaded=True, written=written)
        for width, text in ((1, "one"), (2, "two"))
    ]  # fmt: skip


EVENT_SIZES = (Size("smoke", 300, 20), Size("city", 100_000, 70))
PAIR_SIZES = (Size("smoke", 300, 10), Size("city", 100_000, 50), Size("country", 1_000_000, 50))
# Rounding: hundreds of terms of either sign are added in another order than the definition's, with
# weights within 2**-49. Slopes cancel, so they lose a few digits more.
EVENT_OPERATIONS = (
    Operation("ranges", "ranges", keys, by_ranges, (0, 1), is_threaded=True),
    Operation("disordered", "disordered", in_order, by_disorder, (0, 1), is_threaded=True),
    Operation("events_until", "events_until", times_until, by_until, (1, 2, 3), "rows",
              is_threaded=True),
    Operation("counts", "summarised", lambda size: series(size, COUNTS), by_summary, (0,),
              is_threaded=True),
    Operation("twelve", "summarised", lambda size: series(size, TWELVE), by_summary, (0, 1),
              rounding=1e-9, is_threaded=True),
    Operation("everything", "summarised", lambda size: series(size, EVERYTHING), by_summary, (0, 1),
              rounding=1e-9, is_threaded=True),
    Operation("narrowed", "summarised", lambda size: series(size, TWELVE, 0.3), by_summary,
              (0, 1, 2), rounding=1e-9, is_threaded=True),
    Operation("grouped", "grouped", grouped, by_order(grouped_definition, (4, 5, 6)), (0, 1, 2),
              is_threaded=True),
    Operation("fatigue", "fatigue", lambda size: sequence(size, 0.5, valued=True, share=0.5),
              by_order(fatigue_definition, (3, 4, 5)), (0, 1, 2), is_threaded=True),
    Operation("bursts", "bursts", lambda size: sequence(size, WINDOWS, 3, 2 * DAY_S),
              by_order(bursts_definition, (2, 3, 4)), (0,), is_threaded=True),
    Operation("repeats", "repeats", lambda size: sequence(size, WINDOWS, DAY_S),
              by_order(repeats_definition, (2, 3, 4)), (0,), is_threaded=True),
    Operation("open_case", "open_case", cases, by_order(open_case_definition, (2, 3, 4)), (0, 1),
              is_threaded=True),
    Operation("hours", "hours", lambda size: sequence(size, WINDOWS[-1:], HOUR_S),
              by_order(hours_definition, (2, 3, 4)), (0,), rounding=1e-13, is_threaded=True),
    Operation("used", "most_in_window", lambda size: used(size, 0), by_most, (0, 1),
              is_threaded=True),
    Operation("used-later", "most_in_window", lambda size: used(size, 7), by_most, (0, 1),
              is_threaded=True),
    Operation("latest", "latest_burst", latest, by_latest, (0, 1), is_threaded=True),
    Operation("lifetime", "lifetime", histories, by_lifetime, (0, 1, 2, 3), "rows", rounding=1e-9,
              is_threaded=True),
    Operation("run_out", "run_out", balances, by_run_out, (0, 1, 2), "rows", is_threaded=True),
    Operation("saturation", "saturation", troubles, by_saturation, (0,), "rows", rounding=1e-15,
              is_threaded=True),
)  # fmt: skip
PAIR_OPERATIONS = (
    *both_widths("choose", "choose", choices, by_choice),
    *both_widths("curve", "curve", switches, by_curvature),
    *both_widths("within", "within", reaches, by_reach),
    *both_widths("choose_pairs", "choose_pairs", pair_choices, by_pair_choice, LISTS),
    *both_widths("curve_pairs", "curve_pairs", pair_switches, by_pair_curvature, LISTS),
    *both_widths("choose_planned", "choose_planned", plan_choices, by_plan_choice),
    *both_widths("curve_planned", "curve_planned", plan_switches, by_plan_curvature),
    *both_widths(
        "choose_households",
        "choose_households",
        household_choices,
        by_household_choice,
        written=(22, 23, 24),
    ),
    *both_widths(
        "curve_households",
        "curve_households",
        household_switches,
        by_household_curvature,
        written=(26, 27, 28),
    ),
    Operation("spans", "spans", plan_caps, by_plan_caps, (0,), "caps", is_threaded=True),
)
OPERATIONS = (*EVENT_OPERATIONS, *PAIR_OPERATIONS)
CASES = {
    f"{operation.label}:{size.name}": (operation, size)
    for operations, sizes in ((EVENT_OPERATIONS, EVENT_SIZES), (PAIR_OPERATIONS, PAIR_SIZES))
    for size in sizes
    for operation in operations
}
