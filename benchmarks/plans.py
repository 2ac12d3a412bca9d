"""Time one plan of several days, from a problem in memory to whole bundles within every limit.

``python -m benchmarks.plans --subscribers 1000000 --pairs 20 --days 14 --json``: draws the base of
``benchmarks/instance.py`` and lets every offer go out on each day. The value of an acceptance
halves in 4 to 30 days, by offer; each channel has a capacity a day, less at the weekend; the
budget, the quotas and the segments' contacts hold over all days. At most two contacts in seven
days, one a channel in seven days, two days between any two; two in five subscribers were contacted
in the last week, which closes days to them; one in five runs out of credit within the horizon, and
from then on does not get the first offer. At most four contacts a subscriber in all.

Value and uses are recomputed from the bundles in plain NumPy and whole numbers, every policy is
asked of them day by day, and the time is told in streaming reads of the pairs' propensities, which
are 1 / days of what the same problem takes with a row for each action. The clock is that of
``benchmarks/allocation.py``. Synthetic data.
"""

import argparse
import json
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks import machine
from benchmarks.allocation import WARM_UP, moved, peak_bytes
from benchmarks.instance import CASES, CHANNEL_COST, instance
from engine.block import Block, spanned
from engine.problem import USE_UNIT, VALUE_UNIT, Problem, Row
from engine.rules import Rules
from engine.settings.job import Solver
from engine.solve import solve
from kernels.choose import MOST_BUNDLE

WEEK, APART, WEEKLY = 7, 2, 2  # days of the caps; days between contacts; contacts in a week
HALF_LIVES = (4, 8, 16, 30)  # days, by offer in turn
WEEKEND = 0.4  # of a working day's capacity
TOGETHER = 10  # limits of the base that hold over all days: budget, capacities and quotas
HORIZON = 14


def planned(subscribers, pairs, days, limits=TOGETHER):
    """Return the problem, and what was drawn for each block: last contact, its channel, run-out."""
    base = instance(CASES["bundles"], subscribers, pairs, limits)
    blocks, drawn = [], []
    rules = rules_of(base, days)
    plan = rules.plan()
    for number, block in enumerate(base.blocks):
        rng = np.random.default_rng([11, number])
        count = len(block)
        ago = np.where(rng.random(count) < 0.4, rng.integers(1, WEEK + 1, count), 10 * days)
        channel = rng.integers(0, len(CHANNEL_COST), count)
        out = np.where(rng.random(count) < 0.2, rng.integers(1, days + 1, count), 10 * days)
        block, own = _block(base, block, rules, days, (ago, channel, out))
        drawn.append(own)
        blocks.append(spanned(block, plan, MOST_BUNDLE))
    fade = 0.5 ** (
        np.arange(days)[None] / np.resize(HALF_LIVES, int(base.offer.max()) + 1)[:, None]
    )
    value = np.rint(base.value_accept[:, None] * fade[base.offer]).astype(np.int64)
    rows, use, accept, scope, limit = _limits(base, days)
    problem = Problem(
        blocks, base.offer.repeat(days), base.channel.repeat(days), rules,
        base.value_fixed.repeat(days), value.reshape(-1), rows, use, accept, scope, limit,
        typical_propensity=0.03,
    )  # fmt: skip
    return problem, drawn


def rules_of(base, days):
    """Return the caps on runs of days: of all contacts, then of each channel."""
    everything = np.ones(len(base.offer), bool)
    weeks = [(max(0, d - WEEK + 1), d) for d in range(days)]
    members = [_run(everything, *run, days) for run in weeks]
    members += [_run(everything, max(0, d - APART + 1), d, days) for d in range(days)]
    for c in range(len(CHANNEL_COST)):
        members += [_run(base.channel == c, *run, days) for run in weeks]
    day_class = (2 * base.channel + (base.offer == 0)).astype(np.int32)
    count = len(base.offer) * days
    return Rules(
        np.array(members), np.zeros(len(members), bool), np.arange(count, dtype=np.int32),
        days=days, day_class=day_class,
    )  # fmt: skip


