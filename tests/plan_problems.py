"""Random problems of several days and their plain definition, which tries every bundle."""

from itertools import combinations

import numpy as np

from engine.block import Block, spanned
from engine.rules import Rules
from kernels.choose import MUST

GRID, WEIGHT_GRID, GROUPS = 2**24, 2**10, 2
PROPENSITY, WEIGHT, MOST, FEWEST, OPEN_DAYS, SPANS = 0, 1, 3, 4, 5, 6  # places of the arguments
VALUE_FIXED, PRICE_FIXED = 16, 18
MONEY = [-1.0, 0.0, 0.5, 1.0]


def rules_of(rng, pairs, days, *, related):
    """Draw rules of pairs of offer and channel: caps on runs of days, and other relations.

    Returns:
        the rules; [A] int32, offer of an action.
    """
    offer, channel = (np.array(x, np.int32) for x in zip(*pairs, strict=True))
    count = len(pairs)
    groups = [channel == c for c in range(channel.max() + 1)] + [np.ones(count, bool), offer < 2]
    if rng.random() < 0.1:  # more than the searches have bits for
        groups += list(rng.random((80, count)) < 0.5)
    runs = [(g, i, j) for g in groups for i in range(days) for j in range(i, days) if g.any()]
    share = rng.choice([0.3, 3.0]) / days**1.5  # few caps leave room for large bundles
    kept = [run for run in runs if rng.random() < share]
    day = np.arange(days)
    members = [(g[:, None] & (i <= day) & (day <= j)).reshape(-1) for g, i, j in kept]
    actions = count * days
    apart = None
    if rng.random() < 0.5:
        apart = np.triu(rng.random((actions, actions)) < 0.1, 1)
        apart |= apart.T
    exclusive = requires = ()
    if related:
        exclusive = ((0, 1),)
        requires = ((2, (0, 1)),) if 2 in offer and (offer < 2).any() else ()
    return Rules(
        np.array(members, bool).reshape(-1, actions), np.zeros(len(members), bool),
        np.arange(actions, dtype=np.int32), exclusive, requires, days,
        rng.integers(0, 3, count).astype(np.int32), apart,
    ), offer.repeat(days)  # fmt: skip


def plan_problem(seed, subscribers, shape, *, related=False, odd=False):
    """Draw a problem of several days.

    Args:
        seed: a whole number.
        subscribers: S.
        shape: offers, channels, days and Q at most.
        related: whether minimums are asked, offers exclude one another and one requires others.
        odd: whether numbers are of many digits; else of few distinct ones, for ties.

    Returns:
        the arguments of ``choose_planned`` but for the width; the width; the rules; the block.
    """
    rng = np.random.default_rng(seed)
    offers, channels, days, width = shape
    pairs = [(o, c) for o in range(offers) for c in range(channels)]
    pairs = [pair for pair in pairs if rng.random() < 0.8] or pairs[:1]
    rules, offer = rules_of(rng, pairs, days, related=related)
    block = block_of(rng, subscribers, rules, len(pairs), width, related=related, odd=odd)
    actions, sizes = len(offer), [(), (), (GROUPS,), (GROUPS,)]
    money = [rng.normal(0.0, 1.0, (*s, actions)) if odd else rng.choice(MONEY, (*s, actions))
             for s in sizes]  # fmt: skip
    plan = rules.plan()
    block = spanned(block, plan, width)
    own, _, _, _, _, _, conflicts, requires = rules.arrays(offer)
    subscriber_side = (*block.arrays()[:5], block.days, block.spans)
    problem = (*subscriber_side, own, conflicts, requires, *plan.arrays(), *money)
    return problem, width, rules, block


def block_of(rng, subscribers, rules, pairs, width, *, related, odd):
    """Draw subscribers: neighbours have the same open days in long runs, or each its own."""
    days, size = rules.days, (pairs, subscribers)
    whole = rng.random(size) if odd else rng.choice([0.0, 0.25, 0.5, 1.0], size)
    propensity = (np.rint(whole * GRID) / GRID).astype(np.float32)
    propensity[rng.random(size) < 0.2] = np.nan
    open_days = rng.integers(1, 2**days, (rules.classes, subscribers)).astype(np.uint16)
    open_days[:, rng.random(subscribers) < rng.choice([0.0, 0.6, 1.0])] = 2**days - 1
    fewest = rng.choice([0, 0, 2, MUST, MUST + 1, MUST + 2] if related else [0], subscribers)
    weight = rng.uniform(0.0, 2.0, subscribers) if odd else rng.choice([0.5, 1, 2], subscribers)
    return Block(
        np.arange(subscribers), propensity,
        (np.rint(weight * WEIGHT_GRID) / WEIGHT_GRID).astype(np.float32),
        np.sort(rng.integers(0, GROUPS, subscribers)).astype(np.int32),
        rng.choice([0, 1, width, width, width], subscribers).astype(np.uint8),
        fewest.astype(np.uint8),
        rng.choice([1, 1, 2, 3, 4], (len(rules.members), subscribers)).astype(np.uint8),
        open_days,
    )  # fmt: skip