def _run(pairs, first, last, days):
    day = np.arange(days)
    return (pairs[:, None] & (first <= day) & (day <= last)).reshape(-1)


def _block(base, block, rules, days, drawn):
    ago, channel, out = drawn
    count, day = len(block), np.arange(days)[:, None]
    cap = np.ones((len(rules.members), count), np.uint8)
    cap[:days] = WEEKLY - (day + ago < WEEK)
    mask = np.empty((rules.classes, count), np.uint16)
    propensity = block.propensity.copy()
    for c in range(len(CHANNEL_COST)):
        shut = (day + ago < APART) | ((day + ago < WEEK) & (channel == c))
        for ends in (0, 1):
            is_open = ~(shut | (day >= out)) if ends else ~shut
            mask[2 * c + ends] = (is_open << day).sum(axis=0)
    for a in range(len(propensity)):
        propensity[a][mask[rules.day_class[a]] == 0] = np.nan
    whole = {**block.__dict__, "propensity": propensity, "cap": cap, "days": mask}
    whole["most"] = np.full(count, MOST_BUNDLE, np.uint8)
    found = Block(**{name: x for name, x in whole.items() if name != "spans"})
    order = np.lexsort((block.key, *mask, block.group))  # as a job orders them
    return found.take(order), tuple(x[order] for x in drawn)


def _limits(base, days):
    """Return rows, uses, scopes and limits: those of the base, each channel's on every day."""
    rows, use, accept, scope, limit = [], [], [], [], []
    busy = np.where(np.arange(days) % 7 >= 5, WEEKEND, 1.0)
    for k, row in enumerate(base.rows):
        fixed, own = base.use_fixed[k].repeat(days), base.use_accept[k].repeat(days)
        if not row.name.startswith("capacity"):
            whole = [(row, np.ones(days, bool), 1.0)]
        else:
            whole = [
                (_on_day(row, d), np.arange(days) == d, busy[d] / busy.sum())
                for d in range(days)
            ]  # fmt: skip
        for name, on, share in whole:
            inside = np.tile(on, len(base.offer))
            rows.append(name)
            use.append(fixed * inside)
            accept.append(own * inside)
            scope.append(base.in_scope[k])
            limit.append(int(base.limit[k] * share))
    return rows, np.array(use), np.array(accept), np.array(scope), np.array(limit, np.int64)


def _on_day(row, day):
    name = f"{row.name}:day-{day + 1}"
    return Row(name, row.measure, row.is_minimum, series=row.name, day=day)


def recomputed(problem, chosen):
    """Return the value and [K] uses of whole bundles in whole units, by pair and day."""
    contacts, p_sum, w_sum, wp_sum = np.zeros((4, problem.groups, len(problem.offer)), np.int64)
    for block, bundles in zip(problem.blocks, chosen, strict=True):
        for actions in bundles:
            s = np.flatnonzero(actions >= 0)
            at = block.group[s], actions[s]
            p = (block.propensity[actions[s] // problem.days, s] * 2.0**24).astype(np.int64)
            w = (block.weight[s] * 2.0**10).astype(np.int64)
            for total, amount in ((contacts, 1), (p_sum, p), (w_sum, w), (wp_sum, w * p)):
                np.add.at(total, at, amount)
    contacts, p_sum, w_sum, wp_sum = (x.astype(object) for x in (contacts, p_sum, w_sum, wp_sum))
    fixed, accept = problem.value_fixed.astype(object), problem.value_accept.astype(object)
    value = (w_sum * fixed * 2**24 + wp_sum * accept).sum()
    uses = [
        (contacts[scope] * fixed * 2**24 + p_sum[scope] * accept).sum()
        for fixed, accept, scope in zip(
            problem.use_fixed.astype(object), problem.use_accept.astype(object),
            problem.in_scope, strict=True,
        )
    ]  # fmt: skip
    return int(value), [int(use) for use in uses]


def check_plans(problem, block, bundles, drawn):
    """Ask every policy of the bundles in plain days.

    Raises:
        AssertionError: a bundle is not allowed.
    """
    ago, history_channel, out = drawn
    days, taken = problem.days, bundles >= 0
    place, s = np.nonzero(taken)
    action = bundles[place, s].astype(np.int64)
    pair, day = action // days, action % days
    offer, channel = problem.offer[action], problem.channel[action]
    assert not np.isnan(block.propensity[pair, s]).any(), "a pair is not open"
    assert not ((offer == 0) & (day >= out[s])).any(), "an offer after the credit has run out"
    assert (np.bincount(s * 100 + offer) <= 1).all(), "an offer twice"
    by_day = np.zeros((len(block), WEEK + days), np.int64)
    np.add.at(by_day, (s, WEEK + day), 1)
    known = np.flatnonzero(ago <= WEEK)
    np.add.at(by_day, (known, WEEK - ago[known]), 1)
    for width, most in ((WEEK, WEEKLY), (APART, 1)):
        running = np.cumsum(by_day, axis=1)
        window = running.copy()
        window[:, width:] -= running[:, :-width]
        assert (window[:, WEEK:] <= most).all(), f"more than {most} in {width} days"
    for c in range(len(CHANNEL_COST)):
        own = np.zeros((len(block), WEEK + days), np.int64)
        np.add.at(own, (s[channel == c], WEEK + day[channel == c]), 1)
        its = known[history_channel[known] == c]
        np.add.at(own, (its, WEEK - ago[its]), 1)
        running = np.cumsum(own, axis=1)
        window = running.copy()
        window[:, WEEK:] -= running[:, :-WEEK]
        assert (window[:, WEEK:] <= 1).all(), f"channel {c} twice in a week"


def measured(sizes, gap, device="cpu", repeats=1):
    """Draw, solve, check and time one problem.

    Raises:
        AssertionError: the answer is not what it says it is.
    """
    subscribers, pairs, days = sizes
    problem, drawn = planned(*sizes)
    settings = Solver(gap_tolerance=gap)
    solve(moved(planned(WARM_UP, pairs, days)[0], device), Solver(gap_tolerance=1, exact_pairs=0))
    on_device, took = moved(problem, device), []
    for _ in range(repeats):
        start = perf_counter()
        found = solve(on_device, settings)
        took.append(perf_counter() - start)
    for block, bundles, own in zip(problem.blocks, found.chosen, drawn, strict=True):
        check_plans(problem, block, bundles, own)
    value, uses = recomputed(problem, found.chosen)
    overrun = max(u - int(b) * 2**24 for u, b in zip(uses, problem.limit, strict=True)) / USE_UNIT
    assert overrun <= 0, f"a limit is exceeded by {overrun}"
    assert value / VALUE_UNIT == found.value, "the value is not that of the bundles"
    assert found.value <= found.bound, "the bound is below the value"
    propensities = [block.propensity for block in problem.blocks]
    one_read = machine.read_seconds(propensities, machine.cores())
    counts = np.bincount(np.concatenate([(c >= 0).sum(axis=0) for c in found.chosen]))
    return {
        "subscribers": subscribers, "pairs": pairs, "days": days, "limits": len(problem.rows),
        "caps": len(problem.rules.members), "device": device, "status": str(found.status),
        "value": found.value, "bound": found.bound, "gap": found.gap, "seconds": median(took),
        "streaming_reads": median(took) / one_read, "one_read_s": one_read,
        "passes": found.iterations[-1].reads, "peak_bytes": peak_bytes(device),
        "subscribers_by_contacts": counts.tolist(), "binding": int((found.prices > 0).sum()),
        "repeats": repeats,
    }  # fmt: skip


def main(arguments=None):
    """Run one case."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plans", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--days", type=int, default=HORIZON)
    parser.add_argument("--gap", type=float, default=1e-4, help="share of the bound")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the figures as JSON, last")
    options = parser.parse_args(arguments)
    sizes = options.subscribers, options.pairs, options.days
    figures = measured(sizes, options.gap, repeats=options.repeats)
    for name, value in figures.items():
        print(f"{name:24} {value}")
    if options.json:
        print(json.dumps({"machine": machine.described(), **figures}))


if __name__ == "__main__":
    main()