def part_of(problem, rows):
    """Return the arguments with some of the subscribers."""
    return (*(np.ascontiguousarray(x[..., rows]) for x in problem[: SPANS + 1]),
            *problem[SPANS + 1 :])  # fmt: skip


def surpluses(problem, rules, s):
    """Return the surplus of each open action of a subscriber, by action."""
    p, w, g = problem[:3]
    fixed, accept, paid, due = problem[VALUE_FIXED : VALUE_FIXED + 4]
    out = {}
    for a in range(len(fixed)):
        pair, day = divmod(a, rules.days)
        if np.isnan(p[pair, s]) or not problem[OPEN_DAYS][rules.day_class[pair], s] >> day & 1:
            continue
        weight, x = float(w[s]), float(p[pair, s])
        out[a] = (weight * fixed[a] - paid[g[s], a]) + (weight * accept[a] - due[g[s], a]) * x
    return out


def totals(problem, rules, cap, s):
    """Return bundle -> surplus of all bundles that a subscriber may have; the empty one is one."""
    surplus, most, fewest = surpluses(problem, rules, s), *(int(x[s]) for x in problem[3:5])
    offer = problem[SPANS + 1].tolist()
    found = {}
    for size in range(max(1, fewest % MUST), most + 1):
        for bundle in combinations(sorted(surplus, key=lambda a: (-surplus[a], a)), size):
            offers = [offer[a] for a in bundle]
            if len(set(offers)) == size and _is_allowed(bundle, offers, rules, cap[:, s]):
                found[bundle] = sum(surplus[a] for a in bundle)
    return found if found and fewest >= MUST else {(): 0.0, **found}


def _is_allowed(bundle, offers, rules, cap):
    if any({one, other} <= set(offers) for one, other in rules.exclusive):
        return False
    if any(one in offers and not set(others) & set(offers) for one, others in rules.requires):
        return False
    if rules.apart is not None and any(rules.apart[a, b] for a, b in combinations(bundle, 2)):
        return False
    return all(
        sum(bool(counts[a]) for a in bundle) <= room
        for counts, room in zip(rules.members, cap.tolist(), strict=True)
    )


def counted(problem, days, chosen):
    """Return the tally of chosen bundles over so many days."""
    p, w, g = problem[:3]
    tally = np.zeros((*problem[PRICE_FIXED].shape, 4), np.int64)
    for i, s in np.argwhere(chosen >= 0).tolist():
        pair = chosen[i, s] // days
        unit = int(p[pair, s] * GRID), int(w[s] * WEIGHT_GRID)
        tally[g[s], chosen[i, s]] += (1, unit[0], unit[1], unit[0] * unit[1])
    return tally


def entries_of(seed, cells, constraints):
    """Draw what actions use of constraints, by scope group, as ``curve_planned`` takes it."""
    use = np.random.default_rng(seed).choice([0.0, 0.0, 1.0, -0.5], (2, cells, constraints))
    cell, constraint = np.nonzero((use != 0).any(axis=0))
    first = np.searchsorted(cell, np.arange(cells + 1)).astype(np.int64)
    fixed, accept = (np.ascontiguousarray(part[cell, constraint]) for part in use)
    return first, np.ascontiguousarray(constraint), fixed, accept


def moved(problem, days, entries, bundles, s):
    """Return [K] what a switch of a subscriber from the second of two bundles to the first uses.

    ``entries`` are of :func:`entries_of`, then K.
    """
    first, constraint, fixed, accept, constraints = entries
    out = np.zeros(constraints)
    for sign, bundle in zip((1.0, -1.0), bundles, strict=True):
        for a in bundle:
            cell = problem[2][s] * problem[PRICE_FIXED].shape[1] + a
            at = slice(first[cell], first[cell + 1])
            use = fixed[at] + accept[at] * float(problem[0][a // days, s])
            np.add.at(out, constraint[at], sign * use)
    return out


def curvature_of(problem, relations, entries, bandwidth, unit):
    """Return curvature, who is near, and whether each has one second best bundle alone.

    ``relations`` are the rules and [D, S] the caps; ``entries`` as :func:`moved` takes them.
    """
    (rules, cap), near, alone = relations, 0, True
    curvature = np.zeros((entries[-1], entries[-1]))
    for s in range(problem[0].shape[1]):
        total = totals(problem, rules, cap, s)
        ranked = sorted(total, key=total.get)[::-1]
        ties = [total[b] for b in ranked[:3]]
        if len(ranked) < 2 or not ties[0] - ties[1] < bandwidth:
            continue
        near += 1
        alone &= len(set(ties)) == len(ties)
        change = moved(problem, rules.days, entries, ranked[:2], s)
        curvature += np.rint(np.tril(np.outer(change, change)) * unit)
    return curvature, near, alone
